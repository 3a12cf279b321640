"""The fusion arithmetic, frame by frame."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.config import FusionSection
from guardian_cli.detectors.fusion import CategoryScore, fuse, score_category

UNIT = st.floats(0.0, 1.0)
MAYBE = st.none() | UNIT
WEIGHTS = st.builds(
    lambda custom, share, alone: FusionSection(
        custom=custom, clip=share * (1 - custom), clip_only=alone
    ),
    *(UNIT, UNIT, UNIT),
)
NO_ANSWERS = [None, math.nan, math.inf, -math.inf, -0.01, 1.01]


@given(UNIT, UNIT)
def test_both_are_weighed(custom: float, clip: float) -> None:
    assert fuse(custom, clip, FusionSection()) == pytest.approx(0.7 * custom + 0.3 * clip, abs=1e-6)


@given(UNIT)
def test_alone_each_counts_for_itself(score: float) -> None:
    assert fuse(None, score, FusionSection()) == pytest.approx(0.85 * score, abs=1e-6)
    assert fuse(score, None, FusionSection()) == pytest.approx(score, abs=1e-6)


def test_neither_is_unscored_and_zero_is_an_answer() -> None:
    assert fuse(None, None, FusionSection()) is None
    assert fuse(0.0, 1.0, FusionSection()) == 0.3
    assert fuse(0.0, None, FusionSection()) == 0.0
    assert fuse(None, 0.0, FusionSection()) == 0.0


def test_arithmetic_does_not_miss_a_threshold_by_a_rounding_error() -> None:
    assert 0.7 * 0.8 + 0.3 * 0.8 < 0.8
    assert fuse(0.8, 0.8, FusionSection()) == 0.8


@given(MAYBE, MAYBE, WEIGHTS)
def test_fused_stays_in_the_unit_whatever_the_weights(
    custom: float | None, clip: float | None, weights: FusionSection
) -> None:
    fused = fuse(custom, clip, weights)
    assert (fused is None) == (custom is None and clip is None)
    assert fused is None or 0.0 <= fused <= 1.0


@given(UNIT, UNIT, UNIT, WEIGHTS)
def test_a_higher_answer_never_lowers_the_score(
    custom: float, clip: float, higher: float, weights: FusionSection
) -> None:
    low, high = sorted([custom, higher])
    assert (fuse(low, clip, weights) or 0.0) <= (fuse(high, clip, weights) or 0.0)


@pytest.mark.parametrize("broken", NO_ANSWERS)
def test_what_is_no_score_is_no_answer(broken: float | None) -> None:
    assert fuse(broken, broken, FusionSection()) is None
    assert fuse(broken, 0.4, FusionSection()) == fuse(None, 0.4, FusionSection())


def test_floating_point_overshoot_is_still_an_answer() -> None:
    assert fuse(1.0000004, None, FusionSection()) == 1.0
    assert fuse(-0.0000004, None, FusionSection()) == 0.0


def test_of_several_custom_models_the_largest_counts() -> None:
    both = score_category({"clip": 0.5, "endpoint": 0.0, "nudenet": 0.9}, FusionSection())
    assert both == CategoryScore(0.78, 0.5, 0.9, {"nudenet": 0.9})
    less = score_category({"clip": 0.5, "endpoint": 0.9, "nudenet": 0.0}, FusionSection())
    assert less == CategoryScore(0.78, 0.5, 0.9, {"nudenet": 0.0})
    assert score_category({"endpoint": math.nan}, FusionSection()) == CategoryScore(None)


@given(st.dictionaries(st.sampled_from(["clip", "endpoint", "nudenet", "opennsfw"]), UNIT))
def test_every_offline_detector_stands_under_its_own_name(scores: dict[str, float]) -> None:
    one = score_category(scores, FusionSection())
    assert set(one.by_detector) == scores.keys() & {"nudenet", "opennsfw"}
    custom = [round(score, 6) for name, score in scores.items() if name != "clip"]
    assert one.custom == max(custom, default=None)
    assert all(value == round(scores[name], 6) for name, value in one.by_detector.items())
