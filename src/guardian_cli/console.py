"""The only file that prints: stdout carries the result, stderr all the rest."""

from __future__ import annotations

import io
import os
import shutil
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from guardian_cli.errors import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType


class PipeClosed(Exception):  # noqa: N818 - not an error: the reader has seen enough
    """Whoever reads our stdout has gone."""


CLEAR_LINE = "\r\x1b[2K"
BAR_CELLS = 24
# A bar is drawn again at most so often; without a terminal a line is written so often.
BAR_EVERY_S = 0.1
LINE_EVERY_S = 5.0


class Console:
    """One sink for a run, for any thread. What is printed never runs into a bar."""

    def __init__(
        self, *, quiet: bool = False, out: TextIO | None = None, err: TextIO | None = None
    ) -> None:
        self.quiet = quiet
        # Python sets a stream to None that was closed when the process began.
        self._out: TextIO | None = out or sys.stdout
        self._err: TextIO | None = err or sys.stderr
        for stream in (self._out, self._err):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        self._lock = threading.RLock()
        self._bar_is_drawn = False
        self._progress_due_s = 0.0

    @property
    def out_is_terminal(self) -> bool:
        """Whether a person looks at stdout."""
        return self._out is not None and self._out.isatty()

    def result(self, text: str) -> None:
        """Write the result and make sure that it has left the process.

        Raises PipeClosed, and UsageError where it can't be written.
        """
        with self._lock:
            self.end_progress()
            try:
                if self._out is None:
                    raise OSError("stdout is closed")  # noqa: TRY301 - as any write that fails
                # Nothing at all stays nothing: lines of JSON may be none.
                self._out.write(text if text.endswith("\n") or not text else text + "\n")
                self._out.flush()
            except BrokenPipeError as error:
                raise PipeClosed from error
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                message = f"the result could not be written to stdout: {reason}"
                raise UsageError(message, hint="guardian … > FILE") from error

    def show(self, renderable: RenderableType) -> None:
        """Write a table or another rich thing as the result."""
        from rich.console import Console as RichConsole
        from rich.console import Group
        from rich.table import Table

        terminal = self.out_is_terminal
        width = _columns(self._out) if terminal else max(80, _columns(None))
        if not terminal and isinstance(renderable, Table | Group):
            # Nothing is cut in a pipe, and nothing broken: it is as wide as its rows are.
            width = max(width, RichConsole(width=10_000).measure(renderable).maximum)
        buffer = io.StringIO()
        RichConsole(
            file=buffer,
            force_terminal=terminal,
            no_color=None if terminal else True,
            width=width,
            highlight=False,
            legacy_windows=False,
        ).print(renderable, crop=False)
        lines = buffer.getvalue().splitlines()
        self.result("\n".join(lines if terminal else [line.rstrip() for line in lines]))

    def note(self, text: str) -> None:
        """Say something that is not the result; nothing with --quiet."""
        if not self.quiet:
            self._say(text)

    def warn(self, text: str, hint: str | None = None) -> None:
        """Say what the user should know even with --quiet, and what to type next."""
        self._say(f"warning: {text}")
        if hint:
            self.note(f"hint: {hint}")

    def error(self, text: str, hint: str | None = None) -> None:
        """Say what is wrong in one line, and what to type next."""
        self._say(f"error: {one_line(text)}")
        if hint:
            self._say(f"hint: {one_line(hint)}")

    def quote(self, title: str, text: str) -> None:
        """Show what another program wrote, line by line, without what could steer a terminal."""
        self._say(f"--- {title} ---")
        for line in text.splitlines():
            self._say("  " + "".join(char if char.isprintable() else " " for char in line))
        self._say(f"--- end of {title} ---")

    def progress(self, text: str, share: float, what: str) -> None:
        """Show how far long work is: a bar on a terminal, now and then a line elsewhere.

        Call it as often as you like. `share` goes from 0 to 1; `what` names the work in a line.
        """
        # Work does not wait for whoever reads stdout slowly: then there is no news for a moment.
        if self.quiet or self._err is None or not self._lock.acquire(blocking=False):
            return
        try:
            now_s = time.monotonic()
            is_terminal = self._err.isatty()
            # Short work says nothing where lines are written: the first is due after a while.
            if self._progress_due_s == 0.0 and not is_terminal:
                self._progress_due_s = now_s + LINE_EVERY_S
            if now_s < self._progress_due_s:
                return
            self._progress_due_s = now_s + (BAR_EVERY_S if is_terminal else LINE_EVERY_S)
            if not is_terminal:
                self._say(f"{what}: {text}")
                return
            full = round(BAR_CELLS * min(max(share, 0.0), 1.0))
            bar = f"[{'#' * full}{'-' * (BAR_CELLS - full)}] {text}"
            # One cell less than there are: a line that is full would begin another one.
            self._write(CLEAR_LINE + bar[: max(0, _columns(self._err) - 1)])
            self._bar_is_drawn = True
        finally:
            self._lock.release()

    def end_progress(self) -> None:
        """Take the bar away, if one is drawn; the next `progress` draws it again."""
        with self._lock:
            if self._bar_is_drawn:
                self._bar_is_drawn = False
                self._write(CLEAR_LINE)

    def _say(self, text: str) -> None:
        with self._lock:
            self.end_progress()
            self._write(text + "\n")

    def _write(self, text: str) -> None:
        if self._err is not None:
            try:
                self._err.write(text)
                self._err.flush()
            except OSError:
                # Nobody reads stderr any more: the result and the exit code still count.
                self._err = None


def one_line(text: str) -> str:
    """Fold a message into one line without control characters, which could steer a terminal."""
    folded = " ".join(text.split())
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in folded)


def clock(seconds: float) -> str:
    """Return a length of time as m:ss, or h:mm:ss from an hour upwards."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _columns(terminal: TextIO | None) -> int:
    """How wide a terminal is; without one, what the user says in COLUMNS."""
    if terminal is not None:
        with suppress(OSError, ValueError):
            return os.get_terminal_size(terminal.fileno()).columns or 80
    return shutil.get_terminal_size((100, 24)).columns
