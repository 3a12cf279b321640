"""What answers at `https://<endpoint>.<region>.inference.ml.azure.com/score`."""

from __future__ import annotations

import hmac
import json
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.azure_loopback.messages import Request, Response, answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.azure_loopback.cloud import Cloud
    from tests.azure_loopback.state import Deployment, Endpoint

PICK = "azureml-model-deployment"
DURATION = re.compile(r"PT(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?")
MAX_BODY = 10 * 1024 * 1024


@dataclass
class ScoringGateway:
    """Checks the key, picks a deployment, hands the body on."""

    cloud: Cloud

    def answer(self, request: Request) -> Response:
        """Answer a request to a scoring host."""
        with self.cloud.lock:
            self.cloud.book.settle()
            endpoint = self._find(request.host)
            if endpoint is None:
                return _refuse(404, "endpoint not found")
            if not _is_open(endpoint, request.headers.get("authorization", "")):
                return _refuse(401, "key_auth_bad_header")
            if request.path not in {"/score", "/"}:
                return _refuse(404, "path not found")
            deployment = _pick(endpoint, request.headers.get(PICK))
            if deployment is None:
                return _refuse(404, "no deployment with traffic")
            deployment.requests += 1
        if len(request.body) > MAX_BODY:
            return _refuse(413, "request entity too large", deployment.name)
        return _forward(deployment, request)

    def _find(self, host: str) -> Endpoint | None:
        for workspace in self.cloud.workspaces.values():
            for endpoint in workspace.endpoints.values():
                if endpoint.host == host:
                    return endpoint
        return None


def _is_open(endpoint: Endpoint, authorization: str) -> bool:
    kind, _, key = authorization.partition(" ")
    keys = (endpoint.primary_key, endpoint.secondary_key)
    return kind == "Bearer" and any(hmac.compare_digest(key.encode(), k.encode()) for k in keys)


def _pick(endpoint: Endpoint, wanted: str | None) -> Deployment | None:
    """The one that is asked for; else the one that is furthest behind its share of traffic.

    Azure draws lots. Here the split is exact over any hundred requests, so that tests can count.
    """
    if wanted is not None:
        found = endpoint.deployments.get(wanted.lower())
        return found if found is not None and found.state == "Succeeded" else None
    live = [
        (share, endpoint.deployments[name])
        for name, share in endpoint.traffic.items()
        if share and name in endpoint.deployments
    ]
    if not live:
        return None
    return min(live, key=lambda one: (one[1].requests + 1) / one[0])[1]


def _forward(deployment: Deployment, request: Request) -> Response:
    kind = request.headers.get("content-type", "application/json")
    if deployment.runner is None:
        return _with_gateway_headers(_score_one_half(request), deployment.name)
    try:
        got = deployment.runner.score(request.body, kind, _limit_of(deployment.rest))
    except TimeoutError:
        return _refuse(408, "upstream request timeout", deployment.name)
    except OSError:
        return _refuse(502, "upstream connect error or disconnect/reset", deployment.name)
    if got.status == 200:
        return _with_gateway_headers(got, deployment.name)
    # The model's own status is in a header, its own words are the body.
    more = {"ms-azureml-model-error-statuscode": str(got.status),
            "ms-azureml-model-error-reason": "model_error"}  # fmt: skip
    return _with_gateway_headers(Response(424, got.body, {**got.headers, **more}), deployment.name)


def _limit_of(rest: Mapping[str, object]) -> float:
    settings = rest.get("requestSettings")
    text = settings.get("requestTimeout") if isinstance(settings, dict) else None
    found = DURATION.fullmatch(str(text or "PT5S"))
    minutes, seconds = found.groups() if found else (None, None)
    return int(minutes or 0) * 60 + float(seconds or 0) or 5.0


def _score_one_half(request: Request) -> Response:
    rows = (request.json or {}).get("input_data", {}).get("data", [])
    return answer(200, [0.5] * len(rows))


def _with_gateway_headers(got: Response, name: str) -> Response:
    kept = {
        key: value
        for key, value in got.headers.items()
        if key.lower().startswith(("content-type", "x-ms-run", "ms-azureml"))
    }
    return Response(got.status, got.body, {**kept, **_gateway_headers(), PICK: name})


def _refuse(status: int, message: str, name: str | None = None) -> Response:
    body = json.dumps({"error": {"message": message}}).encode()
    headers = {
        "Content-Type": "application/json",
        **_gateway_headers(),
        **({PICK: name} if name else {}),
    }
    return Response(status, body, headers)


def _gateway_headers() -> dict[str, str]:
    return {"Server": "azureml-frontdoor", "X-Request-ID": str(uuid.uuid4())}
