"""Segments: where in a video a category was found, from its smoothed timeline."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardian_cli.verdict.timeline import Point

# A segment is open until a score falls below this part of the `review` threshold.
CLOSES_BELOW = 0.8


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of hot samples, in seconds; `peak` is the highest fused score in it, at `peak_s`.

    `end_s` is when something else is seen, or when nobody looked any more.
    """

    start_s: float
    end_s: float
    peak: float
    peak_s: float


def find_segments(points: Sequence[Point], *, review: float, every_s: float) -> list[Segment]:
    """Return the runs of samples that count for `review` or more, in order.

    A run starts and ends with such a sample. It goes on through scores that only fall to
    CLOSES_BELOW * review (hysteresis: a score that trembles about the threshold is one segment),
    and through any dip shorter than `every_s`, which only a second look can see at all.
    """
    hot = [i for i, point in enumerate(points) if point.counts >= review]
    segments: list[Segment] = []
    start = 0
    for at, (i, j) in enumerate(pairwise([*hot, -1])):
        if j >= 0 and _stays_open(points, i, j, review, every_s):
            continue
        segments.append(_segment(points[hot[start] : i + 1]))
        start = at + 1
    return segments


def _stays_open(points: Sequence[Point], i: int, j: int, review: float, every_s: float) -> bool:
    if points[j].time_s - points[i].time_s < every_s - 1e-6:
        return True
    return all(point.score >= CLOSES_BELOW * review for point in points[i + 1 : j])


def _segment(points: Sequence[Point]) -> Segment:
    peak = max(points, key=lambda point: point.score)
    return Segment(points[0].time_s, points[-1].until_s, peak.score, peak.time_s)
