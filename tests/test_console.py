"""Bars stay on stderr and out of the way: seen from the terminal that both streams share."""

from __future__ import annotations

import fcntl
import io
import os
import struct
import sys
import termios
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import pytest

from guardian_cli.console import CLEAR_LINE, LINE_EVERY_S, Console, clock
from guardian_cli.progress import ScanProgress
from guardian_cli.training.model.trainer import Epoch
from guardian_cli.training.progress import TrainingProgress

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = 50
END = "\x1c"


class Terminal:
    """Both ends of a terminal: `file` is what a program writes to."""

    def __init__(self, master: int, file: TextIO) -> None:
        self._master = master
        self.file = file

    def received(self) -> str:
        """All that was written so far: the kernel hands it over in pieces, so a mark ends it."""
        self.file.write(END)
        self.file.flush()
        received = b""
        while not received.endswith(END.encode()):
            received += os.read(self._master, 1 << 16)
        return received.decode().removesuffix(END).replace("\r\n", "\n")

    def screen(self) -> list[str]:
        """The lines that a person sees."""
        lines = [line.rpartition(CLEAR_LINE)[2] for line in self.received().split("\n")]
        return [line for line in lines if line]


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with open_terminal() as opened:
        yield opened


@contextmanager
def open_terminal() -> Iterator[Terminal]:
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    with os.fdopen(slave, "w", encoding="utf-8") as file:
        yield Terminal(master, file)
    os.close(master)


def test_a_result_line_never_runs_into_a_bar(terminal: Terminal) -> None:
    console = Console(out=terminal.file, err=terminal.file)
    progress = ScanProgress(3, console)
    progress.frame("a", 1.0, 2.0)
    console.result('{"source": "a"}')
    progress.finished("a")
    console.note("a note")
    progress.frame("b", 1.0, 2.0)
    console.end_progress()
    assert terminal.screen() == ['{"source": "a"}', "a note"]


def test_a_bar_is_drawn_on_stderr_alone_and_fits_its_line(terminal: Terminal) -> None:
    out = io.StringIO()
    console = Console(out=out, err=terminal.file)
    progress = ScanProgress(1000, console)
    progress.frame("a", 1.0, 2.0)
    bar = terminal.received()
    assert bar.startswith(f"{CLEAR_LINE}[")
    assert "0/1000 sources" in bar
    assert len(bar.removeprefix(CLEAR_LINE)) == COLUMNS - 1
    console.result("x")
    assert out.getvalue() == "x\n"
    assert terminal.received() == CLEAR_LINE


def test_the_bar_of_a_training_is_gone_when_its_result_is_printed(terminal: Terminal) -> None:
    console = Console(out=terminal.file, err=terminal.file)
    with TrainingProgress("nsfw-detector", console) as progress:
        progress.step("reading files", 3, 10)
        console.warn("one file is broken")
        progress.epoch(0, 2, Epoch(1, 0.5, 0.6, 0.7), 4)
    console.result("nsfw-detector  version 1")
    assert terminal.screen() == ["warning: one file is broken", "nsfw-detector  version 1"]


def test_without_a_terminal_short_work_says_nothing_and_long_work_a_line_at_times() -> None:
    err = io.StringIO()
    console = Console(out=io.StringIO(), err=err)
    console.progress("1/2 sources", 0.5, "scanning")
    assert err.getvalue() == ""
    console._progress_due_s -= LINE_EVERY_S
    console.progress("1/2 sources", 0.5, "scanning")
    console.progress("2/2 sources", 1.0, "scanning")
    console.end_progress()
    assert err.getvalue() == "scanning: 1/2 sources\n"


def test_quiet_draws_nothing(terminal: Terminal) -> None:
    console = Console(quiet=True, out=terminal.file, err=terminal.file)
    ScanProgress(2, console).frame("a", 1.0, 2.0)
    console.result("x")
    assert terminal.received() == "x\n"


def test_a_table_is_as_wide_as_the_terminal_and_wide_enough_in_a_pipe(terminal: Terminal) -> None:
    text = "word " * 40
    Console(out=terminal.file, err=sys.stderr).show(text)
    assert max(len(line.rstrip()) for line in terminal.received().splitlines()) <= COLUMNS
    out = io.StringIO()
    Console(out=out, err=sys.stderr).show(text)
    assert max(map(len, out.getvalue().splitlines())) > COLUMNS


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (754.2, "12:34"), (7384, "2:03:04")]
)
def test_time_left_reads_like_a_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
