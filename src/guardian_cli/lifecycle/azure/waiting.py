"""Waiting for what takes minutes on Azure, and saying how it stands meanwhile."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

from guardian_cli.lifecycle.platform import OperationTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
# Lines are few: an operation takes minutes, and a log keeps each of them.
_FIRST_LINE_S = 10.0
_LATER_LINES_S = 30.0


def wait_for(
    poller: Any,
    what: str,
    tell: Callable[[str], None],
    *,
    timeout_s: float,
    look: Callable[[], None] | None = None,
) -> Any:
    """Wait until a poller has ended and return its result; say state and elapsed time.

    `look` is called at each line, for logs. Raises OperationTimeoutError, and what the poller
    ended with.
    """
    begun = time.monotonic()
    next_line_s = _FIRST_LINE_S
    while not poller.done():
        elapsed_s = time.monotonic() - begun
        if elapsed_s >= timeout_s:
            raise OperationTimeoutError(
                f"{what}: not done after {timeout_s:g} s; it goes on at Azure",
                hint="run the same command again: it waits for what is under way",
            )
        poller.wait(min(next_line_s, timeout_s) - elapsed_s)
        elapsed_s = time.monotonic() - begun
        if not poller.done() and elapsed_s >= next_line_s:
            tell(f"{what}: {str(poller.status()).lower()}, {_minutes(elapsed_s)}")
            next_line_s = elapsed_s + _LATER_LINES_S
            if look is not None:
                look()
    return poller.result()


def wait_until(look: Callable[[], T | None], *, timeout_s: float) -> T | None:
    """Look again and again, in growing pauses, until there is something; None after the time.

    For what is seen only a while after its operation has ended, or whose operation Azure did not
    name.
    """
    until = time.monotonic() + timeout_s
    pause_s = _FIRST_PAUSE_S
    while True:
        found = look()
        left_s = until - time.monotonic()
        if found is not None or left_s <= 0:
            return found
        time.sleep(min(pause_s, left_s))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
