"""What the container's metadata alone would reach: a model that beats it by little has not looked.

Data sets leak their label through resolution, frame rate and length; a logistic regression on
these, in the same folds as the network, says how much.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from guardian_cli.training.evaluation.regression import fit_logistic, sigmoid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.training.data.frames import FileFacts
    from guardian_cli.training.data.splits import Fold

PENALTY = 1.0
FACTS = ("width", "height", "shape", "fps", "duration", "size", "bitrate")


def describe_facts(facts: Sequence[FileFacts]) -> NDArray[np.float64]:
    """Turn facts into features (N, 7), logarithms where sizes multiply; 0 where there is none."""
    import numpy as np

    return np.array([_row(one) for one in facts], float).reshape(len(facts), len(FACTS))


def _row(facts: FileFacts) -> tuple[float, ...]:
    width, height = max(facts.width, 1), max(facts.height, 1)
    length_s = facts.duration_s or 0.0
    rate = facts.size_bytes / length_s if length_s else facts.size_bytes / (width * height)
    return (
        math.log(width),
        math.log(height),
        math.log(width / height),
        facts.fps or 0.0,
        math.log(length_s) if length_s else 0.0,
        math.log(max(facts.size_bytes, 1)),
        math.log(max(rate, 1e-6)),
    )


def score_by_metadata(
    facts: Sequence[FileFacts], positive: Sequence[bool], folds: Sequence[Fold]
) -> NDArray[np.float64]:
    """Score every test item by a regression fitted on its fold's other items; NaN elsewhere."""
    import numpy as np

    features, labels = describe_facts(facts), np.asarray(positive, float)
    scores = np.full(len(facts), np.nan)
    for fold in folds:
        known, judged = [*fold.train, *fold.val], list(fold.test)
        mean, spread = features[known].mean(axis=0), features[known].std(axis=0)
        scaled = (features - mean) / np.where(spread > 0, spread, 1.0)
        weights, bias = fit_logistic(scaled[known], labels[known], PENALTY)
        scores[judged] = sigmoid(scaled[judged] @ weights + bias)
    return scores
