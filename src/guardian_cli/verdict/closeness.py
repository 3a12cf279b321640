"""Which errors in scores can change a verdict, and which can't.

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
