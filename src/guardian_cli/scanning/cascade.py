"""Cheap first: frames that a detector on this machine is sure of are not sent to one that bills.

`scan.cascade` names a category and a score. A frame waits for every detector here that scores the
category (not CLIP, whose score is no probability); below that score in all of them it is not sent,
and theirs is what counts as its custom score. Where one of them fails, the frame is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardian_cli.detectors.base import BilledDetector

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from guardian_cli.config import CascadeSection
    from guardian_cli.detectors.base import Detector, DetectorSpec


@dataclass(frozen=True, slots=True)
class Gate:
    """What a frame has to pass before a detector that bills gets it.

    `judges` are the indexes of the detectors that are asked first, for `category`.
    """

    category: str
    below: float
    judges: tuple[int, ...]

    def is_sure(
        self,
        scores: Mapping[int, Mapping[str, float]],
        errors: Mapping[int, Mapping[str, float]],
    ) -> bool | None:
        """Whether what was answered so far, by a detector's index, settles it; None: wait.

        `errors` says how far a score may be off.
        """
        # A judge that failed has scores as well, but not of this category: then the frame is sent.
        if not scores.keys() >= set(self.judges):
            return None
        return all(
            self.category in scores[index]
            and scores[index][self.category] + errors.get(index, {}).get(self.category, 0.0)
            < self.below
            for index in self.judges
        )


def make_gates(
    cascade: Mapping[str, CascadeSection], detectors: Sequence[Detector]
) -> dict[int, Gate]:
    """A gate before each detector that bills, by its index, where another can judge first."""
    gates = {}
    for index, detector in enumerate(detectors):
        category = detector.info.category
        if category is None or category not in cascade or not isinstance(detector, BilledDetector):
            continue
        judges = tuple(
            other for other, judge in enumerate(detectors) if _can_judge(judge, category)
        )
        if judges:
            gates[index] = Gate(category, cascade[category].below, judges)
    return gates


def without_effect(
    cascade: Mapping[str, CascadeSection], specs: Sequence[DetectorSpec]
) -> Iterator[str]:
    """Say which categories have an endpoint, and nothing that could be asked first."""
    for spec in specs:
        category = spec.info.category
        if spec.info.name != "endpoint" or category is None or category not in cascade:
            continue
        if not any(_can_judge(other, category) for other in specs):
            yield (
                f"scan.cascade.{category} has no effect: no offline detector in scan.detectors "
                f"scores {category}, so every frame goes to its endpoint"
            )


def _can_judge(detector: Detector | DetectorSpec, category: str) -> bool:
    # CLIP's score is no probability, so none of them means that it is sure.
    return detector.info.name not in {"clip", "endpoint"} and category in detector.categories
