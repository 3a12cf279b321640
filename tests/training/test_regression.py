"""Platt's scaling and the metadata baseline, against scikit-learn and plain sense."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardian_cli.training.data.frames import FileFacts
from guardian_cli.training.data.splits import Fold
from guardian_cli.training.evaluation.baseline import score_by_metadata
from guardian_cli.training.evaluation.metrics import auc
from guardian_cli.training.evaluation.regression import fit_calibration, fit_logistic


@pytest.mark.parametrize("penalty", [0.1, 1.0, 10.0])
def test_the_regression_is_scikit_learns(penalty: float) -> None:
    from sklearn.linear_model import LogisticRegression

    chance = np.random.default_rng(0)
    features = chance.normal(size=(80, 3))
    targets = (features[:, 0] + chance.normal(size=80) > 0.3).astype(float)
    weights, bias = fit_logistic(features, targets, penalty)
    expected = LogisticRegression(C=1 / penalty, tol=1e-10).fit(features, targets)
    np.testing.assert_allclose(weights, expected.coef_[0], atol=1e-4)
    assert bias == pytest.approx(expected.intercept_[0], abs=1e-4)


def test_overconfident_logits_are_cooled() -> None:
    chance = np.random.default_rng(0)
    true = chance.normal(0, 2, 4000)
    labels = chance.random(4000) < 1 / (1 + np.exp(-true))
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
    chance = np.random.default_rng(3)
    positive = [at % 2 == 0 for at in range(60)]
    known = [facts(int(chance.integers(300, 900)), positive=one, leaks=leaks) for one in positive]
    folds = [
        Fold(tuple(range(20, 60)), (), tuple(range(20))),
        Fold(tuple(range(40)), (), tuple(range(40, 60))),
    ]
    scores = score_by_metadata(known, positive, folds)
    judged = [*range(20), *range(40, 60)]
    assert np.isnan(scores[20:40]).all()
    assert low <= auc([positive[at] for at in judged], scores[judged]) <= high
