"""The verdict of a source and of a batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.config import PolicySection
from guardian_cli.detectors.fusion import CategoryScore
from guardian_cli.errors import SourceError
from guardian_cli.verdict.policy import (
    FailOn,
    ScanVerdict,
    exit_code,
    judge,
    worst,
)
from guardian_cli.verdict.result import DetectorReport, Outcome
from guardian_cli.verdict.timeline import Sample
from tests.verdict.series import DEFAULT, SEEN, samples

CLIP = DetectorReport("clip", None, "ViT-B-32/tag", "ok", None, 11)
BROKEN = replace(SEEN, complete=False)
LEVELS = st.sampled_from(["allow", "review", "block"])
OUTCOMES = st.lists(st.sampled_from(["allow", "review", "block", "error"]))


def judged(scores: list[float | None], **more: Any) -> ScanVerdict:
    limits = {
        "thresholds": {"x": DEFAULT},
        "policy": PolicySection(),
        "coverage": SEEN,
        "detectors": [CLIP],
    }
    return judge(samples(scores), every_s=1.0, **{**limits, **more})


def test_a_clean_and_complete_scan_is_allowed_without_a_word() -> None:
    outcome = judged([0.1, 0.2, 0.1])
    assert (outcome.verdict, outcome.reasons, outcome.degraded) == ("allow", (), False)


def test_the_worst_category_decides_and_comes_first() -> None:
    first = [
        Sample(
            t, {"mild": CategoryScore(0.71), "bad": CategoryScore(0.9), "none": CategoryScore(0.1)}
        )
        for t in (12.0, 13.0)
    ]
    limits = {"mild": DEFAULT, "bad": DEFAULT, "none": DEFAULT}
    outcome = judge(first, thresholds=limits, policy=PolicySection(), coverage=SEEN, every_s=1.0)
    assert outcome.verdict == "block"
    assert outcome.reasons == ("bad 0.90 at 12.0 s", "mild 0.71 at 12.0 s")


def test_a_reason_never_rounds_up_to_a_threshold() -> None:
    assert judged([0.7999, 0.7999]).reasons == ("x 0.7999 at 0.0 s",)
    assert judged([0.5295, 0.5295]).reasons == ("x 0.53 at 0.0 s",)
    assert judged([0.58, 0.58]).reasons == ("x 0.58 at 0.0 s",)


def test_a_reason_has_the_time_of_its_segments_peak() -> None:
    outcome = judged([0.1, 0.6, 0.6, 0.75, 0.6, 0.1])
    (segment,) = outcome.categories["x"].segments
    assert segment.peak_s == 3.0
    assert outcome.reasons == ("x 0.60 at 3.0 s",)


def test_a_still_picture_has_no_time() -> None:
    assert judged([0.71], kind="image").reasons == ("x 0.71",)


def test_what_counts_for_review_only_says_so() -> None:
    outcome = judged([0.1, 0.95, 0.1])
    assert outcome.verdict == "review"
    assert outcome.reasons == ("x 0.95 at 1.0 s (counts for review only)",)


def test_unconfirmed_samples_are_mentioned_last_and_change_nothing() -> None:
    times = [i / 11 for i in range(45)]
    first = samples([0.1, 0.91, 0.1, 0.81, 0.1])
    second = [Sample(t, {"x": CategoryScore(0.0)}) for t in times]
    outcome = judge(
        first, second, thresholds={"x": DEFAULT}, policy=PolicySection(), coverage=SEEN, every_s=1.0
    )
    assert outcome.verdict == "allow"
    assert outcome.reasons == ("x 0.91 at 1.0 s was not confirmed, nor 1 more",)


@pytest.mark.parametrize(
    ("coverage", "reasons"),
    [
        (replace(BROKEN, notes=("stopped at 3.1 s of 10.0 s",)), ["stopped at 3.1 s of 10.0 s"]),
        (replace(BROKEN, decode_errors=3), ["3 decode errors"]),
        (replace(BROKEN, decode_errors=1), ["1 decode error"]),
        (replace(BROKEN, reached_end=False), ["did not reach the end"]),
        (replace(BROKEN, largest_gap_s=5.0), ["nothing scored for 5.0 s"]),
        (replace(BROKEN, largest_gap_s=None), ["not all of it was seen"]),
    ],
)
def test_an_incomplete_scan_says_why(coverage: Any, reasons: list[str]) -> None:
    outcome = judged([0.1, 0.1], coverage=coverage)
    assert outcome.verdict == "review"
    assert list(outcome.reasons) == [f"incomplete: {reason}" for reason in reasons]


def test_unscored_categories_name_who_should_have_scored_them() -> None:
    gone = DetectorReport("clip", None, "m", "unavailable", "no weights", 0)
    down = DetectorReport("endpoint", "x", "http://x/score", "degraded", "401 Unauthorized", 0)
    outcome = judged([None, None], detectors=[gone, down])
    assert (outcome.verdict, outcome.degraded) == ("review", True)
    assert outcome.reasons == (
        "x unscored: clip unavailable, x endpoint degraded",
        "degraded: clip: no weights",
        "degraded: x endpoint: 401 Unauthorized",
    )
    assert judged([None]).reasons == ("x unscored: no detector scored it",)


@pytest.mark.parametrize(
    ("degraded", "misconfigured", "verdict"),
    [
        ("allow", "review", "review"),
        ("allow", "block", "block"),
        ("allow", "allow", "allow"),
        ("block", "review", "block"),
    ],
)
def test_a_wrong_key_is_no_outage(degraded: Any, misconfigured: Any, verdict: str) -> None:
    wrong = DetectorReport(
        "endpoint", "x", None, "degraded", "401 Unauthorized: set X_KEY", 0, misconfigured=True
    )
    policy = PolicySection(degraded=degraded, misconfigured=misconfigured)
    outcome = judged([0.1, 0.1], policy=policy, detectors=[CLIP, wrong])
    assert (outcome.verdict, outcome.degraded) == (verdict, True)
    assert outcome.reasons == ("misconfigured: x endpoint: 401 Unauthorized: set X_KEY",)
    down = replace(wrong, misconfigured=False)
    assert judged([0.1, 0.1], policy=policy, detectors=[CLIP, down]).verdict == degraded


def test_offline_and_switched_off_detectors_do_not_degrade() -> None:
    gone = DetectorReport("clip", None, "m", "unavailable", "no weights", 0)
    off = DetectorReport("endpoint", "x", None, "off", "--offline", 0)
    assert not judged([0.1, 0.1], detectors=[gone, off], offline=True).degraded
    assert judged([0.1, 0.1], detectors=[gone, off]).degraded


def test_some_unscored_frames_raise_the_verdict() -> None:
    outcome = judged([0.1, None, 0.1, None])
    assert (outcome.verdict, outcome.categories["x"].verdict) == ("review", "allow")
    assert outcome.reasons == ("x: 2 of 4 frames unscored",)


@given(LEVELS, LEVELS, LEVELS, st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=8))
def test_the_verdict_is_the_worst_of_all_that_applies(
    incomplete: Any, unscored: Any, degraded: Any, scores: list[float | None]
) -> None:
    down = DetectorReport("endpoint", "x", None, "degraded", "refused", 0)
    policy = PolicySection(incomplete=incomplete, unscored=unscored, degraded=degraded)
    outcome = judged(scores, policy=policy, coverage=BROKEN, detectors=[down])
    least: list[Outcome] = [incomplete, degraded, outcome.categories["x"].verdict]
    least += [unscored] if None in scores else []
    assert outcome.verdict == worst(least)
    assert len(outcome.reasons) >= 2


@pytest.mark.parametrize("arguments", [{"thresholds": {}}, {}])
def test_nothing_seen_is_no_verdict(arguments: dict[str, Any]) -> None:
    with pytest.raises(SourceError) as caught:
        judged([0.1] if arguments else [], **arguments)
    assert caught.value.kind == "no-frames"


@pytest.mark.parametrize(
    ("verdicts", "fail_on", "code"),
    [
        (["allow", "review", "error", "block"], "review", 11),
        (["allow", "review", "error", "block"], "block", 11),
        (["allow", "review", "error", "block"], "never", 3),
        (["allow", "review", "error"], "review", 3),
        (["allow", "review"], "review", 10),
        (["allow", "review"], "block", 0),
        (["block", "review"], "never", 0),
        (["allow"], "review", 0),
        ([], "never", 3),
    ],
)
def test_exit_codes(verdicts: list[Outcome], fail_on: FailOn, code: int) -> None:
    assert exit_code(verdicts, fail_on) == code


@given(OUTCOMES)
def test_the_batch_verdict_and_the_exit_code_say_the_same(verdicts: list[Outcome]) -> None:
    codes = {"block": 11, "error": 3, "review": 10, "allow": 0}
    assert exit_code(verdicts) == codes[worst(verdicts)]
