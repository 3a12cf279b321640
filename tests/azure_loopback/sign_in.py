"""Who may come in: tokens for a managed identity and for a service principal."""

from __future__ import annotations

import base64
import json
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from tests.azure_loopback.messages import Request, Response, answer, refuse
from tests.azure_loopback.state import TENANT

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST = "login.microsoftonline.com"
IDENTITY_HEADER = "loopback-identity"
CLIENT = str(uuid.uuid5(uuid.NAMESPACE_DNS, "guardian.client"))
LIFETIME_S = 86_400


class SignIn:
    """Gives tokens, and knows them again."""

    def __init__(self) -> None:
        self.client_secret = uuid.uuid4().hex
        self.tokens: set[str] = set()
        self._guard = threading.Lock()

    def check(self, headers: Mapping[str, str]) -> None:
        """Refuse whoever has no token of ours."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self.tokens:
            raise refuse(401, "InvalidAuthenticationToken", "The access token is invalid.")

    def answer_identity(self, request: Request) -> Response:
        """The endpoint of a managed identity, as App Service and Azure ML offer it."""
        if request.headers.get("x-identity-header") != IDENTITY_HEADER:
            return answer(401, {"statusCode": 401, "message": "the identity header is wrong"})
        resource = request.query.get("resource", "")
        document = {
            "access_token": self.make_token(resource),
            "expires_on": str(int(time.time()) + LIFETIME_S),
            "resource": resource,
            "token_type": "Bearer",
        }
        return answer(200, document)

    def answer_login(self, request: Request) -> Response:
        """Microsoft Entra ID, as far as a service principal with a secret needs it."""
        tail = request.path.rstrip("/")
        if tail.endswith("/.well-known/openid-configuration"):
            return answer(200, _openid_configuration(request.path.split("/")[1]))
        if tail.endswith("/discovery/instance"):
            address = f"https://{HOST}/{TENANT}/v2.0/.well-known/openid-configuration"
            return answer(200, {"tenant_discovery_endpoint": address, "metadata": []})
        if tail.endswith("/oauth2/v2.0/token") and request.method == "POST":
            return self._answer_client(request)
        return answer(404)

    def _answer_client(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        given = (form.get("client_id"), form.get("client_secret"))
        if given != (CLIENT, self.client_secret):
            problem = "AADSTS7000215: Invalid client secret provided."
            return answer(401, {"error": "invalid_client", "error_description": problem})
        document = {
            "token_type": "Bearer",
            "expires_in": LIFETIME_S,
            "access_token": self.make_token(form.get("scope", "")),
        }
        return answer(200, document)

    def make_token(self, audience: str) -> str:
        """A token that looks like one of Entra ID, unsigned."""
        claims = {
            "aud": audience,
            "tid": TENANT,
            "oid": str(uuid.uuid5(uuid.NAMESPACE_DNS, "guardian")),
            "appid": CLIENT,
            "exp": int(time.time()) + LIFETIME_S,
            "jti": str(uuid.uuid4()),
        }
        parts = ({"alg": "none", "typ": "JWT"}, claims)
        token = ".".join([*(_encode(json.dumps(one).encode()) for one in parts), _encode(b"x")])
        with self._guard:
            self.tokens.add(token)
        return token


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _openid_configuration(tenant: str) -> dict[str, Any]:
    base = f"https://{HOST}/{tenant}"
    return {
        "issuer": f"https://{HOST}/{TENANT}/v2.0",
        "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
        "token_endpoint": f"{base}/oauth2/v2.0/token",
        "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
        "jwks_uri": f"{base}/discovery/v2.0/keys",
    }
