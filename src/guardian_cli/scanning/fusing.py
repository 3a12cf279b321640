"""What several detectors answered about one frame, as one score for each category."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardian_cli.detectors.fusion import CategoryScore, FusionWeights, score_category
from guardian_cli.verdict.closeness import is_decided

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardian_cli.detectors.base import Detector
    from guardian_cli.verdict.category import CategoryLimits

    Answers = Mapping[int, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Fusing:
    """Fuses by `weights` for the categories of `limits`. Answers are by a detector's index."""

    limits: Mapping[str, CategoryLimits]
    weights: FusionWeights

    def fuse(self, detectors: Sequence[Detector], answers: Answers) -> dict[str, CategoryScore]:
        """Return each category's score from what each detector answered."""
        return {category: self._one(category, detectors, answers) for category in self.limits}

    def is_decided(self, detectors: Sequence[Detector], answers: Answers, errors: Answers) -> bool:
        """Whether answers that are off by up to `errors` decide the same, whatever they are."""
        low, high = _moved(answers, errors, -1), _moved(answers, errors, 1)
        for category, limits in self.limits.items():
            least = self._one(category, detectors, low).fused
            most = self._one(category, detectors, high).fused
            if least is not None and most is not None and not is_decided(least, most, limits):
                return False
        return True

    def _one(self, category: str, detectors: Sequence[Detector], answers: Answers) -> CategoryScore:
        scores: dict[str, float] = {}
        for index, detector in enumerate(detectors):
            score = answers.get(index, {}).get(category)
            if score is not None:
                # Two detectors of one name are one voice: the larger score is its.
                name = detector.info.name
                scores[name] = max(score, scores.get(name, score))
        return score_category(scores, self.weights)


def _moved(answers: Answers, errors: Answers, way: int) -> Answers:
    return {
        index: {
            category: min(1.0, max(0.0, score + way * errors.get(index, {}).get(category, 0.0)))
            for category, score in scores.items()
        }
        for index, scores in answers.items()
    }
