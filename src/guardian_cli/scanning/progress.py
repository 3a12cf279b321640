"""How far a batch is: counts sources and frames, and has the console show it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from guardian_cli.console import clock
from guardian_cli.reports.text import count

if TYPE_CHECKING:
    from guardian_cli.console import Console


class Progress:
    """Told by many threads of every frame and source."""

    def __init__(self, total: int, console: Console) -> None:
        """Expect `total` sources."""
        self._total = total
        self._console = console
        self._done = 0
        self._frames = 0
        self._shares: dict[str, float] = {}
        self._lock = threading.Lock()
        self._started_s = time.monotonic()

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

    def _show(self) -> None:
        with self._lock:
            completed = self._done + sum(self._shares.values())
        passed_s = max(time.monotonic() - self._started_s, 1e-6)
        sources = f"{self._done}/{self._total} sources, " if self._total > 1 else ""
        text = f"{sources}{count(self._frames, 'frame')}, {self._frames / passed_s:.0f} frames/s"
        if 0 < completed < self._total:
            text += f", {clock(passed_s * (self._total / completed - 1))} left"
        self._console.progress(text, completed / self._total, "scanning")
