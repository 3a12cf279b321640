"""Which parts of a frame a model looks at: together, all of it.

CLIP wants a square. A centre crop throws away 44% of a 16:9 frame, and letterboxing shrinks what is
left. So a frame is covered by views along its longer side: at least half a shorter side of overlap,
so that what one view cuts in two lies whole in the next, and a squeeze into the square of at most
1.2, less than the aspect jitter (3/4 to 4/3) that CLIP models are trained with. That makes one view
up to 1.2:1, two up to 1.9:1 (so for 4:3, 16:9 and 9:16), three up to 2.6:1. Beyond eight views they
get longer and are squeezed more; nothing is left out.
"""

from __future__ import annotations

import math
from typing import NamedTuple

MAX_SQUEEZE = 1.2
OVERLAP = 0.5
MAX_VIEWS = 8


class View(NamedTuple):
    """A rectangle of a frame, in pixels."""

    left: int
    top: int
    width: int
    height: int


def views_of(width: int, height: int) -> list[View]:
    """The views that cover a frame of `width` x `height` pixels, each at least 1 x 1."""
    if width >= height:
        return [View(start, 0, span, height) for start, span in _spans(width, height)]
    return [View(0, start, width, span) for start, span in _spans(height, width)]


def _spans(long_px: int, short_px: int) -> list[tuple[int, int]]:
    """Start and length, in pixels, of each view along the longer side."""
    aspect = long_px / short_px
    # A hair of tolerance keeps 6:5 at one view although 1.2 has no exact binary form.
    needed = math.ceil((aspect - OVERLAP) / (MAX_SQUEEZE - OVERLAP) - 1e-9)
    count = min(max(needed, 1), MAX_VIEWS)
    if count == 1:
        return [(0, long_px)]
    # Where MAX_VIEWS are too few for so long a frame, each is longer than MAX_SQUEEZE allows.
    span = max(short_px, math.ceil((long_px + (count - 1) * OVERLAP * short_px) / count))
    last = long_px - span
    return [(round(index * last / (count - 1)), span) for index in range(count)]
