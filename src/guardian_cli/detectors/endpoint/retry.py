"""One call to an endpoint: what a failure means, when to try again, and when to stop asking.

The circuit breaker leaves an endpoint alone for a while after repeated failure:

    closed --failures weigh enough--> open --time over--> half-open: one probe --ok--> closed
                                       ^                       |
                                       +-- failed: time x 2 ---+
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from guardian_cli.detectors.endpoint.protocol import BadAnswerError, is_deployment_name
from guardian_cli.http import DEPLOYMENT_HEADER, retry_after_s, status_title

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from guardian_cli.detectors.endpoint.client import Reply

    Read = Callable[[bytes], tuple[float, ...]]

_EXPLAINED = {
    403: "the key is not allowed here",
    404: "no such endpoint, or no deployment with traffic",
    408: "the model took too long",
    424: "the model itself failed",
}
_WORTH_RETRYING = frozenset({408, 424, 429, 500, 502, 503, 504})
_TIMED_OUT = frozenset({408, 504})
_SAYS_WHEN = frozenset({429, 503})
MAX_ATTEMPTS = 3
MAX_ATTEMPTS_WHEN_TOLD = 6
FIRST_PAUSE_S = 0.5
MAX_PAUSE_S = 4.0
# The longest that a call waits in all.
RETRY_DEADLINE_S = 30.0
# Failures that weigh as much open the circuit, for so long the first time, at most for so long.
OPENING_WEIGHT = 3
FIRST_OPEN_S = 30.0
MAX_OPEN_S = 300.0
# Two of these open the circuit: a dead endpoint costs two time-outs, not one for each frame.
TIME_OUT_WEIGHT = 2


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt. `reason` is one line without secrets.

    In the circuit breaker each attempt counts `attempt_weight`, and a call that is given up
    `call_weight` more. `retry_after_s` is how long the endpoint asked to be left alone, in seconds.
    `not_asked` says that the circuit was open: the reason is an earlier attempt's.
    """

    reason: str
    retry: bool = False
    attempt_weight: int = 0
    call_weight: int = 1
    retry_after_s: float | None = None
    too_large: bool = False
    not_asked: bool = False
    misconfigured: bool = False
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores in 0..1, one for each frame of the request, how long it took, and who answered."""

    scores: tuple[float, ...]
    elapsed_s: float
    deployment: str | None = None


ENDED = Failure("the scan was ended", call_weight=0)


def timed_out(reason: str) -> Failure:
    """Return the failure of an attempt that cost a whole time-out."""
    return Failure(reason, retry=True, attempt_weight=TIME_OUT_WEIGHT, call_weight=0)


def status_failure(
    status: int, headers: Mapping[str, str], *, has_key: bool, wall_s: float
) -> Failure:
    """Return what a response other than 2xx means; `wall_s` is the time of day, POSIX seconds."""
    title = status_title(status)
    if 300 <= status < 400:
        try:
            host = urlsplit(headers.get("Location", "")).hostname or ""
        except ValueError:
            host = ""
        # The header is the server's: nothing of it but a short name of a host is shown.
        target = "".join(c for c in host if c.isascii() and c.isprintable())[:80] or "another path"
        reason = f"{title}, a redirect to {target}: the key is not sent there"
        return Failure(reason, misconfigured=True, status=status)
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return Failure(title, call_weight=0, too_large=True, misconfigured=True, status=status)
    explained = _EXPLAINED.get(status)
    if status == HTTPStatus.UNAUTHORIZED:
        explained = "wrong key?" if has_key else "no key is set"
    reason = f"{title} ({explained})" if explained else title
    if status in _TIMED_OUT:
        return timed_out(reason)
    wait_s = retry_after_s(headers.get("Retry-After"), wall_s) if status in _SAYS_WHEN else None
    may_pass = status in _WORTH_RETRYING
    is_mistake = 400 <= status < 500 and not may_pass
    return Failure(reason, may_pass, retry_after_s=wait_s, misconfigured=is_mistake, status=status)


def pause_before_retry_s(
    failure: Failure,
    attempt: int,
    waited_s: float,
    chance: float,
    first_pause_s: float = FIRST_PAUSE_S,
) -> float | None:
    """Return the seconds to wait after the `attempt`-th attempt (from 1), or None to give up.

    That is what the endpoint asked for, else `first_pause_s` * 2^(attempt - 1), of which a random
    half. `waited_s` is what the call has waited so far, `chance` a random number in 0..1.
    """
    told_s = failure.retry_after_s
    # A busy endpoint that says when is asked more often.
    max_attempts = MAX_ATTEMPTS if told_s is None else MAX_ATTEMPTS_WHEN_TOLD
    if not failure.retry or attempt >= max_attempts:
        return None
    if told_s is None:
        pause_s = min(first_pause_s * 2 ** (attempt - 1), MAX_PAUSE_S) * (0.5 + chance / 2)
    else:
        pause_s = told_s + 0.1 * chance  # not all clients at the same moment
    # The tenth is the random part above, which must not decide.
    return pause_s if waited_s + pause_s <= RETRY_DEADLINE_S + 0.1 else None


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one attempt; hand it back with `succeeded` or `failed`."""

    generation: int
    is_probe: bool


class CircuitBreaker:
    """Decides whether an attempt may be made. Thread safe; `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # Results of calls that set out before the circuit last changed count for nothing.
        self._generation = 0
        self._weight = 0
        self._open_until_s: float | None = None
        self._next_open_s = FIRST_OPEN_S
        self._probing = False
        self.cause: Failure | None = None  # why it is open; None while it is closed

    def admit(self) -> Permit | None:
        """Return a permit, or None where the circuit is open or its one probe is under way."""
        with self._lock:
            if self._open_until_s is None:
                return Permit(self._generation, is_probe=False)
            if self._probing or self._clock() < self._open_until_s:
                return None
            self._probing = True
            return Permit(self._generation, is_probe=True)

    def succeeded(self, permit: Permit) -> None:
        """Take note of an answer: failures are forgotten, and a probe closes the circuit."""
        with self._lock:
            if permit.generation != self._generation:
                return
            self._weight = 0
            if permit.is_probe:
                self._generation += 1
                self._probing = False
                self._open_until_s = None
                self.cause = None
                self._next_open_s = FIRST_OPEN_S

    def failed(
        self, permit: Permit, cause: Failure, *, weight: int = 1, open_s: float | None = None
    ) -> None:
        """Take note of a failure; `open_s` opens the circuit whatever it weighs, for so long."""
        with self._lock:
            if permit.generation != self._generation:
                return
            self._weight += weight
            if permit.is_probe or open_s is not None or self._weight >= OPENING_WEIGHT:
                open_s = min(max(self._next_open_s, open_s or 0.0), MAX_OPEN_S)
                self._open_until_s = self._clock() + open_s
                self._next_open_s = min(2 * self._next_open_s, MAX_OPEN_S)
                self._generation += 1
                self._weight = 0
                self._probing = False
                self.cause = cause


@dataclass(frozen=True, slots=True)
class Timing:
    """Time and chance, so that tests can bring their own.

    `wait` sleeps for seconds unless the event is set, and returns whether it is.
    """

    monotonic_s: Callable[[], float] = time.monotonic
    wall_s: Callable[[], float] = time.time
    wait: Callable[[threading.Event, float], bool] = threading.Event.wait
    chance: Callable[[], float] = random.random  # spreads retries, guards no secret


class Caller:
    """Makes calls to one endpoint. Thread safe; a Retry-After holds back all threads.

    `post` sends a body to a deployment, and never raises for what a network can do.
    """

    def __init__(
        self,
        post: Callable[[bytes, str | None], Reply | Failure],
        *,
        has_key: bool,
        first_pause_s: float = FIRST_PAUSE_S,
        timing: Timing | None = None,
    ) -> None:
        self._post = post
        self._has_key = has_key
        self._first_pause_s = first_pause_s
        self._timing = timing or Timing()
        self._breaker = CircuitBreaker(self._timing.monotonic_s)
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._held_until_s = float("-inf")

    def call(self, body: bytes, read: Read, deployment: str | None = None) -> Scored | Failure:
        """Send `body` until it is answered, refused for good, or not worth another attempt.

        With a `deployment` no other is asked, and no other's answer is taken.
        """
        timing = self._timing
        waited_s = 0.0
        attempt = 0
        failure: Failure | None = None
        while True:
            held_s = max(0.0, self._held_until_s - timing.monotonic_s())
            if waited_s + held_s > RETRY_DEADLINE_S:
                return failure or Failure("the endpoint asked to wait", call_weight=0)
            if held_s and timing.wait(self._closed, held_s):
                return ENDED
            waited_s += held_s
            permit = None if self._closed.is_set() else self._breaker.admit()
            if permit is None:
                return failure or self._refusal()
            attempt += 1
            try:
                reply = self._post(body, deployment)
            except BaseException:
                # Without this an interrupted probe would keep the circuit open for ever.
                self._breaker.failed(permit, Failure("interrupted"), weight=0)
                raise
            outcome = self._interpret(reply, read, deployment)
            if isinstance(outcome, Scored):
                self._breaker.succeeded(permit)
                return outcome
            failure = ENDED if self._closed.is_set() else outcome
            pause_s = pause_before_retry_s(
                failure, attempt, waited_s, timing.chance(), self._first_pause_s
            )
            self._take_note(permit, failure, gave_up=pause_s is None)
            if pause_s is None or timing.wait(self._closed, pause_s):
                return failure
            waited_s += pause_s

    def close(self) -> None:
        """End all pauses, and let nothing more set out; idempotent."""
        self._closed.set()

    def _interpret(
        self, reply: Reply | Failure, read: Read, deployment: str | None
    ) -> Scored | Failure:
        if isinstance(reply, Failure):
            return reply
        if reply.status == HTTPStatus.NOT_FOUND and deployment is not None:
            # One deployment that is gone says nothing about the others: the circuit stays closed.
            reason = f"404 Not Found (no deployment {deployment})"
            return Failure(reason, call_weight=0, misconfigured=True, status=reply.status)
        if not 200 <= reply.status < 300:
            wall_s = self._timing.wall_s()
            return status_failure(reply.status, reply.headers, has_key=self._has_key, wall_s=wall_s)
        named = reply.headers.get(DEPLOYMENT_HEADER)
        if named is not None and not is_deployment_name(named):
            named = None  # it could not be asked for, nor be shown
        if None not in (deployment, named) and named != deployment:
            return Failure(f"{deployment} was asked for and {named} answered", call_weight=0)
        try:
            return Scored(read(reply.body), reply.elapsed_s, named)
        except BadAnswerError as error:
            return Failure(f"an answer that makes no sense: {error}")

    def _take_note(self, permit: Permit, failure: Failure, *, gave_up: bool) -> None:
        weight = failure.attempt_weight + (failure.call_weight if gave_up else 0)
        told_s, open_s = failure.retry_after_s, None
        if told_s is not None and not gave_up:
            with self._lock:
                until_s = self._timing.monotonic_s() + told_s
                self._held_until_s = max(self._held_until_s, until_s)
        elif told_s is not None and told_s > RETRY_DEADLINE_S:
            open_s = told_s
        self._breaker.failed(permit, failure, weight=weight, open_s=open_s)

    def _refusal(self) -> Failure:
        if self._closed.is_set():
            return ENDED
        cause = self._breaker.cause or Failure("a probe is under way")
        return Failure(
            f"circuit open: {cause.reason}",
            call_weight=0,
            not_asked=True,
            misconfigured=cause.misconfigured,
            status=cause.status,
        )
