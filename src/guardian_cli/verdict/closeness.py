"""Which errors in scores can change a verdict, and which can't; rounding is such an error.

Whatever is decided from a category's scores, where to look again, how far a sample counts, where a
segment starts, ends and stays open, is minima, maxima and n-th highest of scores, compared with one
of three thresholds. Such things commute with thresholds: the n-th highest score reaches a threshold
if and only if n scores do. So the outcome depends only on which thresholds each score reaches, and
an error that takes no score across one of them changes no verdict and no segment's ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardian_cli.verdict.segments import CLOSES_BELOW

if TYPE_CHECKING:
    from guardian_cli.verdict.category import CategoryLimits


def thresholds(limits: CategoryLimits) -> tuple[float, float, float]:
    """All numbers that a category's scores are compared with."""
    return CLOSES_BELOW * limits.review, limits.review, limits.block


def is_decided(low: float, high: float, limits: CategoryLimits) -> bool:
    """Whether every score from `low` to `high` reaches the same thresholds."""
    return not any(low < threshold <= high for threshold in thresholds(limits))


def rounded(score: float, limits: CategoryLimits | None, digits: int) -> float:
    """Round to `digits` decimals, or to as many more as keep a score on its side of a threshold.

    To the nearest, because 0.5295 is no 0.52; but 0.7999 must not read as a threshold of 0.80 that
    it did not reach.
    """
    for places in range(digits, 17):
        near = round(score, places)
        if limits is None or is_decided(min(near, score), max(near, score), limits):
            return near
    return score


def show_score(score: float, limits: CategoryLimits | None = None) -> str:
    """Return a score as every reason, table and report shows it: `0.53`, or `0.7999` below 0.8."""
    near = rounded(score, limits, 2)
    text = f"{near:.2f}"
    return text if float(text) == near else repr(near)
