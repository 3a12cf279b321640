"""A scale keeps every order, and `review` rises with the number of samples."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.config import PolicySection
from guardian_cli.detectors.fusion import CategoryScore
from guardian_cli.verdict.calibration import Calibration, logit
from guardian_cli.verdict.category import judge_category, review_level
from guardian_cli.verdict.policy import judge
from guardian_cli.verdict.thresholds import Thresholds
from guardian_cli.verdict.timeline import Sample
from tests.verdict.series import SEEN, samples

UNIT = st.floats(0, 1)
RISING = st.lists(st.tuples(UNIT, UNIT), max_size=6).map(
    lambda inner: tuple(
        zip(
            sorted({0.0, 1.0, *(x for x, _ in inner)})[: len(inner) + 2],
            sorted({0.01, 0.99, *(y for _, y in inner)})[: len(inner) + 2],
            strict=False,
        )
    )
)
CURVE = Calibration(((0.0, 0.01), (0.4, 0.1), (0.6, 0.9), (1.0, 0.99)))


@given(RISING, UNIT, UNIT)
def test_a_higher_score_never_ends_lower(
    points: tuple[tuple[float, float], ...], one: float, other: float
) -> None:
    calibration = Calibration(points)
    low, high = sorted((one, other))
    assert calibration.apply(low) <= calibration.apply(high)
    assert 0 <= calibration.apply(one) <= 1


@given(UNIT)
def test_inverting_gives_the_score_back(score: float) -> None:
    assert CURVE.invert(CURVE.apply(score)) == pytest.approx(score, abs=1e-5)
    assert Calibration().apply(score) == Calibration().invert(score) == score


@given(st.lists(UNIT, min_size=2, max_size=25), UNIT)
def test_to_calibrate_frames_is_to_calibrate_what_is_decided(
    scores: list[float], review: float
) -> None:
    """Smoothing, confirmation and verdicts are the same on either side of the mapping."""

    def outcome(apply: bool) -> tuple[str, int]:
        mapped = [CURVE.apply(one) if apply else one for one in scores]
        edge = CURVE.apply(review) if apply else review
        limits = Thresholds(edge, max(edge, CURVE.apply(0.9) if apply else 0.9))
        one = judge_category(
            "x", samples(mapped), [], thresholds=limits, unscored="review", every_s=1.0
        )
        return one.verdict, len(one.unconfirmed)

    scores = [round(one, 3) for one in scores]
    review = round(review, 3)
    assert outcome(apply=True) == outcome(apply=False)


def test_review_rises_with_the_number_of_samples_and_stops_at_block() -> None:
    calibration = Calibration(samples=60, scale=0.3)
    assert calibration.review_for(60, 0.5, 0.9) == 0.5
    assert calibration.review_for(10, 0.5, 0.9) == 0.5
    assert logit(calibration.review_for(600, 0.5, 0.9)) == pytest.approx(0.3 * math.log(10))
    rising = [calibration.review_for(n, 0.5, 0.7) for n in (60, 600, 6000, 600_000)]
    assert rising == sorted(rising)
    assert rising[-1] == 0.7


def test_without_a_calibration_nothing_depends_on_length() -> None:
    limits = Thresholds(0.5, 0.8)
    assert limits.for_samples(100_000) is limits
    scaled = Thresholds(0.5, 0.8, calibration=CURVE)
    assert scaled.for_samples(100_000) == scaled


def test_what_a_short_video_is_reviewed_for_a_long_one_only_mentions() -> None:
    limits = {"x": Thresholds(0.5, 0.9, calibration=Calibration(samples=10, scale=0.5))}

    def verdict(count: int) -> tuple[str, tuple[str, ...]]:
        scores = [0.1] * count
        scores[3:5] = [0.6, 0.6]
        judged = judge(
            samples(scores), thresholds=limits, policy=PolicySection(), coverage=SEEN, every_s=1.0
        )
        return judged.verdict, judged.reasons

    assert verdict(10) == ("review", ("x 0.60 at 3.0 s",))
    assert verdict(100) == (
        "allow",
        ("x 0.60 at 3.0 s is below 0.76, which is review for 100 samples",),
    )


def test_pictures_that_stand_still_raise_no_threshold() -> None:
    """Whoever uploads could put an hour of one picture behind a scene."""
    limits = {"x": Thresholds(0.5, 0.9, calibration=Calibration(samples=10, scale=0.5))}
    scores = [0.1, 0.6, 0.6, 0.1]
    still = [Sample(4.0 + at, {"x": CategoryScore(0.1)}, same_as_s=3.0) for at in range(500)]
    judged = judge(
        [*samples(scores), *still],
        thresholds=limits,
        policy=PolicySection(),
        coverage=SEEN,
        every_s=1.0,
    )
    assert judged.verdict == "review"


@given(UNIT, UNIT, st.integers(1, 10**7), st.floats(0, 3))
def test_an_error_that_no_length_could_decide_is_let_be(
    one: float, other: float, count: int, scale: float
) -> None:
    limits = Thresholds(0.4, 0.8, calibration=Calibration(samples=60, scale=scale))
    low, high = sorted((one, other))
    if limits.same_side(low, high):
        assert limits.for_samples(count).same_side(low, high)


@given(st.lists(UNIT, min_size=1, max_size=25))
def test_the_level_is_the_highest_threshold_that_is_reached(scores: list[float]) -> None:
    series = samples([round(one, 2) for one in scores])
    level = review_level("x", series, [], every_s=1.0)
    assert level is not None

    def verdict(review: float) -> str:
        limits = Thresholds(review, 1.0)
        return judge_category(
            "x", series, [], thresholds=limits, unscored="allow", every_s=1.0
        ).verdict

    assert verdict(level) != "allow"
    if level < 1.0:
        assert verdict(min(1.0, level + 1e-4)) == "allow"
    assert review_level("y", series, [], every_s=1.0) is None
