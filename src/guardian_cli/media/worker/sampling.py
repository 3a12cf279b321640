"""Which frames become samples: the video's own clock, the grid of sample times, the packet index.

Pure functions and small state machines; no I/O, no media library. All times are seconds.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardian_cli.media.frames import Window

TOLERANCE_S = 1e-6
DEFAULT_INTERVAL_S = 1 / 25
# Rates beyond these are clock rates (90,000 a second) or slips in a header.
SHORTEST_INTERVAL_S = 1 / 240
LONGEST_INTERVAL_S = 1.0
# Between two frames of a container whose clock runs on beside the file, as in broadcasts, more than
# this is no pause but a cut: FFmpeg itself takes 10 s, but slides may stand for a minute. Elsewhere
# a frame's time is what the author wrote, and only what nobody would wait for is a slip.
MAX_PAUSE_S, MAX_WRITTEN_PAUSE_S = 60.0, 86_400.0
_OVERLAP_S = 0.25
_SQUEEZED_S = 0.001


def frame_interval(frames_per_s: float) -> float:
    """Return the seconds between frames of a claimed rate; 25/s where the claim is past belief."""
    if not math.isfinite(frames_per_s) or frames_per_s <= 0:
        return DEFAULT_INTERVAL_S
    interval_s = 1 / frames_per_s
    if interval_s < SHORTEST_INTERVAL_S:
        return DEFAULT_INTERVAL_S
    return min(interval_s, LONGEST_INTERVAL_S)


def rounded(time_s: float) -> float:
    """Round to a microsecond; two ways to a stamp, off by float noise, give the same time."""
    return round(time_s + 1e-10, 6)


class FrameClock:
    """The video's own clock: 0 at the first frame, strictly increasing whatever the stamps do.

    Where a stamp is missing, steps back, or jumps ahead by more than `max_pause_s`, the clock goes
    on by the typical frame interval, so that no frames hide behind a reset of the time stamps and
    nothing is found at a time that no viewer gets to. `discontinuities` counts resets and jumps.
    """

    def __init__(self, interval_s: float, max_pause_s: float = math.inf) -> None:
        self.interval_s = interval_s
        self.max_pause_s = max_pause_s
        self.stepped_back = False
        self.discontinuities = 0
        self.last_s: float | None = None
        # What a stamp is ahead of the clock by: since the first frame, and since the last reset.
        self._offset_s: float | None = None
        self._shifted_s: float | None = None
        self._behind = 0

    def advance(self, stamp_s: float | None) -> float:
        """Return the time of the next frame, given its container time stamp (None: it has none)."""
        if self.last_s is None:
            self._offset_s = stamp_s
            self.last_s = 0.0
        else:
            self.last_s = self._next(stamp_s, self.last_s)
        return rounded(self.last_s)

    def _next(self, stamp_s: float | None, last_s: float) -> float:
        if stamp_s is None:
            return last_s + self.interval_s
        if self._offset_s is None:
            self._offset_s = stamp_s - last_s - self.interval_s
        ahead_s = -math.inf
        for offset_s in (self._offset_s, self._shifted_s):
            if offset_s is None:
                continue
            ahead_s = stamp_s - offset_s - last_s
            if TOLERANCE_S < ahead_s <= self.max_pause_s:
                self._behind = 0
                return stamp_s - offset_s
        if ahead_s <= 0:
            self.stepped_back = True
            self._behind += 1
            back_s = last_s - (stamp_s - self._offset_s)
            brief = back_s <= _OVERLAP_S and self._behind * self.interval_s <= _OVERLAP_S
            if brief and self._shifted_s is None:
                # Squeezed together, a short overlap does not move all that follows.
                return last_s + min(_SQUEEZED_S, self.interval_s)
        # Go on at the usual pace; later stamps count from here.
        time_s = last_s + self.interval_s
        self._shifted_s = stamp_s - time_s
        self.discontinuities += 1
        return time_s


class SampleGrid:
    """The sample times 0, every, 2·every, … of which each is due once, at the first frame there."""

    def __init__(self, every_s: float) -> None:
        if not every_s > 0:
            raise ValueError("every_s must be over 0")
        self.every_s = max(every_s, TOLERANCE_S)
        self.due = 0

    @property
    def due_s(self) -> float:
        """The sample time that comes next."""
        return self.due * self.every_s

    def wants(self, time_s: float) -> bool:
        """Say whether a frame at `time_s` is the first at or after the time that is due."""
        return time_s >= self.due_s - TOLERANCE_S

    def take(self, time_s: float) -> None:
        """Note that the frame at `time_s` became a sample: what is due lies after it."""
        self.due = max(self.due + 1, bucket_of(time_s, self.every_s) + 1)

    def would_miss(self, time_s: float, until_s: float) -> bool:
        """Say whether a frame for which nothing is due is what people see at the time that is.

        The frame that is taken for that time comes only after it, and may be a short one. So a
        frame that is shown for a whole interval or longer becomes a sample too.
        """
        visible = time_s < self.due_s - TOLERANCE_S and until_s > self.due_s + TOLERANCE_S
        return visible and until_s - time_s >= self.every_s - TOLERANCE_S


def bucket_of(time_s: float, every_s: float) -> int:
    """Return the number of the last grid time at or before `time_s`."""
    # Below the clock's own step a grid is no finer, and its numbers are too large to count by.
    every_s = max(every_s, TOLERANCE_S)
    number = math.floor((time_s + TOLERANCE_S) / every_s)
    # Dividing and multiplying round differently: the neighbours are tried as well.
    while number * every_s - TOLERANCE_S > time_s:
        number -= 1
    while (number + 1) * every_s - TOLERANCE_S <= time_s:
        number += 1
    return number


class PacketIndex:
    """What a track's packets say before anything is decoded.

    `discarded` are packets that an edit list leaves out, `repeated` come after some that lie behind
    them in the file, as where a part is shown again, `leading` are shown before the first key
    frame, which not every decoder can give; `others_end_s` is where the other tracks end, if they
    were read, and `spans` says of each video track where it starts and ends on the file's clock.
    `steady` is False where stamps are missing, start again (`restarts`) or jump ahead by more than
    `max_pause_s` (`jumps`), so that stamps alone say little; `by_order` is True where only the
    order of decoding is known of some packets, which is not when they are shown.
    """

    def __init__(self, every_s: float, max_pause_s: float = math.inf) -> None:
        self.every_s = max(every_s, TOLERANCE_S)
        self.count = self.empty = self.discarded = self.repeated = self.leading = 0
        self.start_s: float | None = None
        self.first_s, self.last_s = math.inf, -math.inf
        self.last_duration_s = self.others_end_s = 0.0
        self.spans: dict[int, tuple[float, float]] = {}
        self.steady = True
        self.restarts = self.jumps = self.by_order = False
        self._max_pause_s = max_pause_s
        self._order_s: float | None = None
        self._stamps: list[float] = []
        self._is_sorted = True

    def add(
        self,
        stamp_s: float | None,
        order_s: float | None,
        duration_s: float,
        *,
        empty: bool = False,
    ) -> None:
        """Note a packet: presentation stamp, decoding stamp (None: not known), and duration."""
        self.count += 1
        if empty:
            self.empty += 1
            return
        if order_s is not None:
            step_s = 0.0 if self._order_s is None else order_s - self._order_s
            self.restarts = self.restarts or step_s < -TOLERANCE_S
            self.jumps = self.jumps or step_s > self._max_pause_s
            self._order_s = order_s
        if stamp_s is None:
            stamp_s, self.by_order = order_s, True
        self.steady = self.steady and not self.restarts and not self.jumps and stamp_s is not None
        if stamp_s is None:
            return
        if self.start_s is None:
            self.start_s = stamp_s
        self.leading += stamp_s < self.start_s
        self.first_s = min(self.first_s, stamp_s)
        if stamp_s > self.last_s:
            self.last_s, self.last_duration_s = stamp_s, max(0.0, duration_s)
        self._stamps.append(stamp_s)
        self._is_sorted = False

    @property
    def length_s(self) -> float:
        """How long the packets are shown, from the first to the last; 0 where no stamp tells."""
        return max(0.0, self.last_s - self.first_s + self.last_duration_s)

    def matches(self, stamp_s: float | None) -> bool:
        """Say whether the decoder's first frame is that of the first packet that has a stamp."""
        if not self.steady or stamp_s is None or self.start_s is None:
            return False
        return abs(stamp_s - self.start_s) <= TOLERANCE_S

    def shown_until(self, stamp_s: float) -> float | None:
        """Return when the next frame comes after one that is shown for `every_s` or longer."""
        stamps = self._in_order_of_display()
        after = bisect_right(stamps, stamp_s + TOLERANCE_S)
        if not 0 < after < len(stamps) or stamps[after - 1] < stamp_s - TOLERANCE_S:
            return None
        is_long = stamps[after] - stamps[after - 1] >= self.every_s - TOLERANCE_S
        return stamps[after] if is_long else None

    def ideal(self, number: int) -> float | None:
        """Return the time (0 = first frame) of the first packet at or after grid time `number`."""
        if self.start_s is None:
            return None
        stamps, due_s = self._in_order_of_display(), number * self.every_s
        at = bisect_left(stamps, self.start_s + due_s - TOLERANCE_S)
        return stamps[at] - self.start_s if at < len(stamps) else None

    def _in_order_of_display(self) -> list[float]:
        if not self._is_sorted:
            self._stamps.sort()
            self._is_sorted = True
        return self._stamps


class WindowCursor:
    """Picks frames at least `step_s` apart inside ascending windows, both ends included."""

    def __init__(self, windows: Sequence[Window], step_s: float) -> None:
        self.windows = sorted(windows, key=lambda window: (window.start_s, window.end_s))
        self.step_s = step_s
        self._at = 0
        self._taken_s = -math.inf

    @property
    def start_s(self) -> float | None:
        """Where the window that is due starts, or None when all are done."""
        return self.windows[self._at].start_s if self._at < len(self.windows) else None

    def wants(self, time_s: float) -> bool:
        """Say whether the frame at `time_s` is to be sampled; call it with ascending times."""
        while self._at < len(self.windows) and time_s > self.windows[self._at].end_s + TOLERANCE_S:
            self._at += 1
        if self._at == len(self.windows):
            return False
        inside = time_s >= self.windows[self._at].start_s - TOLERANCE_S
        if inside and time_s >= self._taken_s + self.step_s - TOLERANCE_S:
            self._taken_s = time_s
            return True
        return False
