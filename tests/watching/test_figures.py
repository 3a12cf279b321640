"""The figures equal scipy's, and their limits hold what chance does."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from guardian_cli.watching.figures import (
    corrected_sigmas,
    expect_counts,
    expect_psi,
    expect_wasserstein,
    latency_limit,
    psi,
    rate_of,
    wasserstein,
)

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=60).map(np.array)


@given(SCORES, SCORES)
def test_wasserstein_is_scipys_in_units_of_the_references_deviation(
    values: np.ndarray, reference: np.ndarray
) -> None:
    expected = stats.wasserstein_distance(values, reference) / max(np.std(reference), 1e-3)
    assert wasserstein(values, reference) == pytest.approx(expected)


@given(SCORES, SCORES)
def test_psi_is_the_symmetrised_divergence_of_decile_shares(
    values: np.ndarray, reference: np.ndarray
) -> None:
    edges = np.quantile(reference, np.linspace(0, 1, 11))[1:-1]
    edges = np.concatenate([[-np.inf], edges, [np.inf]])
    shares = [
        np.array([((a <= one) & (one < b)).mean() for a, b in pairwise(edges)])
        for one in (values, reference)
    ]
    now, before = (np.maximum(share, 1e-3) for share in shares)
    expected = (special.rel_entr(now, before) + special.rel_entr(before, now)).sum()
    assert psi(values, reference) == pytest.approx(expected, abs=1e-9)


def test_nothing_moved_is_zero() -> None:
    scores = np.linspace(0, 1, 200)
    assert wasserstein(scores, scores) == pytest.approx(0)
    assert psi(scores, scores) == 0


def test_a_reference_that_never_moves_is_measured_against_a_thousandth() -> None:
    still = np.full(100, 0.25)
    assert wasserstein(np.full(100, 0.75), still) == pytest.approx(500)
    assert wasserstein(still, still) == 0


@pytest.mark.parametrize("samples", [100, 1000])
def test_limits_hold_what_chance_does_and_shrink_with_the_sample(samples: int) -> None:
    rng = np.random.default_rng(3)
    reference = rng.beta(1, 6, 3000)
    chunks = np.array_split(reference, 10)
    sigmas = corrected_sigmas(1)
    for measure, expect in ((wasserstein, expect_wasserstein), (psi, expect_psi)):
        expected = expect(reference, chunks)
        limit = expected.limit_for(samples, sigmas)
        found = [measure(rng.beta(1, 6, samples), reference) for _ in range(200)]
        assert np.mean(np.array(found) > limit) <= 0.02
        assert limit < 3 * max(found)
        assert expected.limit_for(10 * samples, sigmas) < limit


def test_what_never_happened_may_still_happen_once() -> None:
    never = expect_counts([500.0, 0.0], [np.array([50.0, 0.0])] * 10, rate_of)
    limit = never.limit_for(500, 3.0)
    assert 1 / 500 < limit < 10 / 500


def test_ups_and_downs_of_the_reference_widen_the_limit() -> None:
    calm = [np.array([90.0, 10.0])] * 10
    moody = [np.array([100.0, 0.0]), np.array([80.0, 20.0])] * 5
    limits = [
        expect_counts([900.0, 100.0], chunks, rate_of).limit_for(1000, 3.0)
        for chunks in (calm, moody)
    ]
    assert limits[1] > 0.1 + 3 * 0.1 > limits[0]


def test_latency_varies_more_in_a_small_sample_and_a_tenth_more_is_nothing() -> None:
    medians = np.array([30.0, 31.0, 29.0, 30.0, 30.0, 31.0, 29.0, 30.0, 30.0, 30.0])
    assert latency_limit(medians, 100, 100, 3.0) == pytest.approx(33.0)
    wide = medians * np.linspace(0.8, 1.2, 10)
    assert latency_limit(wide, 100, 25, 3.0) > latency_limit(wide, 100, 100, 3.0) > 33.0


@given(st.integers(1, 10_000))
def test_many_figures_need_more_sigmas(figures: int) -> None:
    assert 3.0 <= corrected_sigmas(figures) <= corrected_sigmas(figures + 1) < 6
