"""The HTTP edge: one POST, and everything a network can do turned into a reply or a failure."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from guardian_cli.detectors.endpoint.failures import Failure, timed_out
from guardian_cli.errors import UsageError
from guardian_cli.http import (
    DEPLOYMENT_HEADER,
    BearerAuth,
    NoAuth,
    name_trouble,
    network_errors,
    open_session,
    proxies_for,
)
from guardian_cli.urls import mask_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import Response
    from requests.auth import AuthBase

MAX_ANSWER_BYTES = 1_048_576
_NOBODY_THERE = frozenset({"connection refused", "host not found"})
_MAY_PASS = frozenset({"connection lost", "the proxy gave no connection"})


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; header names in any case. `elapsed_s` is the whole exchange."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed_s: float


class Transport(Protocol):
    """Carries a body to the endpoint. Thread safe."""

    def post(self, body: bytes, deployment: str | None = None) -> Reply | Failure:
        """Send a JSON body, to this deployment; never raises for what a network can do."""

    def close(self) -> None:
        """Break off what is under way, free the connections; idempotent."""


class HttpTransport:
    """POSTs to one URI with one key, follows no redirect, keeps its connections open.

    Raises UsageError for a URI or key that no request can be made of.
    """

    def __init__(
        self,
        uri: str,
        key: str | None,
        *,
        timeout_s: float = 10.0,
        connect_timeout_s: float = 5.0,
        pool_size: int = 2,
    ) -> None:
        parts = _checked_uri(uri)
        host = parts.netloc.rpartition("@")[2]
        self._url = parts._replace(netloc=host, fragment="").geturl()
        self._timeout_s = timeout_s
        self._connect_timeout_s = min(connect_timeout_s, timeout_s)
        self._proxies = proxies_for(parts.hostname)
        self._deadline_s = self._connect_timeout_s + timeout_s
        self._session, self._sockets = open_session(pool_size=pool_size)
        self._session.auth = _auth(parts, _checked_key(key, mask_url(uri)))

    def post(self, body: bytes, deployment: str | None = None) -> Reply | Failure:
        """Send a JSON body, to this deployment; never raises for what a network can do."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if deployment is not None:
            headers[DEPLOYMENT_HEADER] = deployment
        with self._sockets.deadline(self._deadline_s) as request:
            reply = self._post(body, headers)
        # Broken off, half an answer can look like a whole one.
        return self._too_slow() if request.expired else reply

    def _post(self, body: bytes, headers: Mapping[str, str]) -> Reply | Failure:
        started_s = time.monotonic()
        try:
            with self._session.post(
                self._url,
                data=body,
                headers=dict(headers),
                timeout=(self._connect_timeout_s, self._timeout_s),
                proxies=dict(self._proxies),
                allow_redirects=False,
                stream=True,
            ) as response:
                answer = self._read(response, started_s + self._timeout_s)
                elapsed_s = time.monotonic() - started_s
        except network_errors() as error:
            return self._explain(error)
        if isinstance(answer, Failure):
            return answer
        return Reply(response.status_code, response.headers, answer, elapsed_s)

    def close(self) -> None:
        """Break off what is under way, free the connections; idempotent."""
        self._sockets.abort()
        self._session.close()

    def _read(self, response: Response, deadline_s: float) -> bytes | Failure:
        body = b""
        # read1 returns what is there: a server that drips bytes can't hold the deadline off.
        while chunk := response.raw.read1(16_384, decode_content=True):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                return Failure(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
            if time.monotonic() > deadline_s:
                return self._too_slow()
        return body

    def _too_slow(self) -> Failure:
        return timed_out(f"no whole answer within {self._timeout_s:g} s")

    def _explain(self, error: BaseException) -> Failure:
        trouble = name_trouble(error)
        if trouble == "no connection in time":
            return timed_out(f"no connection within {self._connect_timeout_s:g} s")
        if trouble == "no answer in time":
            return timed_out(f"no answer within {self._timeout_s:g} s")
        if trouble in _NOBODY_THERE:
            return Failure(trouble, retry=True, attempt_strikes=1, call_strikes=0)
        return Failure(trouble, retry=trouble in _MAY_PASS)


def _checked_uri(uri: str) -> SplitResult:
    with suppress(ValueError):
        parts = urlsplit(uri)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return parts
    raise UsageError(
        f"the model endpoint {mask_url(uri)!r} is not an http:// or https:// address",
        hint="guardian endpoints --write-env",
    )


def _checked_key(key: str | None, shown_uri: str) -> str | None:
    stripped = (key or "").strip()
    if not (stripped.isascii() and stripped.isprintable()):
        raise UsageError(f"the key for {shown_uri} has characters that no header can carry")
    return stripped or None


def _auth(parts: SplitResult, key: str | None) -> AuthBase | BearerAuth | NoAuth:
    if key is not None:
        return BearerAuth(key)
    if parts.username:
        from requests.auth import HTTPBasicAuth

        return HTTPBasicAuth(unquote(parts.username), unquote(parts.password or ""))
    return NoAuth()
