"""Segments: where in a video a category was found, from its smoothed timeline."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from guardian_cli.verdict.result import Segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardian_cli.verdict.thresholds import Thresholds
    from guardian_cli.verdict.timeline import Point


def find_segments(
    points: Sequence[Point], thresholds: Thresholds, *, every_s: float
) -> list[Segment]:
    """Return the runs of samples that count for `review` or more, in order.

    A run starts and ends with such a sample. It goes on through scores that only fall to
    `thresholds.closes` (hysteresis: a score that trembles about the threshold is one segment), and
    through any dip shorter than `every_s`, which only a refinement can see at all.
    """
    above = [i for i, point in enumerate(points) if point.counts >= thresholds.review]
    segments: list[Segment] = []
    start = above[0] if above else 0
    # The -1 ends the last run.
    for i, j in pairwise([*above, -1]):
        if j >= 0 and (
            points[j].time_s - points[i].time_s < every_s - 1e-6
            or all(point.score >= thresholds.closes for point in points[i + 1 : j])
        ):
            continue
        run = points[start : i + 1]
        peak = max(run, key=lambda point: point.score)
        segments.append(Segment(run[0].time_s, run[-1].until_s, peak.score, peak.time_s))
        start = j
    return segments
