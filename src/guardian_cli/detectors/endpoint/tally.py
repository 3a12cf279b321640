"""What became of an endpoint's frames, and the line that says so at the end of a run."""

from __future__ import annotations

import statistics
import threading
from collections import deque

_LATENCIES_KEPT = 4096


class Tally:
    """Counts frames and keeps the newest latencies. Thread safe, bounded memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answered = 0
        self._failed = 0
        self._latencies_s: deque[float] = deque(maxlen=_LATENCIES_KEPT)
        self._last_reason: str | None = None

    def answered(self, frames: int, elapsed_s: float) -> None:
        """Count frames that one request got scores for, and how long it took."""
        with self._lock:
            self._answered += frames
            self._latencies_s.append(elapsed_s)

    def failed(self, frames: int, reason: str | None) -> None:
        """Count frames without a score; None leaves the last reason as it is."""
        with self._lock:
            self._failed += frames
            self._last_reason = reason or self._last_reason

    def outcome(self) -> str | None:
        """Return what follows the URI in the line, or None when no frame was sent."""
        with self._lock:
            total = self._answered + self._failed
            if not total:
                return None
            if not self._answered:
                return f"failed: {self._last_reason}, 0 of {_frames(total)}"
            p50 = f"p50 {round(1000 * statistics.median(self._latencies_s))} ms"
            if not self._failed:
                return f"ok, {_frames(total)}, {p50}"
            counts = f"{self._answered} of {_frames(total)}"
            return f"degraded, {counts}, {p50}, last error: {self._last_reason}"


def _frames(count: int) -> str:
    return f"{count} frame" if count == 1 else f"{count} frames"
