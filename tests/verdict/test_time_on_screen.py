"""What a viewer saw is judged, not how it was stored: slides as one frame each, or repeated."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from guardian_cli.detectors.fusion import CategoryScore
from guardian_cli.media.worker.sampling import SampleGrid, WindowCursor
from guardian_cli.verdict.category import judge_category
from guardian_cli.verdict.result import CategoryVerdict, Segment
from guardian_cli.verdict.timeline import REFINE_FACTOR, Sample, as_shown, windows_to_refine
from tests.verdict.series import DEFAULT

# Lengths are in frames of 25 a second, so that repeating a picture moves none.
RATE = 25
EVERY_S = 1.0
SEVERITY = {"allow": 0, "review": 1, "block": 2}
Slides = list[tuple[int, float]]
SCORES = st.sampled_from([0.0, 0.1, 0.3, 0.42, 0.5, 0.6, 0.79, 0.8, 0.9, 1.0])


def slides_of(shortest: int, longest: int = 200) -> st.SearchStrategy[Slides]:
    return st.lists(st.tuples(st.integers(shortest, longest), SCORES), min_size=2, max_size=12)


def stored_once(slides: Slides) -> list[Sample]:
    """One frame a picture."""
    ends = list(accumulate(length for length, _ in slides))
    return [
        Sample((end - length) / RATE, {"x": CategoryScore(score)}, None, end / RATE)
        for end, (length, score) in zip(ends, slides, strict=True)
    ]


def stored_repeated(slides: Slides) -> list[Sample]:
    """Every picture repeated, 25 frames a second."""
    return stored_once([(1, score) for length, score in slides for _ in range(length)])


def first_pass(frames: list[Sample]) -> list[Sample]:
    """The frames that a video's first pass takes."""
    grid, first = SampleGrid(EVERY_S), []
    for frame in frames:
        due = grid.wants(frame.time_s)
        if due:
            grid.take(frame.time_s)
        until_s = frame.shown_until_s or 0.0
        if due or grid.would_miss(frame.time_s, until_s) or frame is frames[-1]:
            first.append(frame)
    return first


def scanned(frames: list[Sample]) -> CategoryVerdict:
    """Both passes as a video gets them, and what they come to."""
    first = first_pass(frames)
    cursor = WindowCursor(windows_to_refine(first, {"x": 0.5}, EVERY_S), EVERY_S / REFINE_FACTOR)
    again = [frame for frame in frames if cursor.wants(frame.time_s) and frame not in first]
    return judge_category(
        "x",
        first,
        again,
        thresholds=DEFAULT,
        unscored="review",
        every_s=EVERY_S,
        end_s=frames[-1].shown_until_s or 0.0,
    )


def spans(segments: tuple[Segment, ...]) -> list[tuple[float, float]]:
    return [(segment.start_s, segment.end_s) for segment in segments]


@pytest.mark.slow
@given(slides_of(RATE))
@example([(101, 0.5), (25, 0.6)])
def test_slides_are_judged_alike_however_they_are_stored(slides: Slides) -> None:
    once, repeated = scanned(stored_once(slides)), scanned(stored_repeated(slides))
    assert (once.verdict, once.score) == (repeated.verdict, repeated.score)
    assert once.is_capped == repeated.is_capped
    assert len(once.segments) == len(repeated.segments)
    for one, other in zip(spans(once.segments), spans(repeated.segments), strict=True):
        assert one == pytest.approx(other, abs=EVERY_S)


@pytest.mark.slow
@given(slides_of(7))
def test_short_pictures_are_judged_no_milder_where_they_were_taken(slides: Slides) -> None:
    once, repeated = stored_once(slides), stored_repeated(slides)
    taken = first_pass(once)
    seen = [frame.time_s for frame in first_pass(repeated)]
    if all(f in taken for f in once if any(f.time_s <= t < (f.shown_until_s or 0) for t in seen)):
        assert SEVERITY[scanned(once).verdict] >= SEVERITY[scanned(repeated).verdict]


@given(st.lists(st.integers(25, 120), min_size=3, max_size=8), st.data())
def test_a_picture_that_flashes_up_never_blocks(lengths: list[int], data: st.DataObject) -> None:
    slides = [(length, 0.0) for length in lengths]
    where = data.draw(st.integers(0, len(slides)))
    slides.insert(where, (data.draw(st.integers(1, 2)), 0.95))
    assert scanned(stored_once(slides)).verdict != "block"


def test_six_slides_of_five_seconds_of_which_the_third_is_hot() -> None:
    slides = [(125, 0.95 if at == 2 else 0.05) for at in range(6)]
    for frames in (stored_once(slides), stored_repeated(slides)):
        outcome = scanned(frames)
        assert outcome.verdict == "block"
        assert outcome.segments == (Segment(10.0, 15.0, peak=0.95, peak_s=10.0),)


def test_a_picture_that_is_taken_late_and_stays_is_borne_out() -> None:
    slides = [(2, 0.0), (3, 0.0), (2, 0.0), (125, 0.95), (2, 0.0)]
    outcome = scanned(stored_once(slides))
    assert outcome.verdict == "block"
    assert spans(outcome.segments) == [(0.28, 5.28)]


def test_a_flash_between_long_pictures_is_refuted() -> None:
    outcome = scanned(stored_once([(75, 0.0), (2, 0.95), (75, 0.0)]))
    assert (outcome.verdict, len(outcome.unconfirmed)) == ("allow", 1)


def test_an_endless_picture_costs_no_more_than_a_long_one() -> None:
    forged = Sample(0.0, {"x": CategoryScore(0.9)}, None, 1e12)
    counted, _ = as_shown([forged], 0.01)
    assert len(counted) < 30
