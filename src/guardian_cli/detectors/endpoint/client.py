"""The HTTP edge: one POST, and everything a network can do turned into a reply or a failure."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from guardian_cli.detectors.endpoint.retry import Failure, timed_out
from guardian_cli.errors import UsageError
from guardian_cli.http import (
    DEPLOYMENT_HEADER,
    BearerAuth,
    Deadline,
    name_trouble,
    network_errors,
    open_session,
    split_credentials,
)
from guardian_cli.urls import mask_url

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_ANSWER_BYTES = 1_048_576
CONNECT_TIMEOUT_S = 5.0
# Costs no time-out and passes soon, as when a server starts: each attempt counts for itself.
_NOBODY_THERE = frozenset({"connection refused", "host not found"})
_MAY_PASS = frozenset({"connection lost", "the proxy gave no connection"})


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; header names in any case. `elapsed_s` is the whole exchange."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed_s: float


class HttpTransport:
    """POSTs to one URI with one key, follows no redirect, keeps its connections open.

    A user and password in the URI are sent where there is no key. Raises UsageError for a URI or
    key that no request can be made of.
    """

    def __init__(
        self, uri: str, key: str | None, *, timeout_s: float = 10.0, pool_size: int = 2
    ) -> None:
        try:
            parts = urlsplit(uri)
            # `port` is read here too, as only reading it raises for one that is none.
            usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise UsageError(
                f"the model endpoint {mask_url(uri)!r} is not an http:// or https:// address",
                hint="guardian endpoints --write-env",
            )
        key = (key or "").strip()
        if not (key.isascii() and key.isprintable()):
            shown = mask_url(uri)
            raise UsageError(f"the key for {shown} has characters that no header can carry")
        self._timeout_s = timeout_s
        self._connect_timeout_s = min(CONNECT_TIMEOUT_S, timeout_s)
        self._session, self._sockets = open_session(pool_size=pool_size)
        self._url, basic = split_credentials(uri)
        self._session.auth = BearerAuth(key) if key else basic

    def post(self, body: bytes, deployment: str | None = None) -> Reply | Failure:
        """Send a JSON body, to this deployment; never raises for what a network can do."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if deployment is not None:
            headers[DEPLOYMENT_HEADER] = deployment
        with Deadline(self._sockets, self._connect_timeout_s + self._timeout_s) as deadline:
            reply = self._exchange(body, headers)
        # Broken off, half an answer can look like a whole one.
        if deadline.ended == "timeout":
            return self._too_slow()
        return Failure("connection lost", retry=True) if deadline.ended else reply

    def close(self) -> None:
        """Break off what is under way, free the connections; idempotent."""
        self._sockets.abort()
        self._session.close()

    def _exchange(self, body: bytes, headers: Mapping[str, str]) -> Reply | Failure:
        started_s = time.monotonic()
        answer = b""
        try:
            with self._session.post(
                self._url,
                data=body,
                headers=dict(headers),
                timeout=(self._connect_timeout_s, self._timeout_s),
                stream=True,
            ) as response:
                # read1 returns what is there: who drips bytes can't hold the deadline off.
                while chunk := response.raw.read1(16_384, decode_content=True):
                    answer += chunk
                    if len(answer) > MAX_ANSWER_BYTES:
                        return Failure(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
                    if time.monotonic() > started_s + self._timeout_s:
                        return self._too_slow()
                elapsed_s = time.monotonic() - started_s
        except network_errors() as error:
            return self._explain(error)
        return Reply(response.status_code, response.headers, answer, elapsed_s)

    def _explain(self, error: BaseException) -> Failure:
        trouble = name_trouble(error)
        if trouble == "no connection in time":
            return timed_out(f"no connection within {self._connect_timeout_s:g} s")
        if trouble == "no answer in time":
            return timed_out(f"no answer within {self._timeout_s:g} s")
        if trouble in _NOBODY_THERE:
            return Failure(trouble, retry=True, attempt_weight=1, call_weight=0)
        return Failure(trouble, retry=trouble in _MAY_PASS)

    def _too_slow(self) -> Failure:
        return timed_out(f"no whole answer within {self._timeout_s:g} s")
