"""A category's scale: from the fused score to a calibrated one, and thresholds that know lengths.

The mapping is increasing, so it commutes with every minimum, maximum and n-th highest of scores
that a verdict is made of: to calibrate frames is to calibrate what is decided from them.

Length. A video of n samples has n chances of a false alarm: what one in a hundred one-minute videos
reaches, most films do. For the highest of n samples the extreme value theorem (Fisher and Tippett,
1928; Coles, "An Introduction to Statistical Modeling of Extreme Values", 2001, chapter 3) gives a
Gumbel distribution where the tail falls exponentially, as the tails of scores do in log-odds. It is
max-stable: k times as many samples move it by scale * log(k) and leave its shape, whatever
neighbours have in common. So the threshold that keeps the rate of false alarms per video is

    logit(review(n)) = logit(review) + scale * log(n / samples)    for n > samples

before the mapping, with `samples` and `scale` of the clean videos that `review` was chosen on.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

# As fused scores are kept; and how near to 0 and 1 log-odds are taken.
DIGITS = 6
_EDGE = 1e-6


@dataclass(frozen=True, slots=True)
class Calibration:
    """`points` (fused, calibrated) rise in both from fused 0 to 1, in straight lines; none: as is.

    `samples` is how many samples the videos had for which `review` holds, None for no correction by
    length; `scale` the Gumbel scale, in log-odds of the fused score, of clean videos' highest.
    """

    points: tuple[tuple[float, float], ...] = ()
    samples: int | None = None
    scale: float = 0.0

    def apply(self, score: float) -> float:
        """Map a fused score in 0..1 to the calibrated scale; a higher one never ends lower."""
        return round(_interpolate(self.points, score), DIGITS) if self.points else score

    def invert(self, score: float) -> float:
        """Return the fused score in 0..1 that `apply` maps to a calibrated one."""
        # Both rise strictly, so the swapped points are a function as well.
        return _interpolate(tuple((y, x) for x, y in self.points), score) if self.points else score

    def review_for(self, samples: int, review: float, block: float) -> float:
        """The `review` threshold for a video of so many samples: from `review` up to `block`."""
        if self.samples is None or samples <= self.samples:
            return review
        moved = logit(self.invert(review)) + self.scale * math.log(samples / self.samples)
        return min(max(self.apply(sigmoid(moved)), review), block)


def logit(score: float) -> float:
    """Log-odds of a score in 0..1; those of 0 and 1 are as of a millionth from there."""
    inside = min(max(score, _EDGE), 1 - _EDGE)
    return math.log(inside / (1 - inside))


def sigmoid(log_odds: float) -> float:
    """The score in 0..1 of these log-odds."""
    return 1 / (1 + math.exp(-log_odds))


def _interpolate(points: tuple[tuple[float, float], ...], at: float) -> float:
    """The height at `at` of the line through points that rise; level beyond its ends."""
    right = bisect_right(points, at, key=lambda point: point[0])
    if right == 0 or right == len(points):
        return points[min(right, len(points) - 1)][1]
    (x0, y0), (x1, y1) = points[right - 1], points[right]
    # Never over its right end, however it is rounded.
    return min(y0 + (y1 - y0) * (at - x0) / (x1 - x0), y1)
