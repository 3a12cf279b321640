"""The clock, the grid, the packet index and the cursor of a refinement."""

from __future__ import annotations

import math
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.media.frames import Window
from guardian_cli.media.worker.sampling import (
    TOLERANCE_S,
    FrameClock,
    PacketIndex,
    SampleGrid,
    WindowCursor,
    bucket_of,
    frame_interval,
)

if TYPE_CHECKING:
    from random import Random

INTERVALS = st.floats(1 / 240, 1.0)
EVERY = st.floats(0.01, 20.0)
STAMPS = st.lists(st.one_of(st.none(), st.floats(-1e4, 1e4)), min_size=1, max_size=60)
TIMES = st.lists(st.floats(0, 200), min_size=1, max_size=60, unique=True).map(sorted)


@given(INTERVALS, STAMPS)
def test_the_clock_only_goes_forward(interval_s: float, stamps: list[float | None]) -> None:
    clock = FrameClock(interval_s)
    times = [clock.advance(stamp) for stamp in stamps]
    assert times[0] == 0.0
    assert all(a < b for a, b in pairwise(times))


@given(INTERVALS, st.floats(-100, 100), TIMES)
def test_ascending_stamps_are_believed(
    interval_s: float, start_s: float, stamps: list[float]
) -> None:
    spaced = [stamp + 0.002 * at for at, stamp in enumerate(stamps)]
    clock = FrameClock(interval_s)
    for stamp in spaced:
        assert clock.advance(start_s + stamp) == pytest.approx(stamp - spaced[0], abs=1e-5)
    assert not clock.stepped_back


def test_missing_stamps_count_frames() -> None:
    clock = FrameClock(0.04)
    assert [clock.advance(None) for _ in range(4)] == [0.0, 0.04, 0.08, 0.12]


def test_after_a_reset_the_clock_goes_on_at_the_stamps_pace() -> None:
    clock = FrameClock(0.1)
    stamps = [10.0, 10.1, 10.2, 0.0, 0.3, 0.4]
    assert [clock.advance(stamp) for stamp in stamps] == [0.0, 0.1, 0.2, 0.3, 0.6, 0.7]
    assert clock.stepped_back


@given(st.floats(-1e5, 1e5), st.lists(st.floats(0.001, 59.0), min_size=1, max_size=30))
def test_a_jump_ahead_is_no_time_that_passes(jump_s: float, steps: list[float]) -> None:
    """Two recordings one after the other: pauses stay, what lies between the clocks goes."""
    first = list(accumulate(steps, initial=0.0))
    clock = FrameClock(0.04, 60.0)
    start_s = first[-1] + 61.0 + jump_s if jump_s >= 0 else jump_s - first[-1] - 1.0
    times = [clock.advance(stamp) for stamp in [*first, *(start_s + stamp for stamp in first)]]
    assert clock.discontinuities == 1
    assert times[-1] == pytest.approx(2 * first[-1] + 0.04, abs=1e-4)


def test_a_short_overlap_does_not_move_what_follows() -> None:
    clock = FrameClock(0.04)
    times = [clock.advance(stamp) for stamp in (0.0, 0.9, 1.0, 0.98, 1.04)]
    assert times == [0.0, 0.9, 1.0, 1.001, 1.04]


def test_a_lasting_overlap_can_not_squeeze_a_video_together() -> None:
    clock = FrameClock(0.04)
    times = [clock.advance(0.1 * (at % 2)) for at in range(1000)]
    assert times[-1] > 30


@given(EVERY, TIMES)
def test_each_grid_time_gets_the_first_frame_there(every_s: float, times: list[float]) -> None:
    grid = SampleGrid(every_s)
    taken = []
    for time_s in times:
        if grid.wants(time_s):
            grid.take(time_s)
            taken.append(time_s)
    expected = {
        next((t for t in times if t >= number * every_s - TOLERANCE_S), None)
        for number in range(bucket_of(times[-1], every_s) + 1)
    }
    assert set(taken) == expected
    assert len(set(taken)) == len(taken)


@given(st.floats(0, 1e5), EVERY)
def test_a_bucket_holds_its_time(time_s: float, every_s: float) -> None:
    number = bucket_of(time_s, every_s)
    assert number * every_s - 2 * TOLERANCE_S <= time_s
    assert time_s < (number + 1) * every_s


def test_a_grid_needs_a_width() -> None:
    with pytest.raises(ValueError, match="over 0"):
        SampleGrid(0.0)


@pytest.mark.parametrize("every_s", [1e-9, 1e-300, 5e-324])
def test_a_grid_finer_than_the_clock_takes_every_frame(every_s: float) -> None:
    grid = SampleGrid(every_s)
    for time_s in (0.0, 0.1, 0.2, 3600.0):
        assert grid.wants(time_s)
        grid.take(time_s)


@given(st.permutations([0.0, 0.4, 0.9, 1.2, 3.3, 3.4, 7.0]))
def test_the_packet_index_knows_the_ideal_samples_in_any_order(order: list[float]) -> None:
    stamps = [0.0, *[stamp for stamp in order if stamp]]
    packets = PacketIndex(every_s=1.0)
    for at, stamp in enumerate(stamps):
        packets.add(stamp, at * 0.1, 0.1)
    assert [packets.ideal(number) for number in range(9)] == [
        0.0, 1.2, 3.3, 3.3, 7.0, 7.0, 7.0, 7.0, None,
    ]  # fmt: skip
    assert (packets.count, packets.first_s, packets.last_s) == (7, 0.0, 7.0)
    assert packets.steady
    assert packets.matches(0.0)


def test_missing_and_restarting_stamps_make_an_index_unsteady() -> None:
    missing, restarting = PacketIndex(1.0), PacketIndex(1.0)
    missing.add(None, None, 0.0)
    for stamp in (5.0, 5.1, 0.0):
        restarting.add(stamp, stamp, 0.1)
    assert not missing.steady
    assert not restarting.steady


def test_empty_packets_promise_no_frame() -> None:
    packets = PacketIndex(1.0)
    packets.add(0.0, 0.0, 0.1)
    packets.add(0.1, 0.1, 0.1, empty=True)
    assert (packets.count, packets.empty, packets.last_s) == (2, 1, 0.0)


@given(TIMES, st.lists(st.tuples(st.floats(0, 200), st.floats(0, 20)), max_size=5), EVERY)
def test_a_refinement_stays_inside_and_keeps_its_distance(
    times: list[float], spans: list[tuple[float, float]], step_s: float
) -> None:
    windows = [Window(start, start + length) for start, length in spans]
    cursor = WindowCursor(windows, step_s)
    taken = [time_s for time_s in times if cursor.wants(time_s)]
    for time_s in taken:
        assert any(w.start_s - 1e-5 <= time_s <= w.end_s + 1e-5 for w in windows)
    assert all(b - a >= step_s - 1e-5 for a, b in pairwise(taken))


def test_a_refinement_ends_with_its_last_window() -> None:
    cursor = WindowCursor([Window(4, 5), Window(1, 2)], 0.5)
    assert cursor.start_s == 1
    assert [t for t in (0.0, 1.0, 1.2, 1.5, 2.0, 3.0) if cursor.wants(t)] == [1.0, 1.5, 2.0]
    assert cursor.start_s == 4
    assert not cursor.wants(6.0)
    assert cursor.start_s is None


@pytest.mark.parametrize(
    ("rate", "interval_s"),
    [(25.0, 0.04), (0.0, 0.04), (math.nan, 0.04), (90_000.0, 0.04), (0.1, 1.0), (120.0, 1 / 120)],
)
def test_claimed_rates_past_belief_are_not_believed(rate: float, interval_s: float) -> None:
    assert frame_interval(rate) == pytest.approx(interval_s)


@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=60),
    st.integers(0, 12),
    st.randoms(use_true_random=False),
)
def test_pauses_are_found_in_whatever_order_frames_are_decoded(
    steps: list[int], depth: int, chance: Random
) -> None:
    stamps = list(accumulate(steps, initial=0))
    order = sorted(range(len(stamps)), key=lambda at: at + chance.uniform(0, depth))
    packets = PacketIndex(1.0)
    for at in order:
        packets.add(stamps[at] / 100, at / 100, 0.01)
    ends = {
        before / 100: after / 100 for before, after in pairwise(stamps) if after - before >= 100
    }
    found = {stamp / 100: packets.shown_until(stamp / 100) for stamp in stamps}
    assert {stamp: end for stamp, end in found.items() if end is not None} == ends
