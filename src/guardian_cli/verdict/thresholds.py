"""A category's thresholds, and which errors in scores cannot change a verdict.

Everything that is decided from a category's scores (where to refine, how far a sample counts, where
a segment starts and ends) is a minimum, a maximum or an n-th highest of scores, compared with one
of three thresholds. Such things commute with thresholds: the n-th highest score reaches a threshold
if and only if n scores do. So the outcome depends only on which thresholds each score reaches, and
an error (rounding, half precision) that takes no score across one of them changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guardian_cli.verdict.calibration import Calibration

# A segment stays open until a score falls below this share of the `review` threshold.
CLOSES_BELOW = 0.8


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The scores from which on a category calls for a person, and blocks; `review` <= `block`.

    They lie on the scale of `calibration`, by which they may also rise with a video's length.
    """

    review: float
    block: float
    calibration: Calibration | None = field(default=None, kw_only=True)

    def for_samples(self, samples: int) -> Thresholds:
        """The thresholds for a video of so many samples, which do not depend on length any more."""
        if self.calibration is None or not self.rise_with_length:
            return self
        review = self.calibration.review_for(samples, self.review, self.block)
        final = replace(self.calibration, samples=None)
        return Thresholds(review, self.block, calibration=final)

    @property
    def rise_with_length(self) -> bool:
        """Whether which thresholds apply depends on how many samples a video has."""
        return self.calibration is not None and self.calibration.samples is not None

    @property
    def closes(self) -> float:
        """The score below which a segment ends."""
        return CLOSES_BELOW * self.review

    def same_side(self, low: float, high: float) -> bool:
        """Whether every score from `low` to `high` reaches the same thresholds.

        Where they rise with a length that is not known yet, any score up to `block` may be one.
        """
        if self.rise_with_length:
            return low == high or high < self.closes or low >= self.block
        return not any(low < edge <= high for edge in (self.closes, self.review, self.block))


def round_score(score: float, thresholds: Thresholds | None, digits: int) -> float:
    """Round to `digits` decimals, or to as many more as keep a score on its side of a threshold.

    To the nearest, because 0.5295 is not 0.52; but 0.7999 must not read as a threshold of 0.80 that
    it did not reach.
    """
    # More decimals than 16 a score does not have: it is then returned as it is.
    for places in range(digits, 17):
        near = round(score, places)
        # Most scores end here: they have so few decimals, or are below every threshold.
        if near == score or (thresholds is not None and max(near, score) < thresholds.closes):
            return near
        if thresholds is None or thresholds.same_side(min(near, score), max(near, score)):
            return near
    return score


def format_score(score: float, thresholds: Thresholds | None = None) -> str:
    """Return a score as every reason, table and report shows it: `0.53`, or `0.7999` below 0.8."""
    near = round_score(score, thresholds, 2)
    text = f"{near:.2f}"
    return text if float(text) == near else repr(near)
