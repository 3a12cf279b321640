"""An error that crosses no threshold changes no verdict: the promise that lets models be quick."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.verdict.category import Limits, judge_category
from guardian_cli.verdict.closeness import is_decided, rounded, show_score, thresholds
from guardian_cli.verdict.timeline import windows_to_look_at
from tests.verdict.series import samples

if TYPE_CHECKING:
    from guardian_cli.verdict.timeline import Sample

LEVELS = st.tuples(st.floats(0.05, 0.95), st.floats(0.05, 0.95)).map(sorted)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Limits, list[tuple[float, float]]]:
    """Thresholds, and for each sample two scores that reach the same ones of them."""
    limits = Limits(*draw(LEVELS))
    edges = [0.0, *sorted(thresholds(limits)), 1.0]
    cells = draw(st.lists(st.integers(0, 3), min_size=1, max_size=40))
    scores = []
    for cell in cells:
        low, high = edges[cell], edges[cell + 1]
        one, other = draw(st.floats(0, 0.999)), draw(st.floats(0, 0.999))
        scores.append((low + (high - low) * one, low + (high - low) * other))
    return limits, scores


def outcome(timeline: list[Sample], second: list[Sample], limits: Limits) -> object:
    judged = judge_category("x", timeline, second, limits=limits, unscored="review", every_s=1.0)
    segments = [(segment.start_s, segment.end_s) for segment in judged.segments]
    flashes = sorted(time_s for time_s, _ in judged.flashes)
    return judged.verdict, segments, flashes


@given(pairs(), pairs())
def test_scores_on_the_same_sides_decide_the_same(
    first: tuple[Limits, list[tuple[float, float]]],
    second: tuple[Limits, list[tuple[float, float]]],
) -> None:
    limits, scores = first
    same = [(one, other) for one, other in scores if _same_side(one, other, limits)]
    again = [(one, other) for one, other in second[1] if _same_side(one, other, limits)]
    if not same:
        return
    timelines = [samples([pair[side] for pair in same]) for side in (0, 1)]
    looks = [samples([p[side] for p in again], step_s=0.09, start_s=1.0) for side in (0, 1)]
    review = {"x": limits.review}
    windows = [windows_to_look_at(timeline, review, 1.0) for timeline in timelines]
    assert windows[0] == windows[1]
    assert outcome(timelines[0], looks[0], limits) == outcome(timelines[1], looks[1], limits)


def _same_side(one: float, other: float, limits: Limits) -> bool:
    return is_decided(min(one, other), max(one, other), limits)


@given(LEVELS, st.floats(0, 1), st.floats(0, 1))
def test_decided_is_reaching_the_same_thresholds(
    levels: list[float], one: float, other: float
) -> None:
    limits = Limits(*levels)
    low, high = sorted((one, other))
    edges = sorted(thresholds(limits))
    reached = [bisect_right(edges, score) for score in (low, high)]
    assert is_decided(low, high, limits) == (reached[0] == reached[1])


def test_a_score_that_just_reaches_a_threshold_is_not_decided_with_one_below() -> None:
    limits = Limits(review=0.5, block=0.8)
    assert not is_decided(0.49, 0.5, limits)
    assert is_decided(0.5, 0.79, limits)
    assert not is_decided(0.39, 0.41, limits)


@given(st.floats(0, 1), LEVELS, st.integers(2, 6))
def test_a_rounded_score_reaches_the_same_thresholds_and_is_near(
    score: float, levels: list[float], digits: int
) -> None:
    limits = Limits(*levels)
    near = rounded(score, limits, digits)
    assert [near >= at for at in thresholds(limits)] == [score >= at for at in thresholds(limits)]
    assert abs(near - score) <= 0.5 * 10**-digits + 1e-12
    assert float(show_score(score, limits)) == rounded(score, limits, 2)


def test_scores_are_rounded_to_the_nearest_and_never_onto_a_threshold() -> None:
    limits = Limits(0.5, 0.8)
    shown = {0.5295: "0.53", 0.7999: "0.7999", 0.4999: "0.4999", 0.58: "0.58", 0.8: "0.80"}
    assert {score: show_score(score, limits) for score in shown} == shown
    assert rounded(0.79999996, limits, 6) == 0.79999996
