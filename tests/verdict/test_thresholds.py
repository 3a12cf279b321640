"""An error that crosses no threshold changes no verdict: the promise that lets models be quick."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.verdict.category import judge_category
from guardian_cli.verdict.thresholds import Thresholds, format_score, round_score
from guardian_cli.verdict.timeline import windows_to_refine
from tests.verdict.series import samples

if TYPE_CHECKING:
    from guardian_cli.verdict.timeline import Sample

LEVELS = st.tuples(st.floats(0.05, 0.95), st.floats(0.05, 0.95)).map(sorted)


def edges_of(limits: Thresholds) -> list[float]:
    return sorted([limits.closes, limits.review, limits.block])


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Thresholds, list[tuple[float, float]]]:
    """Thresholds, and for each sample two scores that reach the same ones of them."""
    limits = Thresholds(*draw(LEVELS))
    edges = [0.0, *edges_of(limits), 1.0]
    cells = draw(st.lists(st.integers(0, 3), min_size=1, max_size=40))
    scores = []
    for cell in cells:
        low, high = edges[cell], edges[cell + 1]
        one, other = draw(st.floats(0, 0.999)), draw(st.floats(0, 0.999))
        scores.append((low + (high - low) * one, low + (high - low) * other))
    return limits, scores


def outcome(timeline: list[Sample], second: list[Sample], limits: Thresholds) -> object:
    judged = judge_category(
        "x", timeline, second, thresholds=limits, unscored="review", every_s=1.0
    )
    segments = [(segment.start_s, segment.end_s) for segment in judged.segments]
    unconfirmed = sorted(time_s for time_s, _ in judged.unconfirmed)
    return judged.verdict, segments, unconfirmed


@given(pairs(), pairs())
def test_scores_on_the_same_sides_decide_the_same(
    first: tuple[Thresholds, list[tuple[float, float]]],
    second: tuple[Thresholds, list[tuple[float, float]]],
) -> None:
    limits, scores = first
    same = [
        (one, other) for one, other in scores if limits.same_side(min(one, other), max(one, other))
    ]
    again = [
        (one, other)
        for one, other in second[1]
        if limits.same_side(min(one, other), max(one, other))
    ]
    if not same:
        return
    timelines = [samples([pair[side] for pair in same]) for side in (0, 1)]
    looks = [samples([p[side] for p in again], step_s=0.09, start_s=1.0) for side in (0, 1)]
    review = {"x": limits.review}
    windows = [windows_to_refine(timeline, review, 1.0) for timeline in timelines]
    assert windows[0] == windows[1]
    assert outcome(timelines[0], looks[0], limits) == outcome(timelines[1], looks[1], limits)


def _same_side(one: float, other: float, limits: Thresholds) -> bool:
    return limits.same_side(min(one, other), max(one, other))


@given(LEVELS, st.floats(0, 1), st.floats(0, 1))
def test_decided_is_reaching_the_same_thresholds(
    levels: list[float], one: float, other: float
) -> None:
    limits = Thresholds(*levels)
    low, high = sorted((one, other))
    edges = edges_of(limits)
    reached = [bisect_right(edges, score) for score in (low, high)]
    assert limits.same_side(low, high) == (reached[0] == reached[1])


def test_a_score_that_just_reaches_a_threshold_is_not_decided_with_one_below() -> None:
    limits = Thresholds(review=0.5, block=0.8)
    assert not limits.same_side(0.49, 0.5)
    assert limits.same_side(0.5, 0.79)
    assert not limits.same_side(0.39, 0.41)


@given(st.floats(0, 1), LEVELS, st.integers(2, 6))
def test_a_rounded_score_reaches_the_same_thresholds_and_is_near(
    score: float, levels: list[float], digits: int
) -> None:
    limits = Thresholds(*levels)
    near = round_score(score, limits, digits)
    assert [near >= at for at in edges_of(limits)] == [score >= at for at in edges_of(limits)]
    assert abs(near - score) <= 0.5 * 10**-digits + 1e-12
    assert float(format_score(score, limits)) == round_score(score, limits, 2)


def test_scores_are_rounded_to_the_nearest_and_never_onto_a_threshold() -> None:
    limits = Thresholds(0.5, 0.8)
    shown = {0.5295: "0.53", 0.7999: "0.7999", 0.4999: "0.4999", 0.58: "0.58", 0.8: "0.80"}
    assert {score: format_score(score, limits) for score in shown} == shown
    assert round_score(0.79999996, limits, 6) == 0.79999996
