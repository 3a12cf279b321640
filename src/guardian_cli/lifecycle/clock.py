"""The time, which tests replace, and waiting for an endpoint that is busy."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from guardian_cli.lifecycle.platform import EndpointBusyError, OperationTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
# Most operations that block an endpoint are over at once, the others take minutes.
_FIRST_PAUSE_S = 0.25
_MAX_PAUSE_S = 10.0


def utc_stamp(when: datetime) -> str:
    """Return a time as documents and tags have it: UTC, to the second."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


class Clock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the time of day, UTC."""
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        """Return seconds since some point in the past."""
        # The time of day may be set back while somebody waits.
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@dataclass
class RetryDeadline:
    """Tries again while an endpoint is busy, in pauses that grow to 10 s, `timeout_s` in all."""

    clock: Clock
    timeout_s: float
    note: Callable[[str], None]
    _end_s: float = field(init=False)
    _has_noted: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._end_s = self.clock.monotonic_s() + self.timeout_s

    @property
    def left_s(self) -> float:
        """Seconds that are left, at least 0."""
        return max(0.0, self._end_s - self.clock.monotonic_s())

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
                # Once for all calls of an operation: a busy endpoint answers so again and again.
                if not self._has_noted:
                    self.note(f"{busy}; waiting up to {self.left_s:.0f} s")
                    self._has_noted = True
            self.clock.sleep(min(pause_s, self.left_s))
            pause_s = min(2 * pause_s, _MAX_PAUSE_S)
