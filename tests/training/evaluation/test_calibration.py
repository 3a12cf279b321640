"""Platt's scaling and the metadata baseline, against their definitions and plain sense."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from guardian_cli.training.data.frame_store import FileFacts
from guardian_cli.training.data.splits import Fold
from guardian_cli.training.evaluation.calibration import (
    describe_facts,
    fit_calibration,
    score_by_features,
)
from guardian_cli.training.evaluation.metrics import auc


def test_the_cross_entropy_of_platts_targets_is_at_its_lowest() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 80)
    labels = logits + rng.normal(0, 2, 80) > 0.3
    found = fit_calibration(labels, logits)
    hits, misses = labels.sum(), (~labels).sum()
    targets = np.where(labels, (hits + 1) / (hits + 2), 1 / (misses + 2))

    def loss(values: list[float]) -> float:
        z = values[0] * logits + values[1]
        return float((np.logaddexp(0.0, z) - targets * z).sum())

    lowest = scipy.optimize.minimize(loss, [1.0, 0.0], tol=1e-10).x
    assert [1 / found.temperature, found.bias] == pytest.approx(lowest, abs=1e-4)


def test_logits_that_say_nothing_leave_only_the_share_of_positives() -> None:
    for logits in ([1.0] * 6, [3.0, 3.0, 0.0, 0.0, 3.0, 3.0]):
        found = fit_calibration([False, False, True, True, False, False], logits)
        assert found.temperature == 1000.0
        assert found.scores(logits) == pytest.approx(0.36, abs=0.02)


def test_overconfident_logits_are_cooled() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2, 4000)
    labels = rng.random(4000) < 1 / (1 + np.exp(-true))
    found = fit_calibration(labels, 5 * true + 1)
    assert found.temperature == pytest.approx(5, rel=0.1)
    assert found.bias == pytest.approx(-0.2, abs=0.1)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.floats(-50, 50, width=16)), min_size=2, max_size=40))
def test_any_logits_give_scores_in_order_and_in_range(pairs: list[tuple[bool, float]]) -> None:
    labels = [label for label, _ in pairs]
    logits = np.array([logit for _, logit in pairs])
    found = fit_calibration(labels, logits)
    scores = found.scores(logits)
    assert found.temperature > 0
    assert ((scores >= 0) & (scores <= 1)).all()
    assert (np.diff(scores[np.argsort(logits)]) >= 0).all()


def facts(width: int, *, positive: bool, leaks: bool) -> FileFacts:
    fps = 30.0 if positive and leaks else 25.0
    return FileFacts(width, 360, 1000 * width, fps, 2.0)


@pytest.mark.parametrize(("leaks", "low", "high"), [(True, 0.99, 1.0), (False, 0.2, 0.8)])
def test_metadata_that_leaks_the_label_is_found_out(leaks: bool, low: float, high: float) -> None:
    rng = np.random.default_rng(3)
    positive = [at % 2 == 0 for at in range(60)]
    known = [facts(int(rng.integers(300, 900)), positive=one, leaks=leaks) for one in positive]
    folds = [
        Fold(tuple(range(20, 60)), (), tuple(range(20))),
        Fold(tuple(range(40)), (), tuple(range(40, 60))),
    ]
    scores = score_by_features(describe_facts(known), positive, folds)
    tested = [*range(20), *range(40, 60)]
    assert np.isnan(scores[20:40]).all()
    assert low <= auc([positive[at] for at in tested], scores[tested]) <= high
