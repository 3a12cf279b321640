"""The judgement whether all of a video was seen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.media.worker.coverage import DeclaredExtent, DecodeStatistics, assess, tolerance_s


def seen(last_s: float, *, interval_s: float = 0.04, errors: int = 0) -> DecodeStatistics:
    """A pass that decoded and scored frames up to `last_s`."""
    found = DecodeStatistics("full", 2.0, interval_s, decoded=10, last_s=last_s, errors=errors)
    for at in range(int(last_s) + 1):
        found.note_scored(float(at))
    return found


def test_reaching_both_lengths_is_complete() -> None:
    coverage = assess(seen(9.96), DeclaredExtent(length_s=10.0, packets_end_s=9.96))
    assert coverage.complete
    assert coverage.duration_s == 10.0
    assert coverage.notes == ()


def test_a_longer_claim_or_later_packets_are_not_reached() -> None:
    for declared in (DeclaredExtent(length_s=20.0), DeclaredExtent(packets_end_s=19.0)):
        coverage = assess(seen(9.96), declared)
        assert not coverage.reached_end
        assert not coverage.complete
        assert coverage.notes


@given(st.floats(1 / 240, 1.0), st.floats(1.5, 1e4))
def test_a_missing_second_is_never_tolerated(interval_s: float, length_s: float) -> None:
    assert tolerance_s(interval_s) < 1.0
    coverage = assess(
        seen(length_s, interval_s=interval_s), DeclaredExtent(length_s + interval_s + 1.0)
    )
    assert not coverage.complete


def test_the_last_frame_lasts_as_long_as_its_packet() -> None:
    declared = DeclaredExtent(length_s=15.0, packets_end_s=9.96, last_duration_s=5.04)
    assert assess(seen(9.96), declared).complete


def test_an_error_a_doubt_and_a_lost_start_are_incomplete() -> None:
    assert not assess(seen(5.0, errors=1), DeclaredExtent()).complete
    assert assess(seen(5.0, errors=1), DeclaredExtent()).reached_end
    assert not assess(seen(5.0), DeclaredExtent(doubts=("cut off",))).complete
    assert not assess(seen(5.0), DeclaredExtent(lost_start_s=2.0)).complete


def test_nothing_decoded_and_nothing_ended_are_incomplete() -> None:
    assert not assess(DecodeStatistics("full", 2.0, 0.04), DeclaredExtent()).complete
    assert not assess(seen(5.0), DeclaredExtent(), ended=False).complete


def test_a_gap_counts_only_where_frames_are_missing_in_it() -> None:
    hole = DecodeStatistics("full", 2.0, 0.04, decoded=5)
    hole.note_scored(0.0, 60.0, ideal_s=0.0)
    hole.note_scored(60.0, ideal_s=60.0)
    hole.last_s = 60.0
    assert assess(hole, DeclaredExtent()).complete
    assert assess(hole, DeclaredExtent()).largest_gap_s == 60.0
    lost = DecodeStatistics("full", 2.0, 0.04, decoded=5)
    lost.note_scored(0.0, 60.0, ideal_s=0.0)
    lost.note_scored(60.0, ideal_s=1.0)
    lost.last_s = 60.0
    assert not assess(lost, DeclaredExtent()).complete


def test_frames_passed_over_in_a_wide_gap_are_a_gap() -> None:
    sparse = DecodeStatistics("full", 0.5, 0.04, decoded=26, last_s=1.0)
    sparse.note_scored(0.0, 0.04)
    sparse.note_scored(1.0, ideal_s=1.0)
    assert not assess(sparse, DeclaredExtent()).complete
    narrow = DecodeStatistics("full", 2.0, 0.04, decoded=26, last_s=1.0)
    narrow.note_scored(0.0, 0.04)
    narrow.note_scored(1.0, ideal_s=1.0)
    assert assess(narrow, DeclaredExtent()).complete


def test_a_frame_that_is_shown_through_a_pause_and_not_scored_is_a_gap() -> None:
    paused = DecodeStatistics("full", 2.0, 0.04, decoded=26, last_s=60.0)
    paused.note_scored(0.0, 0.04)
    paused.note_scored(60.0, ideal_s=60.0)
    assert not assess(paused, DeclaredExtent()).complete


def test_a_still_picture_has_no_length() -> None:
    still = DecodeStatistics("full", 2.0, 0.04, decoded=1, last_s=0.0, still=True)
    still.note_scored(0.0)
    coverage = assess(still, DeclaredExtent())
    assert (coverage.duration_s, coverage.largest_gap_s, coverage.complete) == (None, None, True)
