"""The only file that prints: stdout carries the result, stderr all the rest."""

from __future__ import annotations

import io
import os
import shutil
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from guardian_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType


class PipeClosed(Exception):  # noqa: N818 - not an error: the reader has seen enough
    """Whoever reads our stdout has gone."""


class Console:
    """One sink for a run. Thread-safe enough: every call writes whole lines."""

    def __init__(
        self, *, quiet: bool = False, out: TextIO | None = None, err: TextIO | None = None
    ) -> None:
        self.quiet = quiet
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        for stream in (self._out, self._err):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")

    @property
    def err_is_terminal(self) -> bool:
        """Whether a person looks at stderr."""
        return bool(self._err) and self._err.isatty()

    def result(self, text: str) -> None:
        """Write the result and make sure that it has left the process."""
        with _writing():
            if self._out is None:
                raise OSError("stdout is closed")
            self._out.write(text if text.endswith("\n") else text + "\n")
            self._out.flush()

    def show(self, renderable: RenderableType) -> None:
        """Write a table or another rich thing as the result."""
        from rich.console import Console as RichConsole

        terminal = bool(self._out) and self._out.isatty()
        buffer = io.StringIO()
        RichConsole(
            file=buffer,
            force_terminal=terminal,
            no_color=None if terminal else True,
            width=None if terminal else _width(),
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

    def error_stream(self) -> TextIO:
        """Where progress bars are drawn."""
        return self._err

    def _say(self, text: str) -> None:
        if self._err is None:
            return
        try:
            self._err.write(text + "\n")
            self._err.flush()
        except OSError:
            # Nobody reads stderr any more: the result and the exit code still count.
            self._err = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123


def one_line(text: str) -> str:
    """Fold a message into one line without control characters, which could steer a terminal."""
    folded = " ".join(text.split())
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in folded)


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise PipeClosed from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"the result could not be written to stdout: {reason}", hint="guardian … > FILE"
        ) from error


def _width() -> int:
    return max(80, shutil.get_terminal_size((100, 24)).columns)


def silence_streams(*streams: Any) -> None:
    """Point streams at nothing, so that the interpreter's last flush cannot fail loudly."""
    for stream in streams:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        except (OSError, ValueError, AttributeError):
            continue
