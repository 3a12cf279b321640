"""Where segments open and close."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.verdict.result import Segment
from guardian_cli.verdict.segments import find_segments
from guardian_cli.verdict.timeline import Point, smooth
from tests.verdict.series import DEFAULT, samples


def points(scores: list[float], step_s: float = 1.0) -> list[Point]:
    """Points that count for what they scored, each until the next one."""
    return [
        Point(i * step_s, score, score, score, round((i + 1) * step_s, 6))
        for i, score in enumerate(scores)
    ]


def found(scores: list[float], step_s: float = 1.0) -> list[tuple[float, float]]:
    segments = find_segments(points(scores, step_s), DEFAULT, every_s=1.0)
    return [(segment.start_s, segment.end_s) for segment in segments]


def test_a_run_starts_with_a_high_sample_and_ends_when_a_low_one_comes() -> None:
    assert find_segments(points([0.1, 0.45, 0.6, 0.9, 0.7, 0.45, 0.0]), DEFAULT, every_s=1.0) == [
        Segment(2.0, 5.0, peak=0.9, peak_s=3.0)
    ]


def test_a_shallow_dip_is_one_segment_and_a_deep_one_is_two() -> None:
    assert found([0.6, 0.42, 0.6]) == [(0.0, 3.0)]
    assert found([0.6, 0.42, 0.40, 0.6]) == [(0.0, 4.0)]
    assert found([0.6, 0.39, 0.6]) == [(0.0, 1.0), (2.0, 3.0)]


def test_a_dip_shorter_than_the_sampling_interval_is_bridged() -> None:
    assert found([0.9, 0.0, 0.9, 0.0, 0.9], step_s=0.1) == [(0.0, 0.5)]
    assert found([0.9, 0.0, 0.0, 0.0, 0.9], step_s=0.25) == [(0.0, 0.25), (1.0, 1.25)]


def test_high_to_the_ends() -> None:
    assert found([0.5, 0.5, 0.0, 0.0, 0.5]) == [(0.0, 2.0), (4.0, 5.0)]
    assert found([]) == []
    assert found([0.1]) == []


@given(
    st.lists(st.floats(0.0, 1.0), min_size=1, max_size=50), st.sampled_from([0.1, 0.5, 1.0, 3.0])
)
def test_segments_hold_every_sample_that_counts(scores: list[float], step_s: float) -> None:
    timeline = samples(scores, step_s=step_s)
    end_s = timeline[-1].time_s + 0.01
    smoothed = smooth(timeline, "x", review=0.5, every_s=1.0, end_s=end_s)
    segments = find_segments(smoothed, DEFAULT, every_s=1.0)
    assert all(a.end_s < b.start_s for a, b in pairwise(segments))
    for point in smoothed:
        inside = any(s.start_s <= point.time_s <= s.end_s for s in segments)
        assert inside or point.counts < 0.5
    for segment in segments:
        assert segment.start_s <= segment.peak_s <= segment.end_s
        within = [p for p in smoothed if segment.start_s <= p.time_s < segment.end_s]
        assert segment.peak == max(p.score for p in within)
        assert within[0].counts >= 0.5
        assert within[-1].counts >= 0.5
