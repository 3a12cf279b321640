"""Time, so that tests can bring their own."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

from guardian_cli.lifecycle.platform import EndpointBusyError, OperationTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 10.0


class Clock(Protocol):
    """What time it is, how much has passed, and waiting."""

    def now(self) -> datetime:
        """The time of day, UTC."""

    def monotonic_s(self) -> float:
        """Seconds since some point."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the time of day, UTC."""
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        """Return seconds since some point."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def timestamp(clock: Clock) -> str:
    """The time as it stands in the history: 2026-11-23T09:00:00Z."""
    return clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Patience:
    """Waits for a busy endpoint, in pauses that grow to 10 s, up to `timeout_s` in all."""

    clock: Clock
    timeout_s: float
    tell: Callable[[str], None]
    _until_s: float = 0.0
    _told: bool = False

    def __post_init__(self) -> None:
        self._until_s = self.clock.monotonic_s() + self.timeout_s

    @property
    def left_s(self) -> float:
        """Seconds that are left, 0 at least."""
        return max(0.0, self._until_s - self.clock.monotonic_s())

    def retry(self, action: Callable[[], T]) -> T:
        """Do something as soon as the endpoint is free. Raises OperationTimeoutError."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return action()
            except EndpointBusyError as busy:
                if self.left_s <= 0:
                    raise OperationTimeoutError(
                        f"{busy}; waited {self.timeout_s:g} s",
                        hint="run the same command again: it goes on where it stopped",
                    ) from busy
                self._say_once(str(busy))
            self.clock.sleep(min(pause_s, self.left_s))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _say_once(self, reason: str) -> None:
        if not self._told:
            self.tell(f"{reason}; waiting up to {self.left_s:.0f} s")
            self._told = True
