"""From the folds' logits to the numbers that are reported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardian_cli.training.evaluation.metrics import (
    auc,
    auc_interval,
    average_precision,
    calibration_error,
    threshold_at,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.training.evaluation.metrics import OperatingPoint
    from guardian_cli.training.evaluation.regression import Calibration

FALSE_POSITIVES = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class FoldResult:
    """What one fold gave: positions judged, their logits, and the calibration from its val part."""

    positions: Sequence[int]
    logits: NDArray[np.float64]
    temporal: NDArray[np.float64] | None
    calibration: Calibration
    epochs: int


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Every judged item: position, label, group, score by frames, by attention, by metadata."""

    positions: Sequence[int]
    labels: NDArray[np.bool_]
    groups: Sequence[int]
    scores: NDArray[np.float64]
    temporal: NDArray[np.float64] | None
    metadata: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Metrics:
    """How good the scores of items are that the judging network had not seen."""

    auc: float
    auc_interval: tuple[float, float]
    average_precision: float
    ece: float
    operating: OperatingPoint
    temporal_auc: float | None
    metadata_auc: float
    metadata_auc_interval: tuple[float, float]
    n: int
    positives: int


def gather(
    results: Sequence[FoldResult],
    positive: Sequence[bool],
    groups: Sequence[int],
    metadata: NDArray[np.float64],
) -> Judged:
    """Put the folds together: each judged item once, by its own fold's calibrated score."""
    import numpy as np

    positions = [at for result in results for at in result.positions]
    scores = np.concatenate([one.calibration.scores(one.logits) for one in results])
    beside = [one.calibration.scores(one.temporal) for one in results if one.temporal is not None]
    return Judged(
        positions,
        np.array([positive[at] for at in positions], dtype=bool),
        [groups[at] for at in positions],
        scores,
        np.concatenate(beside) if len(beside) == len(results) else None,
        metadata[positions],
    )


def measure(judged: Judged, *, seed: int) -> Metrics:
    """Measure the scores, and what metadata alone reaches on the same items."""
    labels, scores = judged.labels, judged.scores
    temporal = None if judged.temporal is None else auc(labels, judged.temporal)
    return Metrics(
        auc=auc(labels, scores),
        auc_interval=auc_interval(labels, scores, judged.groups, seed=seed),
        average_precision=average_precision(labels, scores),
        ece=calibration_error(labels, scores),
        operating=threshold_at(labels, scores, FALSE_POSITIVES),
        temporal_auc=temporal,
        metadata_auc=auc(labels, judged.metadata),
        metadata_auc_interval=auc_interval(labels, judged.metadata, judged.groups, seed=seed),
        n=len(labels),
        positives=int(labels.sum()),
    )


def caveats(metrics: Metrics) -> list[str]:
    """Say in words what the numbers do not."""
    negatives = metrics.n - metrics.positives
    if negatives * FALSE_POSITIVES >= 1:
        return []
    note = f"{negatives} negatives cannot show a false-positive rate of {FALSE_POSITIVES:.0%}"
    return [f"{note}: the threshold is the lowest that flags none of them"]
