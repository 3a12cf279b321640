"""Merging, isolated samples, and the guarantees of smoothing."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.media.frames import Window
from guardian_cli.verdict.timeline import (
    FLICKER_CONFIRMED,
    FLICKER_REVIEW,
    Point,
    is_inside,
    isolated_windows,
    join_windows,
    merge,
    smooth,
    windows_to_refine,
)
from tests.verdict.series import at, samples

REVIEW = 0.5
UNIT = st.floats(0.0, 1.0)
LOW = st.floats(0.0, 0.499)
# Samples as dense as a refinement makes them: nothing stands alone.
DENSE_S = 0.1


def smoothed(scores: list[float], step_s: float = 1.0, end_s: float = 0.0) -> list[Point]:
    timeline = samples(scores, step_s=step_s)
    return smooth(timeline, "x", review=REVIEW, every_s=1.0, end_s=end_s)


def dense(scores: list[float]) -> list[Point]:
    return smoothed(scores, DENSE_S)


def highest(points: list[Point]) -> float:
    return max(point.counts for point in points)


@given(st.lists(LOW, min_size=1, max_size=40), st.data())
def test_a_single_high_sample_never_counts(low: list[float], data: st.DataObject) -> None:
    where = data.draw(st.integers(0, len(low) - 1))
    points = dense([*low[:where], data.draw(st.floats(REVIEW, 1.0)), *low[where:]])
    assert highest(points) < REVIEW


@given(st.lists(UNIT, max_size=20), UNIT, UNIT, st.lists(UNIT, max_size=20))
def test_two_neighbours_count_for_the_smaller_of_them(
    before: list[float], one: float, other: float, after: list[float]
) -> None:
    points = dense([*before, one, other, *after])
    assert points[len(before)].confirmed >= min(one, other)
    assert points[len(before) + 1].confirmed >= min(one, other)


@given(st.lists(UNIT, min_size=1, max_size=40), st.data(), UNIT, st.floats(0.01, 2.0))
def test_raising_a_sample_never_lowers_anything(
    scores: list[float], data: st.DataObject, raised: float, step_s: float
) -> None:
    where = data.draw(st.integers(0, len(scores) - 1))
    higher = [*scores]
    higher[where] = max(raised, scores[where])
    both = zip(smoothed(scores, step_s), smoothed(higher, step_s), strict=True)
    for before, after in both:
        assert after.confirmed >= before.confirmed
        assert after.counts >= before.counts


@given(st.lists(UNIT, max_size=40), st.floats(0.01, 2.0))
def test_nothing_counts_for_more_than_it_scored(scores: list[float], step_s: float) -> None:
    for point in smoothed(scores, step_s):
        assert point.confirmed <= point.counts <= point.score
        assert point.counts <= max(point.confirmed, REVIEW)


@pytest.mark.parametrize("period", [2, 3, 4])
def test_one_high_frame_in_a_few_counts_in_full(period: int) -> None:
    points = dense([0.9 if i % period == 0 else 0.0 for i in range(20)])
    assert highest(points) == 0.9


@pytest.mark.parametrize("period", [5, 6, 7, 8])
def test_one_high_frame_in_several_counts_for_review(period: int) -> None:
    points = dense([0.9 if i % period == 0 else 0.0 for i in range(40)])
    assert highest(points) == REVIEW


def test_one_high_frame_in_many_is_a_flash_each_time() -> None:
    points = dense([0.9 if i % 9 == 0 else 0.0 for i in range(40)])
    assert highest(points) == 0.0
    assert FLICKER_REVIEW < FLICKER_CONFIRMED


@pytest.mark.parametrize("where", [0, 3, 6])
def test_a_high_sample_that_nobody_refined_counts_for_review_at_most(where: int) -> None:
    scores = [0.1] * 7
    scores[where] = 0.95
    points = smoothed(scores)
    assert points[where].counts == REVIEW
    assert points[where].confirmed == 0.1


def test_a_high_last_frame_that_stays_on_the_screen_stands_alone() -> None:
    scores = [0.0, 0.0, 0.9]
    flash, long = smoothed(scores, 0.1, end_s=0.3), smoothed(scores, 0.1, end_s=10.2)
    assert (flash[2].counts, long[2].counts) == (0.0, REVIEW)


def test_low_scores_keep_no_more_than_their_neighbours_confirm() -> None:
    assert [point.confirmed for point in dense([0.1, 0.3, 0.2, 0.4])] == [0.1, 0.2, 0.2, 0.2]


def test_isolated_samples_are_found_also_at_the_ends() -> None:
    timeline = at({0.0: 0.9, 1.0: 0, 2.0: 0, 3.0: 0.9, 4.0: 0, 5.0: 0, 5.9: 0.9})
    assert isolated_windows(timeline, "x", REVIEW) == [
        Window(0.0, 1.0),
        Window(2.0, 4.0),
        Window(5.0, 5.9),
    ]


def test_runs_and_single_frames_need_no_refinement() -> None:
    assert isolated_windows(samples([0.5, 0.5, 0.0]), "x", REVIEW) == []
    assert isolated_windows(samples([0.9]), "x", REVIEW) == []
    assert isolated_windows([], "x", REVIEW) == []


def test_unscored_neighbours_confirm_nothing() -> None:
    assert isolated_windows(samples([None, 0.9, None]), "x", REVIEW) == [Window(0.0, 2.0)]


def test_windows_of_all_categories_are_joined() -> None:
    one = samples([0.9, 0, 0, 0, 0, 0], category="one")
    both = [
        type(sample)(sample.time_s, {**sample.scores, **other.scores})
        for sample, other in zip(one, samples([0, 0.7, 0, 0, 0.7, 0], category="two"), strict=True)
    ]
    windows = windows_to_refine(both, {"one": 0.8, "two": 0.6, "three": 0.1}, 1.0)
    assert windows == [Window(0.0, 2.0), Window(3.0, 5.0)]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9)), max_size=12), st.integers(0, 60))
def test_joined_windows_are_apart_and_cover_the_same(
    spans: list[tuple[int, int]], time_s: int
) -> None:
    windows = [Window(float(start), float(start + length)) for start, length in spans]
    joined = join_windows(windows)
    assert all(a.end_s < b.start_s for a, b in pairwise(joined))
    covered = any(window.start_s <= time_s <= window.end_s for window in windows)
    assert is_inside(joined, float(time_s)) == covered


def test_merging_sorts_and_keeps_the_first_pass_of_a_frame() -> None:
    merged = merge(at({0.0: 0.1, 1.0: 0.2}), at({1.0: 0.9, 0.5: 0.3, 1.5: 0.4}))
    assert [(s.time_s, s.scores["x"].fused) for s in merged] == [
        (0.0, 0.1),
        (0.5, 0.3),
        (1.0, 0.2),
        (1.5, 0.4),
    ]
