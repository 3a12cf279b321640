"""One call: attempts, pauses between them, and the circuit that ends them early."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from guardian_cli.detectors.endpoint.failures import (
    CLOSED,
    Failure,
    RetryPolicy,
    status_failure,
)
from guardian_cli.detectors.endpoint.protocol import BadAnswerError, is_deployment_name
from guardian_cli.http import DEPLOYMENT_HEADER

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardian_cli.detectors.endpoint.breaker import CircuitBreaker, Permit
    from guardian_cli.detectors.endpoint.client import Reply, Transport

    Read = Callable[[bytes], tuple[float, ...]]


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
    """Scores in 0..1, one for each frame of the request, how long it took, and who answered."""

    scores: tuple[float, ...]
    elapsed_s: float
    deployment: str | None = None


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

    def call(self, body: bytes, read: Read, deployment: str | None = None) -> Scored | Failure:
        """Send `body` until it is answered, refused for good, or not worth another attempt.

        With a `deployment` no other is asked, and no other's answer is taken.
        """
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
            outcome = self._attempt(permit, body, read, deployment)
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
        self, permit: Permit, body: bytes, read: Read, deployment: str | None
    ) -> Scored | Failure:
        try:
            outcome = self._transport.post(body, deployment)
        except BaseException:
            self._breaker.failed(permit, Failure("interrupted"), strikes=0)
            raise
        if isinstance(outcome, Failure):
            return outcome
        return self._read(outcome, read, deployment)

    def _read(self, reply: Reply, read: Read, deployment: str | None) -> Scored | Failure:
        if reply.status == HTTPStatus.NOT_FOUND and deployment is not None:
            # One deployment that is gone says nothing about the others: the circuit stays closed.
            reason = f"404 Not Found (no deployment {deployment})"
            return Failure(reason, call_strikes=0, misconfigured=True, status=reply.status)
        if not 200 <= reply.status < 300:
            return status_failure(
                reply.status, reply.headers, has_key=self._has_key, wall_s=self._clock.wall_s()
            )
        named = _named(reply.headers.get(DEPLOYMENT_HEADER))
        if None not in (deployment, named) and named != deployment:
            return Failure(f"{deployment} was asked for and {named} answered", call_strikes=0)
        try:
            return Scored(read(reply.body), reply.elapsed_s, named)
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
        self._breaker.failed(permit, failure, strikes=strikes, rest_s=told_s if too_long else None)

    def _held_s(self) -> float:
        with self._lock:
            return max(0.0, self._held_until_s - self._clock.monotonic_s())

    def _pause(self, seconds: float) -> bool:
        return self._clock.wait(self._closed, seconds)

    def _refusal(self) -> Failure:
        if self._closed.is_set():
            return CLOSED
        cause = self._breaker.cause or Failure("a probe is under way")
        reason = f"circuit open: {cause.reason}"
        return Failure(
            reason,
            call_strikes=0,
            not_asked=True,
            misconfigured=cause.misconfigured,
            status=cause.status,
        )


def _named(header: str | None) -> str | None:
    """The deployment that an answer names, if it is a name that can be asked for and shown."""
    return header if header is not None and is_deployment_name(header) else None
