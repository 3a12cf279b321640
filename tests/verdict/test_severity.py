"""Severity follows the verdict, and within it the score."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.verdict.result import Outcome
from guardian_cli.verdict.severity import severity
from guardian_cli.verdict.thresholds import Thresholds

LIMITS = Thresholds(0.5, 0.8)


@pytest.mark.parametrize(
    ("verdict", "score", "expected"),
    [
        ("allow", 0.49, ("none", 0.0)),
        ("review", None, ("medium", 4.0)),
        ("review", 0.5, ("medium", 4.0)),
        ("review", 0.7999, ("medium", 6.9)),
        ("block", 0.8, ("high", 7.0)),
        ("block", 0.9, ("high", 8.5)),
        ("block", 1.0, ("critical", 10.0)),
        ("error", None, ("unknown", None)),
    ],
)
def test_bands(verdict: Outcome, score: float | None, expected: tuple[str, float | None]) -> None:
    assert severity(verdict, score, LIMITS) == expected


@given(
    st.sampled_from(get_args(Outcome)),
    st.none() | st.floats(0, 1),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_number_never_leaves_the_band_of_its_verdict(
    verdict: Outcome, score: float | None, limits: tuple[float, float]
) -> None:
    word, number = severity(verdict, score, Thresholds(min(limits), max(limits)))
    bands = {"none": (0, 0), "medium": (4.0, 6.9), "high": (7.0, 8.9), "critical": (9.0, 10.0)}
    if number is None:
        assert (verdict, word) == ("error", "unknown")
    else:
        low, high = bands[word]
        assert low <= number <= high
