"""How far a batch is: a bar on a terminal, plain lines elsewhere, nothing with --quiet."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType

    from guardian_cli.console import Console

LINE_EVERY_S = 5.0


class Progress(Protocol):
    """Told by many threads; shows what it likes."""

    def frame(self, source: str, time_s: float, duration_s: float | None) -> None:
        """A frame of a source was scored."""

    def finished(self, source: str) -> None:
        """A source has ended."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class _Count:
    """What every kind of progress counts: sources, frames, and the share of each open source."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.frames = 0
        self._shares: dict[str, float] = {}
        self._lock = threading.Lock()
        self._started_s = time.monotonic()

    def frame(self, source: str, time_s: float, duration_s: float | None) -> None:
        with self._lock:
            self.frames += 1
            if duration_s:
                self._shares[source] = min(time_s / duration_s, 1.0)

    def finished(self, source: str) -> None:
        with self._lock:
            self.done += 1
            self._shares.pop(source, None)

    @property
    def completed(self) -> float:
        """Sources done, with the open ones in part."""
        with self._lock:
            return self.done + sum(self._shares.values())

    def text(self) -> str:
        passed_s = max(time.monotonic() - self._started_s, 1e-6)
        completed = self.completed
        left = ""
        if 0 < completed < self.total:
            left = f", {_clock(passed_s * (self.total / completed - 1))} left"
        sources = f"{self.done}/{self.total} sources, " if self.total > 1 else ""
        return f"{sources}{self.frames} frames, {self.frames / passed_s:.0f} frames/s{left}"


class SilentProgress(_Count):
    """Counts and says nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


class LineProgress(_Count):
    """A line on stderr every few seconds; short scans say nothing."""

    def __init__(self, total: int, console: Console) -> None:
        super().__init__(total)
        self._console = console
        self._said_s = time.monotonic()

    def frame(self, source: str, time_s: float, duration_s: float | None) -> None:
        """Count and maybe say."""
        super().frame(source, time_s, duration_s)
        self._maybe_say()

    def finished(self, source: str) -> None:
        """Count and maybe say."""
        super().finished(source)
        self._maybe_say()

    def _maybe_say(self) -> None:
        now_s = time.monotonic()
        if now_s - self._said_s >= LINE_EVERY_S:
            self._said_s = now_s
            self._console.note(f"scanning: {self.text()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


class BarProgress(_Count):
    """A bar on a terminal."""

    def __init__(self, total: int, console: Console) -> None:
        super().__init__(total)
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            SpinnerColumn(),
            BarColumn(bar_width=30),
            TextColumn("{task.description}", markup=False),
            console=RichConsole(file=console.error_stream(), highlight=False),
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=total)

    def frame(self, source: str, time_s: float, duration_s: float | None) -> None:
        """Count and maybe say."""
        super().frame(source, time_s, duration_s)
        self._bar.update(self._task, completed=self.completed, description=self.text())

    def finished(self, source: str) -> None:
        """Count and maybe say."""
        super().finished(source)
        self._bar.update(self._task, completed=self.completed, description=self.text())

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def make_progress(total: int, console: Console) -> Progress:
    """Choose by who looks at stderr."""
    if console.quiet:
        return SilentProgress(total)
    if console.err_is_terminal:
        return BarProgress(total, console)
    return LineProgress(total, console)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
