"""How good scores are: pure functions of labels (0 or 1) and scores, both one-dimensional.

Interval: percentile bootstrap over groups (Davison and Hinkley, 1997): whole groups are drawn,
because clips of one source are not independent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

RESAMPLES = 1000
CALIBRATION_BINS = 10


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold (score >= threshold is positive) and what it does; rates in 0..1."""

    threshold: float
    false_positive_rate: float
    true_positive_rate: float


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Scores in [low, high): how many, their mean, and the share that is positive."""

    low: float
    high: float
    count: int
    mean_score: float
    positive_share: float


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: the share of (positive, negative) pairs in order, ties half.

    NaN when one class is missing.
    """
    import numpy as np

    labels = np.asarray(labels, dtype=bool)
    return float(_weighted_auc(labels, np.asarray(scores, float), np.ones((1, len(labels))))[0])


def _weighted_auc(
    labels: NDArray[np.bool_], scores: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The AUC for each row of weights (R, N): Mann-Whitney's U over ties, weighted."""
    import numpy as np

    _, level = np.unique(scores, return_inverse=True)
    order = np.argsort(level, kind="stable")
    starts = np.flatnonzero(np.diff(level[order], prepend=-1))
    if not len(starts):
        return np.full(len(weights), np.nan)
    positive = np.add.reduceat(weights[:, order] * labels[order], starts, axis=1)
    negative = np.add.reduceat(weights[:, order] * ~labels[order], starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative
    wins = (positive * (below + negative / 2)).sum(axis=1)
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    areas: NDArray[np.float64] = np.full(len(weights), np.nan)
    np.divide(wins, pairs, out=areas, where=pairs > 0)
    return areas


def auc_interval(
    labels: ArrayLike,
    scores: ArrayLike,
    groups: Sequence[int],
    *,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> tuple[float, float]:
    """The bootstrap interval of the AUC over whole groups; draws without both classes don't count.

    (NaN, NaN) when one class is missing.
    """
    import numpy as np

    labels = np.asarray(labels, dtype=bool)
    scores = np.asarray(scores, float)
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    chance = np.random.default_rng(seed)
    found = []
    rows = max(1, min(resamples, 4_000_000 // max(1, len(labels))))
    for start in range(0, resamples, rows):
        draws = min(rows, resamples - start)
        drawn = chance.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
        found.append(_weighted_auc(labels, scores, drawn[:, member].astype(float)))
    values = np.concatenate(found)
    values = values[np.isfinite(values)]
    if not len(values):
        return math.nan, math.nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def roc_points(
    labels: ArrayLike, scores: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """False-positive rates, true-positive rates and thresholds, from (0, 0) at infinity down."""
    import numpy as np

    labels = np.asarray(labels, dtype=bool)
    scores = np.asarray(scores, float)
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.diff(scores[order], append=-math.inf))
    hits = np.cumsum(labels[order])[last]
    false = last + 1 - hits
    fpr = np.concatenate([[0.0], false / max(1, int((~labels).sum()))])
    tpr = np.concatenate([[0.0], hits / max(1, int(labels.sum()))])
    return fpr, tpr, np.concatenate([[math.inf], scores[order][last]])


def precision_recall_points(
    labels: ArrayLike, scores: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precisions and recalls at each score, from the highest score down."""
    import numpy as np

    labels = np.asarray(labels, dtype=bool)
    fpr, tpr, _ = roc_points(labels, scores)
    hits = tpr[1:] * labels.sum()
    flagged = hits + fpr[1:] * (~labels).sum()
    return hits / np.maximum(flagged, 1e-12), tpr[1:]


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """The mean of precision over the steps of recall, not interpolated; NaN with no positive."""
    import numpy as np

    if not np.asarray(labels, dtype=bool).any():
        return math.nan
    precision, recall = precision_recall_points(labels, scores)
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def threshold_at(labels: ArrayLike, scores: ArrayLike, most_false: float) -> OperatingPoint:
    """The lowest threshold whose false-positive rate is at most `most_false` (0..1).

    Where no score will do it is the next number over the highest score, which flags nothing.
    """
    import numpy as np

    fpr, tpr, thresholds = roc_points(labels, scores)
    at = int(np.flatnonzero(fpr <= most_false + 1e-12)[-1])
    highest = float(np.max(np.asarray(scores, float)))
    threshold = float(thresholds[at]) if at else math.nextafter(highest, math.inf)
    return OperatingPoint(threshold, float(fpr[at]), float(tpr[at]))


def calibration_bins(
    labels: ArrayLike, scores: ArrayLike, bins: int = CALIBRATION_BINS
) -> list[CalibrationBin]:
    """Bins of equal width over 0..1, empty ones left out; the last one includes 1.0."""
    import numpy as np

    labels = np.asarray(labels, float)
    scores = np.asarray(scores, float)
    at = np.minimum((scores * bins).astype(int), bins - 1)
    return [
        CalibrationBin(
            low=number / bins,
            high=(number + 1) / bins,
            count=int(inside.sum()),
            mean_score=float(scores[inside].mean()),
            positive_share=float(labels[inside].mean()),
        )
        for number in range(bins)
        if (inside := at == number).any()
    ]


def calibration_error(labels: ArrayLike, scores: ArrayLike, bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error (Guo et al., 2017): mean |score - positive share| over bins."""
    found = calibration_bins(labels, scores, bins)
    total = sum(one.count for one in found)
    gaps = (one.count * abs(one.mean_score - one.positive_share) for one in found)
    return sum(gaps) / total if total else math.nan
