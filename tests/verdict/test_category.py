"""One category by both passes: confirmation, independence, unscored frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.verdict.category import TIMELINE_CELLS, TIMELINE_DIGITS, judge_category, pool
from guardian_cli.verdict.thresholds import Thresholds, round_score
from guardian_cli.verdict.timeline import Sample
from tests.verdict.series import DEFAULT, at, samples

if TYPE_CHECKING:
    from guardian_cli.verdict.result import CategoryVerdict, Verdict

UNIT = st.floats(0.0, 1.0).map(lambda score: round(score, 6))
ONE_FLASH = [0.0, 0.0, 0.0, 0.95, 0.0, 0.0]


def judged(
    first: list[Sample],
    refined: list[Sample] | None = None,
    *,
    limits: Thresholds | None = None,
    unscored: Verdict = "review",
    end_s: float = 0.0,
) -> CategoryVerdict:
    return judge_category(
        "x",
        first,
        refined or [],
        thresholds=limits or DEFAULT,
        unscored=unscored,
        every_s=1.0,
        end_s=end_s,
    )


def refined_samples(from_s: float, to_s: float) -> list[Sample]:
    """A refinement from 2 to 4 s, high in a part of it."""
    times = [round(2.0 + i / 11, 6) for i in range(23)]
    return at({t: 0.95 if from_s <= t <= to_s else 0.0 for t in times})


def test_a_flash_is_refuted_and_mentioned() -> None:
    outcome = judged(samples(ONE_FLASH), refined_samples(3.0, 3.05))
    assert (outcome.verdict, outcome.score, outcome.segments) == ("allow", 0.0, ())
    assert outcome.unconfirmed == ((3.0, 0.95),)


def test_a_short_event_is_confirmed_with_its_whole_score() -> None:
    outcome = judged(samples(ONE_FLASH), refined_samples(2.8, 3.1))
    assert (outcome.verdict, outcome.score) == ("block", 0.95)
    [segment] = outcome.segments
    assert 2.8 <= segment.start_s < 3.0 < segment.end_s <= 3.2


def test_without_a_refinement_an_isolated_sample_counts_for_review() -> None:
    outcome = judged(samples(ONE_FLASH))
    assert (outcome.verdict, outcome.score, outcome.is_capped) == ("review", 0.5, True)
    assert [(s.start_s, s.end_s, s.peak) for s in outcome.segments] == [(3.0, 4.0, 0.95)]


def test_half_a_refinement_refutes_nothing() -> None:
    before = [sample for sample in refined_samples(3.0, 3.05) if sample.time_s < 3.0]
    assert judged(samples(ONE_FLASH), before).verdict == "review"


def test_an_isolated_sample_never_blocks_even_where_the_thresholds_are_equal() -> None:
    assert judged(samples(ONE_FLASH), limits=Thresholds(0.5, 0.5)).verdict == "review"


@pytest.mark.parametrize(
    ("score", "verdict"), [(0.49, "allow"), (0.5, "review"), (0.79, "review"), (0.8, "block")]
)
def test_a_still_picture_is_judged_by_its_one_frame(score: float, verdict: str) -> None:
    outcome = judged(samples([score]))
    assert (outcome.verdict, outcome.score) == (verdict, score)
    assert len(outcome.segments) == (verdict != "allow")


def test_one_scored_frame_of_many_is_no_still_picture() -> None:
    outcome = judged(samples([None, 0.95, None]))
    assert (outcome.verdict, outcome.scored, outcome.samples) == ("review", 1, 3)


@pytest.mark.parametrize("unscored", ["allow", "review", "block"])
def test_nothing_scored_is_no_score_and_the_verdict_of_the_policy(unscored: Verdict) -> None:
    outcome = judged(samples([None, None]), unscored=unscored)
    assert (outcome.score, outcome.verdict, outcome.segments) == (None, unscored, ())
    assert judged([Sample(0.0, {})], unscored=unscored).verdict == unscored


@given(st.lists(UNIT, min_size=2, max_size=30), st.lists(st.none() | UNIT, max_size=30))
def test_a_refinement_others_asked_for_only_counts_from_review_upwards(
    scores: list[float], foreign: list[float | None]
) -> None:
    first = samples([min(score, 0.49) for score in scores])
    second = samples(foreign, step_s=0.09, start_s=0.03)
    alone, along = judged(first), judged(first, second)
    if along.verdict == "allow":
        assert (along.score, along.segments) == (alone.score, alone.segments)
        assert (along.scored, along.samples) == (alone.scored, alone.samples)
    else:
        assert any(score is not None and score >= 0.5 for score in foreign)


def test_what_another_category_made_us_see_is_not_overlooked() -> None:
    first = samples([0.1] * 6)
    outcome = judged(first, refined_samples(2.5, 2.8))
    assert (outcome.verdict, outcome.score) == ("block", 0.95)


@given(st.lists(st.none() | UNIT, min_size=1, max_size=40), UNIT, UNIT)
def test_score_verdict_and_segments_agree(
    scores: list[float | None], one: float, other: float
) -> None:
    limits = Thresholds(*sorted([one, other]))
    outcome = judged(samples(scores), limits=limits)
    if outcome.score is None:
        return
    assert bool(outcome.segments) == (outcome.score >= limits.review)
    assert (outcome.verdict == "allow") == (outcome.score < limits.review)
    if limits.review < limits.block:
        assert (outcome.verdict == "block") == (outcome.score >= limits.block)


@given(st.lists(st.none() | UNIT, min_size=1, max_size=200))
def test_a_drawn_timeline_keeps_the_highest_score(scores: list[float | None]) -> None:
    cells = judged(samples(scores)).timeline
    assert len(cells) <= TIMELINE_CELLS
    shown = [round_score(score, DEFAULT, TIMELINE_DIGITS) for score in scores if score is not None]
    assert max((cell for cell in cells if cell is not None), default=None) == max(
        shown, default=None
    )


def test_a_stretch_without_a_sample_shows_the_one_before() -> None:
    assert pool(at({0.0: 0.1, 0.1: 0.9, 9.0: 0.2}), "x", 9.0, 3.0, DEFAULT) == (0.9, 0.9, 0.2)
