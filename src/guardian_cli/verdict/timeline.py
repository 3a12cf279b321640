"""A category's scores over time: merging a second look, finding what needs one, smoothing.

A detector that is wrong about one frame in a hundred would find something in every other clip of a
minute if the highest frame decided. So a sample counts only as far as others bear it out:

    support(i) = min(score(i), max(score(i - 1), score(i + 1)))
    flicker(i) = min(score(i), the FLICKER_FIRM-th highest score within FLICKER_REACH of i)
    firm(i)    = max(support(i), flicker(i))

A single hot sample has neither. Two hot neighbours keep the smaller of their scores, and hot frames
that alternate with black ones do not vanish. Every part is a minimum, a maximum or a step upwards:
raising a sample never lowers anything.

What counts is what a viewer sees, not how it is stored: a slide is one frame in one file and a
hundred in another. So a picture that stays on screen counts once for each time at which it would
have been sampled had its frame been repeated: by the grid, and by a second look.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from guardian_cli.media.frames import Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from guardian_cli.detectors.fusion import CategoryScore

# Flicker: how many hot samples among the nearest 2 * FLICKER_REACH + 1, itself included, are enough
# to count in full, and to count for `review`.
FLICKER_REACH = 8
FLICKER_FIRM = 5
FLICKER_REVIEW = 3
# A second look samples this many times as densely: 11 has no factor in common with 24, 25, 30, 50
# or 60 frames a second, so flicker does not keep step with it.
LOOK_FACTOR = 11
# Two samples nearer than this look at one moment: a lone hot one between such is a flash.
FLASH_S = 0.25
_SAME_TIME_S = 1e-6
# Of one picture at most this many samples at each end can bear on another picture's.
_MOST_REPEATS = FLICKER_REACH + 1
_LAST_FRAME_S = 1 / 25


@dataclass(frozen=True, slots=True)
class Sample:
    """One scored frame: `time_s` on the video's clock, and its scores for each category.

    `same_as_s` is the time of an earlier frame that is the same picture, whose scores these are;
    `shown_until_s` is when the next frame takes its place, None where that is not known.
    """

    time_s: float
    scores: Mapping[str, CategoryScore]
    same_as_s: float | None = None
    shown_until_s: float | None = None

    @property
    def shown_s(self) -> float:
        """How long the frame is on screen, 0 where that is not known."""
        return 0.0 if self.shown_until_s is None else max(0.0, self.shown_until_s - self.time_s)


@dataclass(frozen=True, slots=True)
class Point:
    """One sample of one category: its fused score, and how far it counts.

    `firm` is what other samples bear out, `counts` adds what may count for `review` at most;
    `until_s` is how far in time the sample goes: to the next one, or to the end of its picture.
    """

    time_s: float
    score: float
    firm: float
    counts: float
    until_s: float


def merge(first: Iterable[Sample], second: Iterable[Sample]) -> list[Sample]:
    """Put two looks into one sorted timeline; where both saw a frame, the first one's stays."""
    merged: list[Sample] = []
    for sample in sorted([*first, *second], key=lambda sample: sample.time_s):
        if not merged or sample.time_s - merged[-1].time_s > _SAME_TIME_S:
            merged.append(sample)
    return merged


def as_shown(samples: Sequence[Sample], every_s: float) -> tuple[list[Sample], list[Sample]]:
    """Return what the first look shows at each grid time, and the samples that are beside that.

    A picture is there once for each grid time at which it is on screen, first at its own time. The
    first frame after a grid time is beside it where the picture of that time was looked at too.
    """
    every_s = max(every_s, _SAME_TIME_S)
    counted: list[Sample] = []
    beside: list[Sample] = []
    for i, sample in enumerate(samples):
        number = math.floor((sample.time_s + _SAME_TIME_S) / every_s)
        is_on_grid = sample.time_s - number * every_s <= _SAME_TIME_S
        repeats = _repeats(sample, 0.0, every_s)
        before_s = samples[i - 1].shown_until_s if i else None
        if repeats or is_on_grid or before_s is None or i == len(samples) - 1:
            counted += [sample, *repeats[not is_on_grid :]]
        elif before_s > number * every_s + _SAME_TIME_S:
            beside.append(sample)
        else:
            counted.append(sample)
    if counted and counted[-1].shown_s > FLASH_S:
        # A file that repeats its last picture has a frame of it at its end, which is a sample.
        at_end_s = (counted[-1].shown_until_s or 0.0) - _LAST_FRAME_S
        counted.append(replace(counted[-1], time_s=round(at_end_s, 6)))
    return counted, beside


def look_closer(samples: Iterable[Sample], every_s: float) -> list[Sample]:
    """Return the samples again as a second look would find them, had their frames been repeated.

    It would not find a flash again.
    """
    return [
        again
        for sample in samples
        if sample.shown_s > FLASH_S
        for again in _repeats(sample, sample.time_s, every_s / LOOK_FACTOR)
    ]


def _repeats(sample: Sample, from_s: float, step_s: float) -> list[Sample]:
    """The sample at each `from_s` + n * `step_s` while its picture is shown, but in its middle."""
    if sample.shown_until_s is None or sample.shown_s <= _SAME_TIME_S:
        return []
    step_s = max(step_s, _SAME_TIME_S)
    first = math.floor((sample.time_s + _SAME_TIME_S - from_s) / step_s) + 1
    end = math.ceil((sample.shown_until_s - _SAME_TIME_S - from_s) / step_s)
    numbers = range(first, end)
    kept = [*numbers[:_MOST_REPEATS], *numbers[_MOST_REPEATS:][-_MOST_REPEATS:]]
    return [replace(sample, time_s=round(from_s + number * step_s, 6)) for number in kept]


def fused_scores(samples: Sequence[Sample], category: str) -> list[float | None]:
    """Return the category's fused score in each sample, None where it has none."""
    return [
        score.fused if (score := sample.scores.get(category)) is not None else None
        for sample in samples
    ]


def lone_hot(times: Sequence[float], scores: Sequence[float | None], review: float) -> list[Window]:
    """Return the stretch around every sample that is hot while its neighbours are not.

    Hot is at or over `review`. A stretch goes from the sample before to the sample after, in
    seconds; stretches that touch are one. The only sample of a timeline needs no second look.
    """
    last = len(times) - 1
    if last < 1:
        return []
    hot = [score is not None and score >= review for score in scores]
    windows = [
        Window(times[max(0, i - 1)], times[min(last, i + 1)])
        for i in range(last + 1)
        if hot[i] and not (i > 0 and hot[i - 1]) and not (i < last and hot[i + 1])
    ]
    return join_windows(windows)


def join_windows(windows: Iterable[Window]) -> list[Window]:
    """Sort windows and join those that overlap or touch."""
    joined: list[Window] = []
    for window in sorted(windows, key=lambda window: window.start_s):
        if joined and window.start_s <= joined[-1].end_s:
            joined[-1] = Window(joined[-1].start_s, max(joined[-1].end_s, window.end_s))
        else:
            joined.append(window)
    return joined


def windows_of(
    first: Sequence[Sample], category: str, review: float, every_s: float
) -> list[Window]:
    """Return where a category calls for a second look; sorted and joined."""
    counted, beside = as_shown(first, every_s)
    scores = fused_scores(beside, category)
    hot = [s for s, score in zip(beside, scores, strict=True) if (score or 0.0) >= review]
    # What is beside the grid asks for a look of its own, and never keeps another from one.
    timelines = [counted, merge(counted, hot)] if hot else [counted]
    return join_windows(
        window
        for samples in timelines
        for window in lone_hot(
            [sample.time_s for sample in samples], fused_scores(samples, category), review
        )
    )


def windows_to_look_at(
    first: Sequence[Sample], review: Mapping[str, float], every_s: float
) -> list[Window]:
    """Return where to look again, given each category's `review` threshold; sorted and joined."""
    return join_windows(
        window
        for category, threshold in review.items()
        for window in windows_of(first, category, threshold, every_s)
    )


def is_inside(windows: Sequence[Window], time_s: float) -> bool:
    """Say whether a time lies in one of the windows, which are sorted and apart from each other."""
    at = bisect_left(windows, time_s + _SAME_TIME_S, key=lambda window: window.start_s)
    return at > 0 and time_s <= windows[at - 1].end_s + _SAME_TIME_S


def smooth(
    times: Sequence[float],
    scores: Sequence[float],
    *,
    review: float,
    every_s: float,
    end_s: float = 0.0,
    shown_until: Sequence[float | None] = (),
) -> list[Point]:
    """Return how far each sample counts. `end_s` is where the video ends, as far as it is known.

    `shown_until` is when each sample's picture goes, None where that is not known.

    A hot sample counts for what is firm (see the module), and for `review` in two more cases: of
    its nearest 2 * FLICKER_REACH + 1 samples FLICKER_REVIEW are hot; or it stands alone, nothing
    on one side being nearer than max(every_s / 4, FLASH_S): nobody saw that it was only a flash.
    """
    alone = _standing_alone(times, max(every_s / 4, FLASH_S) + _SAME_TIME_S, end_s)
    points = []
    nexts = [*times[1:], max(end_s, times[-1])] if times else []
    for i, (time_s, score) in enumerate(zip(times, scores, strict=True)):
        around = sorted(scores[max(0, i - FLICKER_REACH) : i + 1 + FLICKER_REACH], reverse=True)
        firm = min(score, max(_support(scores, i), _nth(around, FLICKER_FIRM)))
        at_least = alone[i] or _nth(around, FLICKER_REVIEW) >= review
        counts = max(firm, review) if score >= review and at_least else firm
        goes_s = (shown_until[i] if shown_until else None) or time_s
        until_s = min(nexts[i], max(goes_s, time_s + every_s))
        points.append(Point(time_s, score, firm, counts, until_s))
    return points


def _support(scores: Sequence[float], i: int) -> float:
    before = scores[i - 1] if i > 0 else 0.0
    after = scores[i + 1] if i + 1 < len(scores) else 0.0
    return max(before, after)


def _nth(descending: Sequence[float], n: int) -> float:
    return descending[n - 1] if len(descending) >= n else 0.0


def _standing_alone(times: Sequence[float], near_s: float, end_s: float) -> list[bool]:
    if not times:
        return []
    between = [after - before for before, after in pairwise(times)]
    gaps = [times[0], *between, max(0.0, end_s - times[-1])]
    return [max(pair) > near_s for pair in pairwise(gaps)]
