"""Logistic regression for a handful of features: Platt's scaling and the metadata baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

_STEPS = 100
_CONVERGED = 1e-10
_LEAST_SLOPE = 1e-3


@dataclass(frozen=True, slots=True)
class Calibration:
    """The score of a logit z is 1 / (1 + exp(-(z / temperature + bias)))."""

    temperature: float = 1.0
    bias: float = 0.0

    def scores(self, logits: ArrayLike) -> NDArray[np.float64]:
        """Turn logits into scores in 0..1."""
        import numpy as np

        return sigmoid(np.asarray(logits, float) / self.temperature + self.bias)


def sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)), limited to |x| <= 60 so that nothing overflows."""
    import numpy as np

    return 1.0 / (1.0 + np.exp(-np.clip(values, -60.0, 60.0)))


def fit_logistic(
    features: NDArray[np.float64], targets: NDArray[np.float64], penalty: float
) -> tuple[NDArray[np.float64], float]:
    """Minimise the cross-entropy plus penalty/2 |weights|^2 by Newton's method with halved steps.

    `features` (N, D), `targets` (N,) in 0..1; returns weights (D,) and the bias, which is not
    penalised.
    """
    import numpy as np

    design = np.column_stack([features, np.ones(len(features))])
    ridge = np.full(design.shape[1], penalty)
    ridge[-1] = 1e-9
    weights = np.zeros(design.shape[1])

    def loss(values: NDArray[np.float64]) -> float:
        z = design @ values
        return float((np.logaddexp(0.0, z) - targets * z).sum() + (ridge * values**2).sum() / 2)

    for _ in range(_STEPS):
        scores = sigmoid(design @ weights)
        slope = design.T @ (scores - targets) + ridge * weights
        curve = (design.T * (scores * (1 - scores))) @ design + np.diag(ridge)
        step = np.linalg.lstsq(curve, slope, rcond=None)[0]
        size = 1.0
        while size > 1e-6 and loss(weights - size * step) > loss(weights):
            size /= 2
        weights = weights - size * step
        if float(np.abs(size * step).max()) < _CONVERGED:
            break
    return weights[:-1], float(weights[-1])


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
    spread = float(logits.std()) or 1.0
    slopes, bias = fit_logistic(logits[:, None] / spread, targets, penalty=1e-6)
    slope = float(slopes[0]) / spread
    if math.isfinite(slope) and slope >= _LEAST_SLOPE:
        return Calibration(1.0 / slope, bias)
    share = float(targets.mean())
    return Calibration(1.0 / _LEAST_SLOPE, math.log(share / (1 - share)))
