"""What one category makes of a source: score, verdict, segments, and what was not confirmed."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import replace
from typing import TYPE_CHECKING

from guardian_cli.verdict.result import CategoryVerdict, Verdict
from guardian_cli.verdict.segments import find_segments
from guardian_cli.verdict.thresholds import Thresholds, round_score
from guardian_cli.verdict.timeline import (
    SAME_TIME_S,
    Point,
    Sample,
    as_refined,
    as_shown,
    is_inside,
    merge,
    smooth,
    windows_to_refine,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from guardian_cli.media.frames import Window

# As wide as a timeline is ever drawn, and as finely.
TIMELINE_CELLS = 60
TIMELINE_DIGITS = 3


def judge_category(
    category: str,
    first: Sequence[Sample],
    refined: Sequence[Sample],
    *,
    thresholds: Thresholds,
    unscored: Verdict,
    every_s: float,
    end_s: float = 0.0,
) -> CategoryVerdict:
    """Judge one category by the first pass and its refinement.

    `unscored` is the verdict when it has no score at all; `every_s` is the sampling interval and
    `end_s` the end of the video, as far as it is known. `scored` and `samples` count frames.
    """
    everything = merge(first, refined)
    # A whole number of sampling intervals, so that each sample is drawn where it is.
    length_s = max(everything[-1].time_s, end_s)
    step_s = every_s * max(1, math.ceil(length_s / (every_s * TIMELINE_CELLS)))
    windows = windows_to_refine(first, {category: thresholds.review}, every_s)
    own = merge(first, (sample for sample in refined if is_inside(windows, sample.time_s)))
    outcome = CategoryVerdict(
        score=None,
        verdict=unscored,
        scored=sum(sample.fused(category) is not None for sample in own),
        samples=len(own),
        timeline=pool(everything, category, length_s, step_s, thresholds),
        step_s=step_s,
        thresholds=thresholds,
    )
    if len(everything) == 1:
        # A single picture is the whole source: there is nothing that could confirm it.
        only, at_s = everything[0].fused(category), everything[0].time_s
        points = [] if only is None else [Point(at_s, only, only, only, at_s)]
    else:
        points = _points(category, first, refined, windows, thresholds.review, every_s, end_s)
    if not points:
        return outcome
    # Of samples that count alike, the higher score is the one to show.
    best = max(points, key=lambda point: (point.counts, point.score))
    unconfirmed = [
        (point.time_s, point.score)
        for point in points
        if point.score >= thresholds.review > point.counts
    ]
    verdict: Verdict = "review" if best.counts >= thresholds.review else "allow"
    # Only what is confirmed can block, also where `review` and `block` are the same threshold.
    if max(point.confirmed for point in points) >= thresholds.block:
        verdict = "block"
    return replace(
        outcome,
        score=best.counts,
        verdict=verdict,
        segments=tuple(find_segments(points, thresholds, every_s=every_s)),
        at_s=best.time_s,
        is_capped=best.counts > best.confirmed,
        unconfirmed=tuple(sorted(unconfirmed, key=lambda one: -one[1])),
    )


def review_level(
    category: str,
    first: Sequence[Sample],
    refined: Sequence[Sample],
    *,
    every_s: float,
    end_s: float = 0.0,
) -> float | None:
    """The highest `review` threshold that the category would reach, None where it has no score.

    One of the fused scores: only there does the outcome change. `refined` should hold what a scan
    at that threshold would have found; where it does not, the level is too high rather than too
    low, for what nobody looked at closely counts for review.
    """
    scores = sorted(
        {score for one in (*first, *refined) if (score := one.fused(category)) is not None}
    )

    def is_missed(review: float) -> bool:
        limits = Thresholds(review, 1.0)
        outcome = judge_category(
            category,
            first,
            refined,
            thresholds=limits,
            unscored="allow",
            every_s=every_s,
            end_s=end_s,
        )
        return outcome.verdict == "allow"

    # A higher threshold is never reached where a lower one is not, so a binary search finds it.
    above = bisect_left(scores, 1, key=is_missed)
    return scores[above - 1] if above else None


def _points(
    category: str,
    first: Sequence[Sample],
    refined: Sequence[Sample],
    windows: Sequence[Window],
    review: float,
    every_s: float,
    end_s: float,
) -> list[Point]:
    """How far each sample counts for the category, pictures for as long as they are shown.

    A refinement that another category asked for must not move this one's score to and fro: its
    samples count from `review` upwards only. What was seen is not overlooked, and apart from that a
    category's outcome does not depend on its neighbours. `windows` are those it asked for itself.
    """

    def asked_for(samples: Iterable[Sample]) -> list[Sample]:
        return [sample for sample in samples if is_inside(windows, sample.time_s)]

    counted, beside = as_shown(first, every_s)
    more = [*refined, *beside]
    # Samples that are not on the grid stand for as long as their pictures are shown, too.
    more += as_refined(more, every_s)
    closer = asked_for(as_refined(first, every_s))
    own = merge(counted, [*asked_for(more), *closer])
    everything = merge(counted, [*more, *closer])
    end_s = max(end_s, everything[-1].time_s)
    points = smooth(own, category, review=review, every_s=every_s, end_s=end_s)
    if len(own) == len(everything):
        return points
    # Others' samples lift this category's where both together reach `review`, and never lower it.
    own_points = {point.time_s: point for point in points}
    points = []
    for point in smooth(everything, category, review=review, every_s=every_s, end_s=end_s):
        floor = own_points.get(point.time_s, replace(point, confirmed=0.0, counts=0.0))
        if point.counts < review:
            points.append(floor)
        else:
            confirmed = max(point.confirmed, floor.confirmed)
            counts = max(point.counts, floor.counts)
            points.append(replace(point, confirmed=confirmed, counts=counts))
    return points


def pool(
    samples: Iterable[Sample],
    category: str,
    length_s: float,
    step_s: float,
    thresholds: Thresholds,
) -> tuple[float | None, ...]:
    """Return the highest fused score in each of at most TIMELINE_CELLS stretches of `step_s`.

    A short peak stays as high as it is, to TIMELINE_DIGITS decimals, or to as many as keep it on
    its side of the `thresholds`. A stretch without a sample shows the one before it.
    """
    # A source of one frame has no length.
    count = min(TIMELINE_CELLS, math.ceil((length_s or 1.0) / step_s))
    pooled: list[float | None] = [None] * count
    has_sample = [False] * count
    for sample in samples:
        at = max(0, min(count - 1, int((sample.time_s + SAME_TIME_S) / step_s)))
        score, highest = sample.fused(category), pooled[at]
        if score is not None and (highest is None or score > highest):
            pooled[at] = score
        has_sample[at] = True
    for at in range(1, count):
        if not has_sample[at]:
            pooled[at] = pooled[at - 1]
    return tuple(
        None if one is None else round_score(one, thresholds, TIMELINE_DIGITS) for one in pooled
    )
