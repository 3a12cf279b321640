"""How far long work is: puts it into words with the time left, and has the console show it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

from guardian_cli.console import clock

if TYPE_CHECKING:
    from guardian_cli.console import Console


class Progress:
    """Shows work in stages, with an estimate of the time left. A context manager."""

    def __init__(self, console: Console, what: str, left: str = "left") -> None:
        """`what` names the work where no bar is drawn; `left` are the words after the time left."""
        self._console = console
        self._what = what
        self._left = left
        self._stage: str | None = None
        self._started_s = time.monotonic()
        self._started_share = 0.0

    def show(self, stage: str, text: str, share: float) -> None:
        """Show a text and how much of a stage is done, from 0 to 1."""
        now_s = time.monotonic()
        if stage != self._stage:
            # A stage may begin in the middle, where an interrupted run had come to.
            self._stage, self._started_s, self._started_share = stage, now_s, share
        gained = share - self._started_share
        if gained > 0 and share < 1:
            left_s = (now_s - self._started_s) * (1 - share) / gained
            text += f", {clock(left_s)} {self._left}"
        self._console.progress(text, share, self._what)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._console.end_progress()


class ScanProgress(Progress):
    """The progress of a scan, told by many threads of every frame and source."""

    def __init__(self, total: int, console: Console) -> None:
        """Expect `total` sources."""
        super().__init__(console, "scanning")
        self._total = total
        self._done = 0
        self._frames = 0
        self._shares: dict[str, float] = {}
        self._elsewhere: dict[object, tuple[int, float]] = {}
        self._lock = threading.Lock()
        self._stage = "scanning"

    def frame(self, source: str, time_s: float, duration_s: float | None) -> None:
        """Count a frame that was scored, and how much of its source is behind it."""
        with self._lock:
            self._frames += 1
            if duration_s:
                self._shares[source] = min(time_s / duration_s, 1.0)
        self._show()

    def finished(self, source: str) -> None:
        """Count a source that has ended."""
        with self._lock:
            self._done += 1
            self._shares.pop(source, None)
        self._show()

    def state(self) -> tuple[int, float]:
        """Return how many frames were scored, and how many sources' worth is under way."""
        with self._lock:
            return self._frames, sum(self._shares.values())

    def set_elsewhere(self, where: object, frames: int, under_way: float) -> None:
        """Take over the `state` of another process, which scans some of the sources."""
        with self._lock:
            self._elsewhere[where] = (frames, under_way)
        self._show()

    def _show(self) -> None:
        with self._lock:
            completed = self._done + sum(self._shares.values())
            completed += sum(share for _, share in self._elsewhere.values())
            count = self._frames + sum(frames for frames, _ in self._elsewhere.values())
        # Not under the lock: no work waits for whoever reads stderr slowly.
        passed_s = max(time.monotonic() - self._started_s, 1e-6)
        sources = f"{self._done}/{self._total} sources, " if self._total > 1 else ""
        frames = f"{count} frame{'' if count == 1 else 's'}"
        text = f"{sources}{frames}, {count / passed_s:.0f} frames/s"
        self.show("scanning", text, completed / self._total)
