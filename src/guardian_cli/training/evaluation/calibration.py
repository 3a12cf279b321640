"""Logistic regression for a handful of features: Platt's scaling and the metadata baseline."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import ArrayLike, NDArray
    from sklearn.linear_model import LogisticRegression

    from guardian_cli.training.data.frame_store import FileFacts
    from guardian_cli.training.data.splits import Fold

_MIN_SLOPE = 1e-3


@dataclass(frozen=True, slots=True)
class Calibration:
    """The score of a logit z is 1 / (1 + exp(-(z / temperature + bias)))."""

    temperature: float = 1.0
    bias: float = 0.0

    def scores(self, logits: ArrayLike) -> NDArray[np.float64]:
        """Turn logits into scores in 0..1."""
        import numpy as np

        # Limited as in `serving.model`, so that nothing overflows and both give the same.
        scaled = np.clip(np.asarray(logits, float) / self.temperature + self.bias, -60.0, 60.0)
        return 1.0 / (1.0 + np.exp(-scaled))


def fit_calibration(labels: ArrayLike, logits: ArrayLike) -> Calibration:
    """Fit Platt's scaling with his softened targets ("Probabilistic Outputs for SVMs", 1999).

    Where the logits do not rise with the labels the scale is left as it is and only the bias set:
    a slope that turns the order round would hide that the network has learned nothing.
    """
    import numpy as np

    positive = np.asarray(labels, dtype=bool)
    logits = np.asarray(logits, float)
    hits, misses = int(positive.sum()), int((~positive).sum())
    targets = np.where(positive, (hits + 1) / (hits + 2), 1 / (misses + 2))
    # With the scale taken out the tiny penalty means the same for all logits; it only keeps
    # perfectly separated ones from an endless slope.
    spread = float(logits.std()) or 1.0
    column = logits[:, None] / spread
    # scikit-learn takes no fractional targets: each logit stands twice, weighted by its target
    # among the positives and by the rest among the negatives, which is the same sum.
    fitted = fit_logistic(
        np.concatenate([column, column]),
        np.repeat([True, False], len(logits)),
        penalty=1e-6,
        weights=np.concatenate([targets, 1 - targets]),
    )
    slope = float(fitted.coef_[0, 0]) / spread
    if math.isfinite(slope) and slope >= _MIN_SLOPE:
        return Calibration(1.0 / slope, float(fitted.intercept_[0]))
    share = float(targets.mean())
    return Calibration(1.0 / _MIN_SLOPE, math.log(share / (1 - share)))


def score_by_features(
    features: NDArray[np.float64], positive: Sequence[bool], folds: Sequence[Fold]
) -> NDArray[np.float64]:
    """Score every test sample by its row of features (N, F), standardised.

    A regression is fitted on each fold's other samples; NaN for samples that no fold tests.
    """
    import numpy as np
    from sklearn.preprocessing import StandardScaler

    labels = np.asarray(positive, dtype=bool)
    scores = np.full(len(features), np.nan)
    for fold in folds:
        known, tested = [*fold.train, *fold.val], list(fold.test)
        scaler = StandardScaler().fit(features[known])
        fitted = fit_logistic(scaler.transform(features[known]), labels[known], penalty=1.0)
        scores[tested] = fitted.predict_proba(scaler.transform(features[tested]))[:, 1]
    return scores


def fit_logistic(
    features: NDArray[np.float64],
    labels: NDArray[np.bool_],
    *,
    penalty: float,
    weights: NDArray[np.float64] | None = None,
) -> LogisticRegression:
    """Minimise the cross-entropy plus penalty/2 |coefficients|^2; the bias is not penalised."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    # Newton's method: a few steps to the last digits, where the default (L-BFGS) stops early.
    model = LogisticRegression(C=1 / penalty, solver="newton-cholesky", tol=1e-10)
    with warnings.catch_warnings():
        # It warns where it begins at the optimum, for no step gets any lower from there.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(features, labels, sample_weight=weights)


def describe_facts(facts: Sequence[FileFacts]) -> NDArray[np.float64]:
    """Turn facts into features (N, 7), logarithms where sizes multiply; 0 where there is none.

    Width, height, shape, frames per second, duration, size, and bits per second or per pixel.
    """
    import numpy as np

    rows = []
    for one in facts:
        width, height = max(one.width, 1), max(one.height, 1)
        length_s = one.duration_s or 0.0
        rate = one.size_bytes / length_s if length_s else one.size_bytes / (width * height)
        sizes = [width, height, width / height]
        more = [length_s or 1.0, max(one.size_bytes, 1), max(rate, 1e-6)]
        rows.append([*map(math.log, sizes), one.fps or 0.0, *map(math.log, more)])
    return np.array(rows, float).reshape(len(facts), 7)
