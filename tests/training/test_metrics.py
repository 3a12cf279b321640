"""Metrics against scikit-learn, for any labels and scores."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from guardian_cli.training.evaluation import metrics

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAIRS = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 0.9, 1.0])),
    min_size=2,
    max_size=60,
)


def arrays(pairs: list[tuple[bool, float]]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    labels = np.array([label for label, _ in pairs])
    assume(labels.any() and not labels.all())
    return labels, np.array([score for _, score in pairs])


@given(PAIRS)
def test_auc_and_average_precision_are_scikit_learns(pairs: list[tuple[bool, float]]) -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    labels, scores = arrays(pairs)
    assert metrics.auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))
    expected = average_precision_score(labels, scores)
    assert metrics.average_precision(labels, scores) == pytest.approx(expected)


@given(PAIRS)
def test_the_roc_is_scikit_learns(pairs: list[tuple[bool, float]]) -> None:
    from sklearn.metrics import roc_curve

    labels, scores = arrays(pairs)
    expected = roc_curve(labels, scores, drop_intermediate=False)
    for one, other in zip(metrics.roc_points(labels, scores), expected, strict=True):
        np.testing.assert_allclose(one, other)


@given(PAIRS, st.sampled_from([0.0, 0.01, 0.1, 0.5]))
def test_the_threshold_is_the_lowest_that_keeps_its_promise(
    pairs: list[tuple[bool, float]], most: float
) -> None:
    labels, scores = arrays(pairs)
    found = metrics.threshold_at(labels, scores, most)

    def false_rate(threshold: float) -> float:
        return float((scores[~labels] >= threshold).mean())

    assert false_rate(found.threshold) == pytest.approx(found.false_positive_rate)
    assert float((scores[labels] >= found.threshold).mean()) == pytest.approx(
        found.true_positive_rate
    )
    assert found.false_positive_rate <= most
    lower = scores[scores < found.threshold]
    assert not len(lower) or false_rate(float(lower.max())) > most


@given(PAIRS)
def test_calibration_error_by_hand(pairs: list[tuple[bool, float]]) -> None:
    labels, scores = arrays(pairs)
    bins = metrics.calibration_bins(labels, scores)
    assert sum(one.count for one in bins) == len(scores)
    by_hand = 0.0
    for one in bins:
        inside = [
            (label, score)
            for label, score in zip(labels, scores, strict=True)
            if one.low <= score < one.high or (score == one.high == 1.0)
        ]
        assert len(inside) == one.count
        by_hand += abs(sum(score - label for label, score in inside)) / len(scores)
    assert metrics.calibration_error(labels, scores) == pytest.approx(by_hand)


def test_perfectly_calibrated_scores_have_no_error() -> None:
    labels = [True] * 3 + [False] * 7
    assert metrics.calibration_error(labels, [0.3] * 10) == pytest.approx(0)


def test_one_class_has_no_auc() -> None:
    assert math.isnan(metrics.auc([True, True], [0.1, 0.2]))
    assert math.isnan(metrics.auc_interval([True, True], [0.1, 0.2], [0, 1], seed=0)[0])


def test_the_interval_holds_the_auc_and_repeats() -> None:
    chance = np.random.default_rng(0)
    labels = np.arange(200) % 2 == 0
    scores = labels + chance.normal(0, 1, 200)
    groups = list(range(200))
    low, high = metrics.auc_interval(labels, scores, groups, seed=1)
    assert low < metrics.auc(labels, scores) < high
    assert (low, high) == metrics.auc_interval(labels, scores, groups, seed=1)
    # The textbook's error for this AUC and size (Hanley and McNeil, 1982) is about 0.033.
    assert (high - low) / (2 * 1.96) == pytest.approx(0.033, abs=0.006)


def test_copies_do_not_make_the_interval_narrower_when_they_are_one_group() -> None:
    chance = np.random.default_rng(0)
    labels = np.arange(40) % 2 == 0
    scores = labels + chance.normal(0, 1, 40)
    copied, groups = np.repeat(labels, 10), np.repeat(np.arange(40), 10)
    single = metrics.auc_interval(labels, scores, list(range(40)), seed=0)
    grouped = metrics.auc_interval(copied, np.repeat(scores, 10), groups.tolist(), seed=0)
    apart = metrics.auc_interval(copied, np.repeat(scores, 10), list(range(400)), seed=0)
    assert grouped == pytest.approx(single)
    assert apart[1] - apart[0] < 0.5 * (grouped[1] - grouped[0])
