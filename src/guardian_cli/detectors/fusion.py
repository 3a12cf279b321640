"""One fused score from what the detectors say of a frame in a category. Pure arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardian_cli.config import FusionSection
    from guardian_cli.verdict.calibration import Calibration

# Scores are kept to a millionth, so that 0.7 * 0.8 + 0.3 * 0.8 reaches a threshold of 0.8, and so
# that what a report shows is what was compared.
DIGITS = 6
# How far a detector's floating point may overshoot 0..1 before its answer counts as none.
SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class CategoryScore:
    """A frame's scores in one category, each in 0..1, or None where nobody answered.

    `by_detector` has what each detector beside CLIP and the endpoints said, by its name.
    """

    fused: float | None
    clip: float | None = None
    custom: float | None = None
    by_detector: Mapping[str, float] = field(default_factory=dict)


UNSCORED = CategoryScore(None)


def fuse(custom: float | None, clip: float | None, weights: FusionSection) -> float | None:
    """Return the fused score in 0..1, None when neither answered; 0.0 is an answer.

    Both: `weights.custom * custom + weights.clip * clip`; CLIP alone: `weights.clip_only * clip`;
    the custom model alone: its score as it is. What is no number in 0..1 is no answer: a detector
    gone wrong must not look like one that saw nothing.
    """
    custom, clip = read_score(custom), read_score(clip)
    # `is not None`, because 0.0 is an answer.
    if custom is not None and clip is not None:
        fused = weights.custom * custom + weights.clip * clip
    elif clip is not None:
        fused = weights.clip_only * clip
    elif custom is not None:
        fused = custom
    else:
        return None
    return round(min(1.0, max(0.0, fused)), DIGITS)


def score_category(
    scores: Mapping[str, float], weights: FusionSection, calibration: Calibration | None = None
) -> CategoryScore:
    """Return a frame's scores in one category from what each detector answered, by its name.

    All but CLIP are custom models: the largest of their answers counts. The fused score is on the
    scale of the category's calibration, the others are as they were answered.
    """
    answers = {
        name: answer for name, score in scores.items() if (answer := read_score(score)) is not None
    }
    clip = answers.pop("clip", None)
    custom = max(answers.values(), default=None)
    # It is the user's own model: what it says is what reports call custom.
    answers.pop("endpoint", None)
    fused = fuse(custom, clip, weights)
    if fused is not None and calibration is not None:
        fused = calibration.apply(fused)
    return CategoryScore(fused, clip, custom, answers)


def read_score(score: float | None) -> float | None:
    """Return a score in 0..1 to DIGITS, None for what is no number in there."""
    if score is None or not math.isfinite(score) or not -SLACK <= score <= 1.0 + SLACK:
        return None
    return round(min(1.0, max(0.0, score)), DIGITS)
