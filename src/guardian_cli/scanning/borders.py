"""Letterbox and pillarbox bars, which detectors that lay views over a frame are not shown.

A bar is uniform, equally deep at both ends, and there in MANY frames in a row, most of which show
the picture right beside it: a plain background or a dark scene ends elsewhere in each. What was
found in the frames before is cut from the next one only if it is uniform there too. So nothing is
ever cut but one colour, and a frame with anything in its bars (a subtitle, a picture somebody hides
there) is looked at whole, and so are those after it, until the bars were empty for long enough.

What holds at a time follows from the frames of the first pass before it, so that a refinement cuts
as the first pass does; and it waits for no frame to come.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]

MANY = 5
# In levels of 0..255: bars of compressed videos were seen to stray by up to 8 (x264, VP9, shrunk).
TOLERANCE = 8
# The line between bar and picture is blurred: it moves by so much, and as much of a bar is left.
SLACK_PX = 2
# A share of the frame's side: a thinner bar is not worth it, and more picture than that stays.
MIN_SHARE = 0.03
MIN_PICTURE = 0.2
_BLOCK = 16


class Margin(NamedTuple):
    """How many lines from one edge on are of one colour (BGR, the median of the first)."""

    px: int
    colour: tuple[float, ...]

    def is_like(self, other: Margin) -> bool:
        """Whether two are of the same colour, but for compression."""
        pairs = zip(self.colour, other.colour, strict=True)
        return all(abs(one - two) <= TOLERANCE for one, two in pairs)


class Margins(NamedTuple):
    """The margins at both ends of one axis of a frame that is `length` lines long."""

    near: Margin
    far: Margin
    length: int

    @property
    def px(self) -> int:
        """How deep both are."""
        return min(self.near.px, self.far.px)


class Bars(NamedTuple):
    """Bars of `px` lines at both ends of an axis; `last` are margins of a frame that has them."""

    px: int
    last: Margins

    def are_in(self, margins: Margins) -> bool:
        """Whether a frame with these margins has nothing but these bars there."""
        return (
            margins.px >= self.px
            and margins.length == self.last.length
            and margins.near.is_like(self.last.near)
            and margins.far.is_like(self.last.far)
        )


class BorderCutter:
    """Cuts the bars of one source's frames; ask it in the order of their times, pass by pass."""

    def __init__(self) -> None:
        self._rows, self._columns = _Axis(), _Axis()

    def cut(self, image: Image, time_s: float, *, is_refined: bool = False) -> Image:
        """Return the part of a frame (H x W x 3, uint8) inside its bars: the same memory.

        `is_refined` is set for frames of the second pass, which teach nothing.
        """
        down, across = find_margins(image), find_margins(image.transpose(1, 0, 2))
        # All of one colour, it shows neither bars nor that there are none.
        if down is None or across is None:
            return image
        rows = self._rows.next_bar_px(down, time_s, is_refined=is_refined)
        columns = self._columns.next_bar_px(across, time_s, is_refined=is_refined)
        if rows is None or columns is None:
            return image
        height, width = image.shape[:2]
        return image[rows : height - rows, columns : width - columns]


class _Axis:
    """What the first pass has shown of one axis so far, and from when on which bars hold."""

    def __init__(self) -> None:
        self._window: deque[Margins] = deque(maxlen=MANY)
        self._times_s: list[float] = []
        self._bars: list[Bars | None] = []

    def next_bar_px(self, margins: Margins, time_s: float, *, is_refined: bool) -> int | None:
        """How deep the bars of this frame are, 0 without; None where something is in them."""
        before = bisect_left(self._times_s, time_s)
        bars = self._bars[before - 1] if before else None
        px = 0 if bars is None else bars.px if bars.are_in(margins) else None
        if not is_refined:
            self._window.append(margins)
            now = find_bars(self._window)
            # Kept where it changes: a film has few of these, and a stream may have no end.
            held = self._bars[-1] if self._bars else None
            if (now and now.px) != (held and held.px) or (bars is not None and px is None):
                self._times_s.append(time_s)
                self._bars.append(now)
        return px


def find_bars(window: Sequence[Margins]) -> Bars | None:
    """The bars that frames in a row have in common, None where there are none."""
    if len(window) < MANY:
        return None
    depths = [margins.px for margins in window]
    last, px = window[-1], min(depths) - SLACK_PX
    # A dark scene has deeper margins: the bars are where most frames' pictures begin.
    beside = sum(depth <= min(depths) + SLACK_PX for depth in depths)
    is_worth_it = MIN_SHARE * last.length <= px <= (1 - MIN_PICTURE) / 2 * last.length
    if not is_worth_it or px < 1 or 2 * beside <= len(window):
        return None
    bars = Bars(px, last)
    return bars if all(bars.are_in(margins) for margins in window) else None


def find_margins(lines: Image) -> Margins | None:
    """The uniform margins of a picture (L, M, 3) along its first axis; None if it is all one."""
    near = _find_margin(lines)
    if near.px == len(lines):
        return None
    return Margins(near, _find_margin(lines[::-1]), len(lines))


def _find_margin(lines: Image) -> Margin:
    import numpy as np

    colour = np.median(lines[0], axis=0)
    # As bytes: to compare with floating-point numbers takes several times as long.
    low = np.ceil(colour - TOLERANCE).clip(0, 255).astype(np.uint8)
    high = np.floor(colour + TOLERANCE).clip(0, 255).astype(np.uint8)
    px = 0
    while px < len(lines):
        # Most frames have no bar, which their first line shows.
        block = lines[px : px + (_BLOCK if px else 1)]
        uniform = ((block >= low) & (block <= high)).all(axis=(1, 2))
        if not uniform.all():
            px += int(uniform.argmin())
            break
        px += len(block)
    return Margin(px, tuple(colour.tolist()))
