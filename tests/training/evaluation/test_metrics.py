"""Metrics against their definitions, for any labels and scores."""

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


@pytest.mark.slow
@given(PAIRS)
def test_the_auc_counts_pairs_in_order_and_ties_half(pairs: list[tuple[bool, float]]) -> None:
    labels, scores = arrays(pairs)
    higher = np.subtract.outer(scores[labels], scores[~labels])
    expected = (higher > 0).mean() + (higher == 0).mean() / 2
    assert metrics.auc(labels, scores) == pytest.approx(expected)
    # One draw of every group once is the data itself: the interval measures the same area.
    weights = np.ones((1, len(labels)))
    assert metrics.weighted_auc(labels, scores, weights)[0] == pytest.approx(expected)


@given(PAIRS, st.sampled_from([0.0, 0.01, 0.1, 0.5]))
def test_the_threshold_is_the_lowest_that_keeps_its_promise(
    pairs: list[tuple[bool, float]], most: float
) -> None:
    labels, scores = arrays(pairs)
    threshold, false_rate, true_rate = metrics.choose_threshold(labels, scores, most)

    assert false_rate == pytest.approx((scores[~labels] >= threshold).mean())
    assert true_rate == pytest.approx((scores[labels] >= threshold).mean())
    assert false_rate <= most
    lower = scores[scores < threshold]
    assert not len(lower) or (scores[~labels] >= lower.max()).mean() > most


@given(PAIRS)
def test_calibration_error_by_hand(pairs: list[tuple[bool, float]]) -> None:
    labels, scores = arrays(pairs)
    counts, mean_scores, _ = metrics.calibration_bins(labels, scores)
    found = iter(zip(counts, mean_scores, strict=True))
    by_hand = 0.0
    for low in range(10):
        inside = (scores >= low / 10) & ((scores < (low + 1) / 10) | (low == 9))
        if inside.any():
            assert next(found) == (inside.sum(), pytest.approx(scores[inside].mean()))
            by_hand += abs((scores[inside] - labels[inside]).sum()) / len(scores)
    assert next(found, None) is None
    assert metrics.calibration_error(labels, scores) == pytest.approx(by_hand)


def test_perfectly_calibrated_scores_have_no_error() -> None:
    labels = [True] * 3 + [False] * 7
    assert metrics.calibration_error(labels, [0.3] * 10) == pytest.approx(0)


def test_one_class_has_no_auc() -> None:
    assert math.isnan(metrics.auc([True, True], [0.1, 0.2]))
    assert math.isnan(metrics.auc_interval([True, True], [0.1, 0.2], [0, 1], seed=0)[0])


def test_the_interval_holds_the_auc_and_repeats() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2 == 0
    scores = labels + rng.normal(0, 1, 200)
    groups = list(range(200))
    low, high = metrics.auc_interval(labels, scores, groups, seed=1)
    assert low < metrics.auc(labels, scores) < high
    assert (low, high) == metrics.auc_interval(labels, scores, groups, seed=1)
    # The textbook's error for this AUC and size (Hanley and McNeil, 1982) is about 0.033.
    assert (high - low) / (2 * 1.96) == pytest.approx(0.033, abs=0.006)


def test_copies_do_not_make_the_interval_narrower_when_they_are_one_group() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2 == 0
    scores = labels + rng.normal(0, 1, 40)
    copied, groups = np.repeat(labels, 10), np.repeat(np.arange(40), 10)
    single = metrics.auc_interval(labels, scores, list(range(40)), seed=0)
    grouped = metrics.auc_interval(copied, np.repeat(scores, 10), groups.tolist(), seed=0)
    apart = metrics.auc_interval(copied, np.repeat(scores, 10), list(range(400)), seed=0)
    assert grouped == pytest.approx(single)
    assert apart[1] - apart[0] < 0.5 * (grouped[1] - grouped[0])
