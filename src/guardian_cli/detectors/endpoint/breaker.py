"""A circuit breaker: after repeated failure an endpoint is left alone for a while.

    closed --strikes--> open --rest over--> half-open: one probe --ok--> closed
                         ^                                 |
                         +------- failed: rest doubled ----+

Results of calls that set out before the circuit last changed count for nothing.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardian_cli.detectors.endpoint.failures import Failure


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one attempt; hand it back with `succeeded` or `failed`."""

    era: int
    is_probe: bool


class CircuitBreaker:
    """Decides whether an attempt may be made. Thread safe; `clock` gives monotonic seconds."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        strikes_to_open: int = 3,
        rest_s: float = 30.0,
        longest_rest_s: float = 300.0,
    ) -> None:
        self._clock = clock
        self._strikes_to_open = strikes_to_open
        self._first_rest_s = rest_s
        self._longest_rest_s = longest_rest_s
        self._lock = threading.Lock()
        self._era = 0
        self._strikes = 0
        self._next_rest_s = rest_s
        self._open_until_s: float | None = None
        self._probing = False
        self._cause: Failure | None = None

    @property
    def cause(self) -> Failure | None:
        """Why the circuit is open; None while it is closed."""
        with self._lock:
            return self._cause

    def admit(self) -> Permit | None:
        """Return a permit, or None where the circuit is open or its one probe is under way."""
        with self._lock:
            if self._open_until_s is None:
                return Permit(self._era, is_probe=False)
            if self._probing or self._clock() < self._open_until_s:
                return None
            self._probing = True
            return Permit(self._era, is_probe=True)

    def succeeded(self, permit: Permit) -> None:
        """Take note of an answer: strikes are forgotten, and a probe closes the circuit."""
        with self._lock:
            if permit.era != self._era:
                return
            self._strikes = 0
            if permit.is_probe:
                self._era += 1
                self._probing = False
                self._open_until_s = None
                self._cause = None
                self._next_rest_s = self._first_rest_s

    def failed(
        self, permit: Permit, cause: Failure, *, strikes: int = 1, rest_s: float | None = None
    ) -> None:
        """Take note of a failure that weighs `strikes`; `rest_s` opens the circuit for so long."""
        with self._lock:
            if permit.era != self._era:
                return
            self._strikes += strikes
            if permit.is_probe or rest_s is not None or self._strikes >= self._strikes_to_open:
                self._open(cause, rest_s)

    def _open(self, cause: Failure, rest_s: float | None) -> None:
        rest_s = min(max(self._next_rest_s, rest_s or 0.0), self._longest_rest_s)
        self._open_until_s = self._clock() + rest_s
        self._next_rest_s = min(2 * self._next_rest_s, self._longest_rest_s)
        self._era += 1
        self._strikes = 0
        self._probing = False
        self._cause = cause
