"""What can go wrong with a call: how it reads, whether to try again, and when."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from guardian_cli.http import retry_after_s

if TYPE_CHECKING:
    from collections.abc import Mapping

_EXPLAINED = {
    403: "the key is not allowed here",
    404: "no such endpoint, or no deployment with traffic",
    408: "the model took too long",
    424: "the model itself failed",
}
_WORTH_RETRYING = frozenset({408, 424, 429, 500, 502, 503, 504})
_TIMED_OUT = frozenset({408, 504})
_TELLS_WHEN = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt. `reason` is one line without secrets.

    `attempt_strikes` weigh on the circuit for each attempt, `call_strikes` once the call is given
    up. `retry_after_s` is how long the endpoint asked to be left alone, in seconds. `not_asked`
    says that the circuit was open: the reason is an earlier attempt's.
    """

    reason: str
    retry: bool = False
    attempt_strikes: int = 0
    call_strikes: int = 1
    retry_after_s: float | None = None
    too_large: bool = False
    not_asked: bool = False
    misconfigured: bool = False
    status: int | None = None


# Two of these open the circuit: a dead endpoint costs two time-outs, not one for each frame.
TIME_OUT_STRIKES = 2
CLOSED = Failure("the scan was ended", call_strikes=0)


def timed_out(reason: str) -> Failure:
    """Return the failure of an attempt that cost a whole time-out."""
    return Failure(reason, retry=True, attempt_strikes=TIME_OUT_STRIKES, call_strikes=0)


def status_failure(
    status: int, headers: Mapping[str, str], *, has_key: bool, wall_s: float
) -> Failure:
    """Return what a response other than 2xx means; `wall_s` is the time of day, POSIX seconds."""
    if 300 <= status < 400:
        where = _origin(headers.get("Location", ""))
        reason = f"{_title(status)}, a redirect to {where}: the key is not sent there"
        return Failure(reason, misconfigured=True, status=status)
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return Failure(
            _title(status), call_strikes=0, too_large=True, misconfigured=True, status=status
        )
    reason = _title(status) + _explanation(status, has_key=has_key)
    if status in _TIMED_OUT:
        return timed_out(reason)
    wait_s = retry_after_s(headers.get("Retry-After"), wall_s) if status in _TELLS_WHEN else None
    passes = status in _WORTH_RETRYING
    wrong = 400 <= status < 500 and not passes
    return Failure(reason, passes, retry_after_s=wait_s, misconfigured=wrong, status=status)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long to try again. A busy endpoint that says when gets more patience.

    The n-th pause without a Retry-After is `first_pause_s` * 2^(n-1), of which a random half.
    """

    attempts: int = 3
    attempts_when_told: int = 6
    first_pause_s: float = 0.5
    longest_pause_s: float = 4.0
    budget_s: float = 30.0

    def pause_s(
        self, failure: Failure, attempt: int, waited_s: float, chance: float
    ) -> float | None:
        """Return the seconds to wait after the `attempt`-th attempt (from 1), or None to give up.

        `waited_s` is what the call has waited so far, `chance` a random number in 0..1.
        """
        told = failure.retry_after_s
        most = self.attempts if told is None else self.attempts_when_told
        if not failure.retry or attempt >= most:
            return None
        if told is None:
            backoff_s = min(self.first_pause_s * 2 ** (attempt - 1), self.longest_pause_s)
            wait_s = backoff_s * (0.5 + chance / 2)
        else:
            wait_s = told + 0.1 * chance
        return wait_s if waited_s + wait_s <= self.budget_s + 0.1 else None


def _title(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP status {status}"


def _explanation(status: int, *, has_key: bool) -> str:
    if status == HTTPStatus.UNAUTHORIZED:
        return " (wrong key?)" if has_key else " (no key is set)"
    return f" ({_EXPLAINED[status]})" if status in _EXPLAINED else ""


def _origin(location: str) -> str:
    try:
        host = urlsplit(location).hostname
    except ValueError:
        host = None
    if not host:
        return "another path"
    return "".join(c for c in host if c.isascii() and c.isprintable())[:80]
