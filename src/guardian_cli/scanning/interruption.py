"""Ctrl-C, SIGTERM and a closed terminal's SIGHUP, for a run that may miss none of them.

Each raises KeyboardInterrupt in the main thread. While PyTorch is imported and a model is loaded,
some of those are lost: code in there drops whatever error it meets. So each is noted as well, and
raised again.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Interruption:
    """Whether somebody wants this run to end; `came` says that a signal came."""

    def __init__(self) -> None:
        self.came = False
        self._held = False

    def check(self) -> None:
        """Raise KeyboardInterrupt if one came, whatever has become of it."""
        if self.came:
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let an interrupt wait until the end of this: half a line must not be written."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        self.check()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note what comes meanwhile; at the end nothing that came is lost, nor hidden by an error.

        An interrupt that is ignored, as in a shell's background, stays ignored.
        """
        # Python lets the main thread alone set handlers: a library's caller may be in another.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        others = (signal.SIGINT, signal.SIGHUP)
        numbers = [one for one in others if signal.getsignal(one) is not signal.SIG_IGN]
        numbers.append(signal.SIGTERM)
        before = {number: signal.signal(number, self._note) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self.check()

    def _note(self, *_: object) -> None:
        # The second one in a row waits for nothing: whoever reads stdout may have stopped reading.
        is_second, self.came = self.came, True
        if is_second or not self._held:
            raise KeyboardInterrupt
