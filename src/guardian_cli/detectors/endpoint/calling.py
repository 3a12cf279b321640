"""One call: attempts, pauses between them, and the circuit that ends them early."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardian_cli.detectors.endpoint.failures import (
    CLOSED,
    Failure,
    RetryPolicy,
    status_failure,
)
from guardian_cli.detectors.endpoint.protocol import BadAnswerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardian_cli.detectors.endpoint.breaker import CircuitBreaker, Permit
    from guardian_cli.detectors.endpoint.client import Reply, Transport


def _wait(stop: threading.Event, seconds: float) -> bool:
    return stop.wait(seconds)


@dataclass(frozen=True, slots=True)
class Clock:
    """Time and chance, so that tests can bring their own.

    `wait` sleeps for seconds unless the event is set, and returns whether it is.
    """

    monotonic_s: Callable[[], float] = time.monotonic
    wall_s: Callable[[], float] = time.time
    wait: Callable[[threading.Event, float], bool] = _wait
    chance: Callable[[], float] = random.random  # spreads retries, guards no secret


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores in 0..1, one for each frame of the request, and how long the request took."""

    scores: tuple[float, ...]
    elapsed_s: float


class Caller:
    """Makes calls to one endpoint. Thread safe; a Retry-After holds back all threads."""

    def __init__(
        self,
        transport: Transport,
        breaker: CircuitBreaker,
        *,
        policy: RetryPolicy,
        clock: Clock,
        has_key: bool,
    ) -> None:
        self._transport = transport
        self._breaker = breaker
        self._policy = policy
        self._clock = clock
        self._has_key = has_key
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._held_until_s = float("-inf")

    def call(self, body: bytes, read: Callable[[bytes], tuple[float, ...]]) -> Scored | Failure:
        """Send `body` until it is answered, refused for good, or not worth another attempt."""
        waited_s = 0.0
        attempt = 0
        failure: Failure | None = None
        while True:
            held_s = self._held_s()
            if waited_s + held_s > self._policy.budget_s:
                return failure or Failure("the endpoint asked to wait", call_strikes=0)
            if held_s and self._pause(held_s):
                return CLOSED
            waited_s += held_s
            permit = None if self._closed.is_set() else self._breaker.admit()
            if permit is None:
                return failure or self._refusal()
            attempt += 1
            outcome = self._attempt(permit, body, read)
            if isinstance(outcome, Scored):
                self._breaker.succeeded(permit)
                return outcome
            failure = CLOSED if self._closed.is_set() else outcome
            pause_s = self._policy.pause_s(failure, attempt, waited_s, self._clock.chance())
            self._take_note(permit, failure, gave_up=pause_s is None)
            if pause_s is None or self._pause(pause_s):
                return failure
            waited_s += pause_s

    def close(self) -> None:
        """End all pauses and break off what is under way; idempotent."""
        self._closed.set()
        self._transport.close()

    def _attempt(
        self, permit: Permit, body: bytes, read: Callable[[bytes], tuple[float, ...]]
    ) -> Scored | Failure:
        try:
            outcome = self._transport.post(body)
        except BaseException:
            self._breaker.failed(permit, "interrupted", strikes=0)
            raise
        if isinstance(outcome, Failure):
            return outcome
        return self._read(outcome, read)

    def _read(self, reply: Reply, read: Callable[[bytes], tuple[float, ...]]) -> Scored | Failure:
        if not 200 <= reply.status < 300:
            return status_failure(
                reply.status, reply.headers, has_key=self._has_key, wall_s=self._clock.wall_s()
            )
        try:
            return Scored(read(reply.body), reply.elapsed_s)
        except BadAnswerError as error:
            return Failure(f"an answer that makes no sense: {error}")

    def _take_note(self, permit: Permit, failure: Failure, *, gave_up: bool) -> None:
        strikes = failure.attempt_strikes + (failure.call_strikes if gave_up else 0)
        told_s = failure.retry_after_s
        if told_s is not None and not gave_up:
            with self._lock:
                until_s = self._clock.monotonic_s() + told_s
                self._held_until_s = max(self._held_until_s, until_s)
        too_long = gave_up and told_s is not None and told_s > self._policy.budget_s
        self._breaker.failed(
            permit, failure.reason, strikes=strikes, rest_s=told_s if too_long else None
        )

    def _held_s(self) -> float:
        with self._lock:
            return max(0.0, self._held_until_s - self._clock.monotonic_s())

    def _pause(self, seconds: float) -> bool:
        return self._clock.wait(self._closed, seconds)

    def _refusal(self) -> Failure:
        if self._closed.is_set():
            return CLOSED
        return Failure(f"circuit open: {self._breaker.reason}", call_strikes=0, not_asked=True)
