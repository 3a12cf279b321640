"""What one category makes of a source: score, verdict, segments, and what was not confirmed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

from guardian_cli.verdict.segments import Segment, find_segments
from guardian_cli.verdict.timeline import (
    Point,
    Sample,
    as_shown,
    fused_scores,
    is_inside,
    look_closer,
    merge,
    smooth,
    windows_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

Verdict = Literal["allow", "review", "block"]
# As wide as a timeline is ever drawn.
TIMELINE_CELLS = 60


class CategoryLimits(Protocol):
    """A category's section of the configuration, as far as it concerns the verdict."""

    @property
    def review(self) -> float:
        """The score that calls for a person."""

    @property
    def block(self) -> float:
        """The score that blocks."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The default thresholds."""

    review: float = 0.5
    block: float = 0.8


@dataclass(frozen=True, slots=True)
class CategoryVerdict:
    """A category's outcome. `score` is None where nobody could score it.

    `at_s` is when the score was reached; `flashes` are hot samples that were not confirmed, as
    (time_s, score), highest first; `is_capped` says that a higher score counts for `review` only,
    because nothing else bears it out; `scored` of `samples` had a score. `timeline` has at most
    TIMELINE_CELLS fused scores over the length of the source, each the highest of its stretch,
    None where nothing was scored; `limits` are the thresholds. Both are for drawing.
    """

    score: float | None
    verdict: Verdict
    segments: tuple[Segment, ...] = ()
    at_s: float | None = None
    flashes: tuple[tuple[float, float], ...] = ()
    is_capped: bool = False
    scored: int = 0
    samples: int = 0
    timeline: tuple[float | None, ...] = ()
    limits: Limits | None = None


def judge_category(
    category: str,
    first: Sequence[Sample],
    second: Sequence[Sample],
    *,
    limits: CategoryLimits,
    unscored: Verdict,
    every_s: float,
    end_s: float = 0.0,
) -> CategoryVerdict:
    """Judge one category by both looks; `unscored` is the verdict when it has no score at all.

    A second look that another category asked for must not move this one's score to and fro: its
    samples count from `review` upwards only. What was seen is not overlooked, and apart from that a
    category's outcome does not depend on its neighbours. Pictures count for as long as they are
    shown (see the module timeline); `scored` and `samples` are frames.
    """
    kept = Limits(limits.review, limits.block)
    everything = merge(first, second)
    windows = windows_of(first, category, limits.review, every_s)

    def asked_for(samples: Sequence[Sample]) -> list[Sample]:
        return [sample for sample in samples if is_inside(windows, sample.time_s)]

    fused = fused_scores(merge(first, asked_for(second)), category)
    if len(everything) == 1:
        only = fused_scores(everything, category)[0]
        at_s = everything[0].time_s
        points = [] if only is None else [Point(at_s, only, only, only, at_s)]
    else:
        counted, beside = as_shown(first, every_s)
        more = [*second, *beside]
        more += look_closer(more, every_s)
        closer = asked_for(look_closer(first, every_s))
        asked = merge(counted, [*asked_for(more), *closer])
        seen = merge(counted, [*more, *closer])
        points = _count(category, seen, asked, kept, every_s, end_s)
    outcome = CategoryVerdict(
        score=None,
        verdict=unscored,
        scored=sum(score is not None for score in fused),
        samples=len(fused),
        timeline=pool(everything, category, end_s),
        limits=kept,
    )
    return _with_score(outcome, points, kept, every_s) if points else outcome


def pool(samples: Sequence[Sample], category: str, end_s: float = 0.0) -> tuple[float | None, ...]:
    """Return the highest fused score in each of at most TIMELINE_CELLS equal stretches of time.

    A short peak stays as high as it is. A stretch without a sample shows the one before it.
    """
    if not samples:
        return ()
    length_s = max(samples[-1].time_s, end_s) or 1.0
    count = min(TIMELINE_CELLS, len(samples))
    cells: list[list[float | None]] = [[] for _ in range(count)]
    for sample, score in zip(samples, fused_scores(samples, category), strict=True):
        cells[max(0, min(count - 1, int(sample.time_s / length_s * count)))].append(score)
    pooled: list[float | None] = []
    for cell in cells:
        scored = [score for score in cell if score is not None]
        held = pooled[-1] if pooled and not cell else None
        pooled.append(max(scored, default=held))
    return tuple(pooled)


def _count(
    category: str,
    everything: Sequence[Sample],
    asked: Sequence[Sample],
    limits: Limits,
    every_s: float,
    end_s: float,
) -> list[Point]:
    end_s = max(end_s, everything[-1].time_s) if everything else end_s
    own = {point.time_s: point for point in _smooth(category, asked, limits, every_s, end_s)}
    if len(asked) == len(everything):
        return list(own.values())
    points = []
    for point in _smooth(category, everything, limits, every_s, end_s):
        floor = own.get(point.time_s, replace(point, firm=0.0, counts=0.0))
        if point.counts < limits.review:
            points.append(floor)
        else:
            firm, counts = max(point.firm, floor.firm), max(point.counts, floor.counts)
            points.append(replace(point, firm=firm, counts=counts))
    return points


def _smooth(
    category: str, samples: Sequence[Sample], limits: Limits, every_s: float, end_s: float
) -> list[Point]:
    pairs = [
        (sample, score)
        for sample, score in zip(samples, fused_scores(samples, category), strict=True)
        if score is not None
    ]
    return smooth(
        [sample.time_s for sample, _ in pairs],
        [score for _, score in pairs],
        review=limits.review,
        every_s=every_s,
        end_s=end_s,
        shown_until=[sample.shown_until_s for sample, _ in pairs],
    )


def _with_score(
    outcome: CategoryVerdict, points: Sequence[Point], limits: Limits, every_s: float
) -> CategoryVerdict:
    best = max(points, key=lambda point: (point.counts, point.score))
    flashes = [
        (point.time_s, point.score)
        for point in points
        if point.score >= limits.review > point.counts
    ]
    return replace(
        outcome,
        score=best.counts,
        verdict=_verdict(points, limits),
        segments=tuple(find_segments(points, review=limits.review, every_s=every_s)),
        at_s=best.time_s,
        is_capped=best.counts > best.firm,
        flashes=tuple(sorted(flashes, key=lambda flash: -flash[1])),
    )


def _verdict(points: Sequence[Point], limits: Limits) -> Verdict:
    """Only what is borne out can block, also where `review` and `block` are the same threshold."""
    if max(point.firm for point in points) >= limits.block:
        return "block"
    return "review" if max(point.counts for point in points) >= limits.review else "allow"
