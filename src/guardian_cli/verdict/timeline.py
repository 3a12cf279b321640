"""A category's scores over time: where to refine them, merging what that brings, smoothing.

A detector that is wrong about one frame in a hundred would find something in every other clip of a
minute if the highest frame decided. So a sample counts only as far as others confirm it:

    support(i)   = min(score(i), max(score(i - 1), score(i + 1)))
    flicker(i)   = min(score(i), the FLICKER_CONFIRMED-th highest score within FLICKER_REACH of i)
    confirmed(i) = max(support(i), flicker(i))

A single sample above the threshold has neither. Two neighbours keep the smaller of their scores,
and frames that alternate with black ones do not vanish. Every part is a minimum, a maximum or a
step upwards: raising a sample never lowers anything.

A first pass samples a video on a grid of times; where a sample stands isolated above `review`, a
refinement samples more densely around it.

What counts is what a viewer sees, not how it is stored: a slide is one frame in one file and a
hundred in another. So a picture that stays on screen counts once for each time at which it would
have been sampled had its frame been repeated: by the grid, and by a refinement.
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

# Flicker: how many samples above `review` among the nearest 2 * FLICKER_REACH + 1, itself included,
# are enough to count in full, and to count for `review`.
FLICKER_REACH = 8
FLICKER_CONFIRMED = 5
FLICKER_REVIEW = 3
# A refinement samples this many times as densely: 11 has no factor in common with 24, 25, 30, 50 or
# 60 frames a second, so flicker does not keep step with it.
REFINE_FACTOR = 11
# Two samples nearer than this show one moment: an isolated one between such is a flash.
FLASH_S = 0.25
SAME_TIME_S = 1e-6
# Of one picture at most this many samples at each end can bear on another picture's.
_MAX_REPEATS = FLICKER_REACH + 1
_LAST_FRAME_S = 1 / 25


@dataclass(frozen=True, slots=True)
class Sample:
    """One scored frame: `time_s` on the video's clock, and its scores for each category.

    `same_as_s` is the time of an earlier frame that is the same picture, whose scores these are;
    `shown_until_s` is when the next frame takes its place, None where that is not known. To the
    endpoints of the categories in `not_sent` it did not go: what it costs was spared (a cascade).
    """

    time_s: float
    scores: Mapping[str, CategoryScore]
    same_as_s: float | None = None
    shown_until_s: float | None = None
    not_sent: tuple[str, ...] = ()

    @property
    def shown_s(self) -> float:
        """How long the frame is on screen, 0 where that is not known."""
        return 0.0 if self.shown_until_s is None else max(0.0, self.shown_until_s - self.time_s)

    def fused(self, category: str) -> float | None:
        """The category's fused score, None where it has none."""
        score = self.scores.get(category)
        return None if score is None else score.fused


@dataclass(frozen=True, slots=True)
class Point:
    """One sample of one category: its fused score, and how far it counts.

    `confirmed` is what other samples confirm, `counts` adds what may count for `review` at most;
    `until_s` is how far in time the sample goes: to the next one, or to the end of its picture.
    """

    time_s: float
    score: float
    confirmed: float
    counts: float
    until_s: float


def merge(first: Iterable[Sample], second: Iterable[Sample]) -> list[Sample]:
    """Put two passes into one sorted timeline; where both saw a frame, the first one's stays."""
    merged: list[Sample] = []
    for sample in sorted([*first, *second], key=lambda sample: sample.time_s):
        if not merged or sample.time_s - merged[-1].time_s > SAME_TIME_S:
            merged.append(sample)
    return merged


def as_shown(samples: Sequence[Sample], every_s: float) -> tuple[list[Sample], list[Sample]]:
    """Return what the first pass shows at each grid time, and the samples that are beside that.

    A picture is there once for each grid time at which it is on screen, first at its own time. The
    first frame after a grid time is beside it where the picture of that time was sampled too.
    """
    every_s = max(every_s, SAME_TIME_S)
    counted: list[Sample] = []
    beside: list[Sample] = []
    repeats: list[Sample] = []
    for i, sample in enumerate(samples):
        number = math.floor((sample.time_s + SAME_TIME_S) / every_s)
        is_on_grid = sample.time_s - number * every_s <= SAME_TIME_S
        repeats = _repeats(sample, 0.0, every_s)
        before_s = samples[i - 1].shown_until_s if i else None
        if repeats or is_on_grid or before_s is None or i == len(samples) - 1:
            # A picture between two grid times takes the place of its own first repeat.
            counted += [sample, *repeats[not is_on_grid :]]
        elif before_s > number * every_s + SAME_TIME_S:
            beside.append(sample)
        else:
            counted.append(sample)
    if counted and counted[-1].shown_s > FLASH_S:
        # A file that repeats its last picture has a frame of it at its end, which is a sample.
        at_end_s = round((counted[-1].shown_until_s or 0.0) - _LAST_FRAME_S, 6)
        # One that a grid time takes anyway is no second sample.
        if not repeats or abs(repeats[-1].time_s - at_end_s) > SAME_TIME_S:
            counted.append(replace(counted[-1], time_s=at_end_s))
    return counted, beside


def as_refined(samples: Iterable[Sample], every_s: float) -> list[Sample]:
    """Return the samples again as a refinement would find them, had their frames been repeated.

    It would not find a flash again.
    """
    return [
        again
        for sample in samples
        if sample.shown_s > FLASH_S
        for again in _repeats(sample, sample.time_s, every_s / REFINE_FACTOR)
    ]


def _repeats(sample: Sample, from_s: float, step_s: float) -> list[Sample]:
    """The sample at each `from_s` + n * `step_s` while its picture is shown, but in its middle."""
    if sample.shown_until_s is None or sample.shown_until_s - sample.time_s <= SAME_TIME_S:
        return []
    step_s = max(step_s, SAME_TIME_S)
    first = math.floor((sample.time_s + SAME_TIME_S - from_s) / step_s) + 1
    end = math.ceil((sample.shown_until_s - SAME_TIME_S - from_s) / step_s)
    if first >= end:
        return []
    # A forged length must not cost memory: only both ends of a long stay are made.
    numbers = range(first, end)
    kept = [*numbers[:_MAX_REPEATS], *numbers[_MAX_REPEATS:][-_MAX_REPEATS:]]
    return [replace(sample, time_s=round(from_s + number * step_s, 6)) for number in kept]


def isolated_windows(samples: Sequence[Sample], category: str, review: float) -> list[Window]:
    """Return the stretch around every sample at or above `review` whose neighbours are below.

    A stretch goes from the sample before to the sample after, in seconds; stretches that touch are
    one. The only sample of a timeline has no neighbours to refine between.
    """
    last = len(samples) - 1
    scores = [sample.fused(category) for sample in samples]
    above = [score is not None and score >= review for score in scores]
    return join_windows(
        Window(samples[max(0, i - 1)].time_s, samples[min(last, i + 1)].time_s)
        for i in range(last + 1)
        if last and above[i] and not any(above[max(0, i - 1) : i]) and not any(above[i + 1 : i + 2])
    )


def join_windows(windows: Iterable[Window]) -> list[Window]:
    """Sort windows and join those that overlap or touch."""
    joined: list[Window] = []
    for window in sorted(windows, key=lambda window: window.start_s):
        if joined and window.start_s <= joined[-1].end_s:
            joined[-1] = Window(joined[-1].start_s, max(joined[-1].end_s, window.end_s))
        else:
            joined.append(window)
    return joined


def windows_to_refine(
    first: Sequence[Sample], review: Mapping[str, float], every_s: float
) -> list[Window]:
    """Return where to sample more densely, given categories' `review` thresholds, sorted, joined.

    `first` are the samples of the first pass, `every_s` apart.
    """
    counted, beside = as_shown(first, every_s)
    windows: list[Window] = []
    for category, threshold in review.items():
        windows += isolated_windows(counted, category, threshold)
        # What is beside the grid asks for a refinement of its own, and never keeps another from it.
        above = [sample for sample in beside if (sample.fused(category) or 0.0) >= threshold]
        if above:
            windows += isolated_windows(merge(counted, above), category, threshold)
    return join_windows(windows)


def is_inside(windows: Sequence[Window], time_s: float) -> bool:
    """Say whether a time lies in one of the windows, which are sorted and apart from each other."""
    at = bisect_left(windows, time_s + SAME_TIME_S, key=lambda window: window.start_s)
    return at > 0 and time_s <= windows[at - 1].end_s + SAME_TIME_S


def smooth(
    samples: Iterable[Sample], category: str, *, review: float, every_s: float, end_s: float = 0.0
) -> list[Point]:
    """Return how far each scored sample of a category counts; samples are in time order.

    `end_s` is where the video ends, as far as it is known. A sample at or above `review` counts for
    what is confirmed (see the module), and for `review` in two more cases: of its nearest
    2 * FLICKER_REACH + 1 samples FLICKER_REVIEW are above; or it stands alone, nothing on one side
    being nearer than max(every_s / 4, FLASH_S): no sample shows that it was only a flash.
    """
    scored = [
        (sample, score) for sample in samples if (score := sample.fused(category)) is not None
    ]
    if not scored:
        return []
    scores = [score for _, score in scored]
    times = [sample.time_s for sample, _ in scored]
    near_s = max(every_s / 4, FLASH_S) + SAME_TIME_S
    gaps = [times[0], *(b - a for a, b in pairwise(times)), max(0.0, end_s - times[-1])]
    # Where each sample's successor is; the last one's is the end of the video.
    nexts = [*times[1:], max(end_s, times[-1])]
    points = []
    for i, (sample, score) in enumerate(scored):
        # The higher neighbour: two samples in a row confirm each other.
        support = max(scores[i - 1] if i else 0.0, *scores[i + 1 : i + 2], 0.0)
        confirmed = counts = min(score, support)
        # Where a neighbour confirms all of a score, those around can add nothing below `review`.
        if confirmed < score or score >= review:
            around = sorted(scores[max(0, i - FLICKER_REACH) : i + 1 + FLICKER_REACH], reverse=True)
            around += [0.0] * FLICKER_CONFIRMED
            confirmed = counts = min(score, max(support, around[FLICKER_CONFIRMED - 1]))
            is_alone = max(gaps[i], gaps[i + 1]) > near_s
            if score >= review and (is_alone or around[FLICKER_REVIEW - 1] >= review):
                counts = max(confirmed, review)
        until_s = min(nexts[i], max(sample.shown_until_s or times[i], times[i] + every_s))
        points.append(Point(times[i], score, confirmed, counts, until_s))
    return points
