"""How good scores are: from the folds' logits to the numbers that are reported.

Labels (0 or 1) and scores are one-dimensional. The interval is a percentile bootstrap over groups
(Davison and Hinkley, 1997).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

RESAMPLES = 1000
CALIBRATION_BINS = 10
MAX_FALSE_POSITIVE_RATE = 0.01
# Numbers that the bootstrap holds at a time: 32 MB.
_MAX_CELLS = 4_000_000


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutScores:
    """Every tested sample, in one order: label, group, score by frames, by attention, by metadata.

    Each was scored by a network, or a regression, that had seen neither it nor its group.
    """

    labels: NDArray[np.bool_]
    groups: Sequence[int]
    scores: NDArray[np.float64]
    temporal: NDArray[np.float64] | None
    metadata: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Metrics:
    """How good the scores are of samples that the network had not seen; the `metrics` in JSON.

    Score >= threshold is positive; the threshold is the lowest at which at most
    `threshold_false_positive_rate` of the negatives are. Rates are in 0..1.
    """

    auc: float
    auc_interval: tuple[float, float]
    average_precision: float
    ece: float
    threshold: float
    threshold_false_positive_rate: float
    false_positive_rate: float
    true_positive_rate: float
    temporal_auc: float | None
    metadata_auc: float
    metadata_auc_interval: tuple[float, float]
    n: int
    positives: int


def measure(test: HeldOutScores, *, seed: int) -> Metrics:
    """Measure the scores, and what metadata alone reaches on the same samples."""
    from sklearn.metrics import average_precision_score

    labels, scores = test.labels, test.scores
    threshold, false_positive_rate, true_positive_rate = choose_threshold(
        labels, scores, MAX_FALSE_POSITIVE_RATE
    )
    return Metrics(
        auc=auc(labels, scores),
        auc_interval=auc_interval(labels, scores, test.groups, seed=seed),
        average_precision=float(average_precision_score(labels, scores)),
        ece=calibration_error(labels, scores),
        threshold=threshold,
        threshold_false_positive_rate=MAX_FALSE_POSITIVE_RATE,
        false_positive_rate=false_positive_rate,
        true_positive_rate=true_positive_rate,
        temporal_auc=None if test.temporal is None else auc(labels, test.temporal),
        metadata_auc=auc(labels, test.metadata),
        metadata_auc_interval=auc_interval(labels, test.metadata, test.groups, seed=seed),
        n=len(labels),
        positives=int(labels.sum()),
    )


def caveats(metrics: Metrics) -> list[str]:
    """Say in words what the numbers do not."""
    negatives = metrics.n - metrics.positives
    rate = metrics.threshold_false_positive_rate
    if negatives * rate >= 1:
        return []
    note = f"{negatives} negatives cannot show a false-positive rate of {rate:.0%}"
    return [f"{note}: the threshold is the lowest that flags none of them"]


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve, ties half; NaN when one class is missing."""
    import numpy as np
    from sklearn.metrics import roc_auc_score

    if len(np.unique(np.asarray(labels))) < 2:
        return math.nan
    return float(roc_auc_score(labels, scores))


def auc_interval(
    labels: ArrayLike, scores: ArrayLike, groups: Sequence[int], *, seed: int
) -> tuple[float, float]:
    """The 95% interval of the AUC; (NaN, NaN) when one class is missing."""
    import numpy as np

    positive, values = np.asarray(labels, dtype=bool), np.asarray(scores, float)
    return grouped_interval(
        lambda weights: weighted_auc(positive, values, weights), groups, seed=seed
    )


def grouped_interval(
    measure: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    groups: Sequence[int],
    *,
    seed: int,
) -> tuple[float, float]:
    """The 95% bootstrap interval, over whole groups, of what `measure` makes of weights.

    `measure` takes (R, N), a row for each draw, and gives (R,), NaN for a draw that has no value:
    those don't count. (NaN, NaN) where that is every draw.
    """
    import numpy as np

    names, member = np.unique(np.asarray(groups), return_inverse=True)
    rng = np.random.default_rng(seed)
    rows = max(1, min(RESAMPLES, _MAX_CELLS // len(member)))
    found = []
    for start in range(0, RESAMPLES, rows):
        draws = min(rows, RESAMPLES - start)
        # Whole groups are drawn, because clips of one source are not independent.
        # How often each group is drawn is its samples' weight: no resample is ever laid out.
        drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
        found.append(measure(drawn[:, member].astype(float)))
    values = np.concatenate(found)
    values = values[np.isfinite(values)]
    if not len(values):
        return math.nan, math.nan
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def weighted_auc(
    labels: NDArray[np.bool_], scores: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The AUC for each row of weights (R, N): Mann-Whitney's U over ties, weighted."""
    import numpy as np

    _, level = np.unique(scores, return_inverse=True)
    order = np.argsort(level, kind="stable")
    # Equal scores are one step: half of its pairs count.
    starts = np.flatnonzero(np.diff(level[order], prepend=-1))
    positive = np.add.reduceat(weights[:, order] * labels[order], starts, axis=1)
    negative = np.add.reduceat(weights[:, order] * ~labels[order], starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative
    wins = (positive * (below + negative / 2)).sum(axis=1)
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    areas: NDArray[np.float64] = np.full(len(weights), np.nan)
    np.divide(wins, pairs, out=areas, where=pairs > 0)
    return areas


def choose_threshold(
    labels: ArrayLike, scores: ArrayLike, max_false: float
) -> tuple[float, float, float]:
    """The lowest threshold whose false-positive rate is at most `max_false`, in 0..1.

    Returns the threshold, its false-positive rate and its true-positive rate. Where no score will
    do the threshold is the next number over the highest score, which flags nothing.
    """
    import numpy as np
    from sklearn.metrics import roc_curve

    fpr, tpr, thresholds = roc_curve(labels, scores, drop_intermediate=False)
    # A rate of exactly 1 % may come out a rounding error above it.
    at = int(np.flatnonzero(fpr <= max_false + 1e-12)[-1])
    # roc_curve begins at infinity, which no card can hold.
    threshold = thresholds[at] if at else math.nextafter(float(np.max(scores)), math.inf)
    return float(threshold), float(fpr[at]), float(tpr[at])


def calibration_bins(
    labels: ArrayLike, scores: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Put scores into bins of equal width over 0..1; the last one includes 1.0.

    Returns for each bin that is not empty its count, mean score and share of positives.
    """
    import numpy as np

    scores = np.asarray(scores, float)
    at = np.minimum((scores * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    _, member, counts = np.unique(at, return_inverse=True, return_counts=True)
    shares = np.bincount(member, np.asarray(labels, float)) / counts
    return counts, np.bincount(member, scores) / counts, shares


def calibration_error(labels: ArrayLike, scores: ArrayLike) -> float:
    """Expected calibration error (Guo et al., 2017): mean |score - positive share| over bins."""
    import numpy as np

    counts, mean_scores, shares = calibration_bins(labels, scores)
    return float(np.average(np.abs(mean_scores - shares), weights=counts))
