"""Deciding again comes to what a fresh scan comes to, or says that it can't know."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guardian_cli.detectors.base import DetectorInfo
from guardian_cli.verdict.result import Timing
from tests.fakes import FakeDetector, FakeEndpoint, RoughDetector, brightness
from tests.store.harness import replay, scan_scripts, settings_of

if TYPE_CHECKING:
    from pathlib import Path

    from guardian_cli.verdict.result import ScanResult

PROMPTS = "prompts: {positive: [a], negative: [b]}"
TWO = f"categories: {{nsfw: {{{PROMPTS}}}, violence: {{{PROMPTS}, review: 0.3}}}}\n"
LEVELS = st.lists(st.sampled_from([0, 40, 90, 120, 150, 170, 220, 255]), min_size=1, max_size=60)
CALM, HOT = [30] * 40, [30] * 10 + [250] * 20 + [30] * 10
FLASH = [30] * 20 + [250] * 2 + [30] * 20


def detectors() -> list[FakeDetector]:
    return [
        FakeDetector(categories=("nsfw", "violence")),
        FakeDetector(
            info=DetectorInfo("endpoint", "nsfw", "fake"),
            function=lambda image: brightness(image) ** 2,
        ),
    ]


def comparable(result: ScanResult) -> ScanResult:
    """Without what differs between any two scans."""
    made = {name: one for name, one in (result.made or {}).items() if name != "when"}
    timing = Timing(0.0, 0.0, 0.0)
    return replace(result, made=made, timing=timing)


@pytest.mark.slow
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    scripts=st.lists(LEVELS, min_size=1, max_size=4),
    every_s=st.sampled_from([1.0, 0.5]),
    review=st.sampled_from([0.2, 0.3, 0.5, 0.55, 0.9]),
    custom=st.sampled_from([0.7, 0.2, 0.0]),
    one_category=st.booleans(),
    samples=st.tuples(*[st.sampled_from([None, 1, 10, 1000])] * 2),
)
def test_replay_is_a_fresh_scan_or_asks_for_one(
    tmp_path_factory: pytest.TempPathFactory,
    scripts: list[list[int]],
    every_s: float,
    review: float,
    custom: float,
    one_category: bool,
    samples: tuple[int | None, int | None],
) -> None:
    folder = tmp_path_factory.mktemp("scan")
    scan = f"scan: {{every: {every_s}}}\n"
    scale = "points: [[0, 0.1], [0.4, 0.2], [1, 1]], scale: 0.3, samples: "
    before, after = (
        f"calibration: {{{scale}{one}}}" if one else "calibration: null" for one in samples
    )
    old = settings_of(folder, scan + TWO.replace("nsfw: {", f"nsfw: {{{before}, "))
    first = scan_scripts(scripts, old, detectors(), folder, folder / "store")
    again = replay(folder / "store", old)
    assert list(map(comparable, again)) == list(map(comparable, first))
    category = f"nsfw: {{review: {review}, block: 0.95, {PROMPTS}, {after}}}"
    second = "violence: off" if one_category else f"violence: {{review: 0.6, {PROMPTS}}}"
    fusion = f"fusion: {{custom: {custom}, clip: {1 - custom}}}\n"
    new = settings_of(folder, f"{scan}categories: {{{category}, {second}}}\n{fusion}")
    fresh = scan_scripts(scripts, new, detectors(), folder)
    for result, expected in zip(replay(folder / "store", new), fresh, strict=True):
        if result.needs_rescan:
            assert result.verdict != "allow"
            assert any("needs a rescan" in reason for reason in result.reasons)
        else:
            assert comparable(result) == comparable(expected)


def test_frames_are_those_of_a_scan(tmp_path: Path) -> None:
    old = settings_of(tmp_path, TWO)
    scan_scripts([HOT, FLASH], old, detectors(), tmp_path, tmp_path / "store")
    both = settings_of(tmp_path, TWO.replace("0.3", "0.35"))
    fresh = scan_scripts([HOT, FLASH], both, detectors(), tmp_path)
    for again, expected in zip(
        replay(tmp_path / "store", both, keep_frames=True), fresh, strict=True
    ):
        assert again.samples is not None
        assert len(again.samples) == expected.coverage.frames_scored
        scored = again.samples[0].scores["nsfw"]
        assert (scored.clip, scored.custom) == (round(30 / 255, 6), round((30 / 255) ** 2, 6))


def test_a_flash_that_nobody_looked_at_is_not_allowed(tmp_path: Path) -> None:
    strict = f"categories: {{nsfw: {{review: 0.95, block: 0.99, {PROMPTS}}}, violence: off}}\n"
    clip = [FakeDetector()]
    first = scan_scripts([FLASH], settings_of(tmp_path, strict), clip, tmp_path, tmp_path / "store")
    assert [one.verdict for one in first] == ["allow"]
    (result,) = replay(tmp_path / "store", settings_of(tmp_path, strict.replace("0.95", "0.5")))
    assert (result.verdict, result.needs_rescan) == ("review", True)
    assert "needs a rescan: 1.0 to 3.0 s was never looked at closely" in result.reasons


@pytest.mark.parametrize(
    ("settings_text", "reason"),
    [
        ("scan: {every: 0.5}", "scan.every is 0.5, and was 1.0 when it was stored"),
        ("scan: {max_gap: 9}", "scan.max_gap is 9.0, and was unset when it was stored"),
        ("scan: {detectors: [clip, endpoint, opennsfw]}", "opennsfw never looked at it"),
        ("categories: {gore: {prompts: off}}", "no stored detector scored gore"),
        ("categories: {nsfw: {model: x@1}}", "the model x@1 never looked at it for nsfw"),
        (
            "categories: {violence: {endpoint: 'http://127.0.0.1/score'}}",
            "the endpoint of violence was never asked",
        ),
    ],
)
def test_what_was_never_stored_is_named(tmp_path: Path, settings_text: str, reason: str) -> None:
    default = settings_of(tmp_path)
    scan_scripts([CALM], default, detectors(), tmp_path, tmp_path / "store")
    assert [one.needs_rescan for one in replay(tmp_path / "store", default)] == [False]
    (result,) = replay(tmp_path / "store", settings_of(tmp_path, settings_text))
    assert result.needs_rescan
    assert result.verdict == "review"
    assert f"needs a rescan: {reason}" in result.reasons


def test_each_model_has_its_weights_in_what_made_it(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path,
        "categories: {nsfw: {prompts: off, model: a}, violence: {prompts: off, model: b}}\n",
    )
    models = [
        FakeDetector(info=DetectorInfo("model", name, where, where * 64), categories=(name,))
        for name, where in (("nsfw", "a"), ("violence", "b"))
    ]
    (first,) = scan_scripts([CALM], settings, models, tmp_path, tmp_path / "store")
    (again,) = replay(tmp_path / "store", settings)
    assert comparable(again) == comparable(first)
    # The same folder with other weights in it, or another version that is the champion now.
    (other,) = replay(tmp_path / "store", settings, models={"nsfw": "a" * 64, "violence": "c" * 64})
    assert other.needs_rescan
    assert "needs a rescan: the model b never looked at it for violence" in other.reasons


def test_every_policy_counts(tmp_path: Path) -> None:
    failing = FakeEndpoint(failure="HTTP 500", deployments=("version-1",))
    scripts = [FakeDetector(categories=("nsfw",)), failing]
    scan_scripts([CALM], settings_of(tmp_path), scripts, tmp_path, tmp_path / "store")
    for policy, verdict in (
        ("unscored: allow", "allow"),
        ("unscored: block", "block"),
        ("{unscored: allow, degraded: block}", "block"),
    ):
        text = policy if policy.startswith("{") else f"{{{policy}}}"
        (result,) = replay(tmp_path / "store", settings_of(tmp_path, f"policy: {text}"))
        assert result.verdict == verdict
        assert result.degraded


def test_a_detector_that_is_dropped_counts_no_more(tmp_path: Path) -> None:
    old = settings_of(tmp_path, TWO)
    scan_scripts([HOT], old, detectors(), tmp_path, tmp_path / "store")
    new = settings_of(tmp_path, TWO + "scan: {detectors: [clip]}\n")
    fresh = scan_scripts([HOT], new, detectors()[:1], tmp_path)
    again = replay(tmp_path / "store", new)
    assert [one.categories["nsfw"].score for one in again] == [
        one.categories["nsfw"].score for one in fresh
    ]
    assert [one.name for one in again[0].detectors] == ["clip"]


def test_what_a_rough_score_leaves_open_is_said(tmp_path: Path) -> None:
    def rough() -> list[RoughDetector]:
        return [RoughDetector(off_by=0.0, error=0.03)]

    # 0.85 * 150 / 255 is 0.5: far from these thresholds, and on the next ones.
    far = f"categories: {{nsfw: {{review: 0.9, block: 0.99, {PROMPTS}}}, violence: off}}\n"
    scan_scripts([[150] * 30], settings_of(tmp_path, far), rough(), tmp_path, tmp_path / "store")
    assert not replay(tmp_path / "store", settings_of(tmp_path, far))[0].needs_rescan
    near = settings_of(tmp_path, far.replace("0.9,", "0.51,"))
    (result,) = replay(tmp_path / "store", near)
    assert (result.verdict, result.needs_rescan) == ("review", True)
    assert "nsfw 0.5000 at 0.0 s is too near to a threshold" in result.reasons[0]


def test_a_source_that_failed_stays_failed(tmp_path: Path) -> None:
    old = settings_of(tmp_path)
    clip = FakeDetector(crash=RuntimeError("broken"))
    (failed,) = scan_scripts([CALM], old, [clip], tmp_path, tmp_path / "store")
    (again,) = replay(tmp_path / "store", old)
    assert (again.verdict, again.error, again.reasons) == ("error", failed.error, failed.reasons)
    assert np.isfinite(again.timing.wall_s)
