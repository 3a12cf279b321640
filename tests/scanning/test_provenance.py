"""The fingerprint changes with all that can change a result, and with nothing else."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from guardian_cli.detectors.base import Absent, DetectorInfo
from guardian_cli.detectors.detector_set import DetectorSet
from guardian_cli.media.sources import Source
from guardian_cli.scanning.pipeline import ScanRequest
from guardian_cli.scanning.provenance import Provenance, scale_digest
from guardian_cli.settings import load_settings
from tests.fakes import FakeDetector

FILE = Source("file", "a.mp4", "a.mp4")
STREAM = Source("stream", "rtsp://host/x", "rtsp://host/x")
CLIP = DetectorInfo("clip", None, "ViT-B-32/tag", "ab" * 32)
ENDPOINT = DetectorInfo("endpoint", "nsfw", "https://host/score")
GONE = DetectorInfo("nudenet", "nsfw", None)
URI = "https://me:secret@host/score?code=hidden"


def provenance(
    folder: Path,
    settings: str = "{}",
    *,
    detectors: tuple[DetectorInfo, ...] = (CLIP, ENDPOINT),
    absent: tuple[Absent, ...] = (),
    offline: bool = False,
    uri: str = URI,
    **options: Any,
) -> Provenance:
    (folder / "guardian.yaml").write_text(settings, encoding="utf-8")
    loaded = load_settings(environ={"NSFW_MODEL_ENDPOINT": uri}, folder=folder)
    panel = DetectorSet([FakeDetector(info=info) for info in detectors], list(absent), offline)
    return Provenance(replace(ScanRequest(("a.mp4",)), **options), loaded, panel)


@pytest.mark.parametrize(
    "change",
    [
        {"settings": "categories: {nsfw: {review: 0.4}}"},
        {"settings": "categories: {nsfw: {block: 0.7}}"},
        {"settings": "categories: {nsfw: {calibration: {samples: 60, scale: 0.2}}}"},
        {"settings": "categories: {nsfw: {prompts: {positive: [a], negative: [b]}}}"},
        {"settings": "categories: {gore: {prompts: {positive: [a], negative: [b]}}}"},
        {"settings": "policy: {degraded: review}"},
        {"settings": "fusion: {clip_only: 0.8}"},
        {"settings": "scan: {every: 0.5, max_gap: 2}"},
        {"settings": "scan: {max_gap: 3}"},
        {"decode": "full"},
        {"detectors": (CLIP,)},
        {"detectors": (replace(CLIP, weights="cd" * 32), ENDPOINT)},
        {"detectors": (replace(CLIP, model="ViT-L-14/tag"), ENDPOINT)},
        {"absent": (Absent(GONE, "unavailable", "not installed"),)},
        {"uri": URI.replace("host", "other")},
        {"uri": URI.replace("hidden", "other")},
    ],
)
def test_what_can_change_a_result_changes_the_fingerprint(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    usual = provenance(tmp_path).fingerprint(FILE)
    assert provenance(tmp_path, **change).fingerprint(FILE) != usual


@pytest.mark.parametrize(
    "change",
    [
        {"settings": "target: azure\nazure: {location: x}"},
        {"settings": "models: {mine: {category: nsfw}}"},
        {"settings": "scan: {timeout_s: 5, memory_mb: 1024, max_gap: 2}"},
        {"settings": "clip: {pretrained: /somewhere/else/tag}"},
        {"detectors": (ENDPOINT, CLIP)},
        {"absent": (Absent(GONE, "off", "--no-endpoints"),)},
        {"absent": (Absent(GONE, "unavailable", "not installed"),), "offline": True},
        {"sources": ("b.mp4",), "output": "json", "frames": True, "fail_on": "never"},
        {"device": "cuda", "precision": "bf16", "workers": 3, "resume": Path("x"), "for_s": 9.0},
    ],
)
def test_what_can_not_leaves_it(tmp_path: Path, change: dict[str, Any]) -> None:
    usual = provenance(tmp_path).fingerprint(FILE)
    assert provenance(tmp_path, **change).fingerprint(FILE) == usual


def test_a_new_option_counts_until_somebody_says_that_it_does_not(tmp_path: Path) -> None:
    parts = provenance(tmp_path).inputs(is_stream=False)
    named = {one.name for one in fields(ScanRequest)}
    assert set(parts["options"]) <= named
    assert "decode" in parts["options"]


def test_how_long_a_stream_is_watched_counts_for_streams_alone(tmp_path: Path) -> None:
    short, long = provenance(tmp_path, for_s=5.0), provenance(tmp_path, for_s=9.0)
    assert short.fingerprint(STREAM) != long.fingerprint(STREAM)
    assert short.fingerprint(FILE) == long.fingerprint(FILE)


def test_a_model_config_counts_by_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text("{}")
    before = provenance(tmp_path, model_config=path).fingerprint(FILE)
    path.write_text('{"embed_dim": 8}')
    assert provenance(tmp_path, model_config=path).fingerprint(FILE) != before


def test_made_says_all_and_gives_no_secret_away(tmp_path: Path) -> None:
    found = provenance(tmp_path)
    made = found.made(FILE)
    assert made["weights"] == {"clip": f"sha256:{'ab' * 32}"}
    assert made["endpoints"] == {"nsfw": "https://host/score?…"}
    assert made["thresholds"]["nsfw"] == {"review": 0.5, "block": 0.8}
    assert set(made["prompts"]) == {"nsfw", "violence"}
    assert made["fingerprint"] == found.fingerprint(FILE)
    assert "secret" not in str(made)
    assert "hidden" not in str(found.inputs(is_stream=False))


def test_a_calibration_that_was_fitted_to_other_scores_is_told(tmp_path: Path) -> None:
    calibrated = "categories: {nsfw: {calibration: {every: EVERY, fitted_to: DIGEST}}}"
    digest = scale_digest(provenance(tmp_path).made(FILE), "nsfw")

    def told(every: float, digest: str, detector: DetectorInfo = CLIP, uri: str = URI) -> list[str]:
        text = calibrated.replace("EVERY", str(every)).replace("DIGEST", repr(digest))
        made = provenance(tmp_path, text, detectors=(detector, ENDPOINT), uri=uri)
        assert made.made(FILE)["calibration"].keys() == {"nsfw"}
        return list(made.stale_calibrations())

    assert told(1.0, digest) == []
    assert told(0.5, digest) == ["nsfw: its calibration is for a frame every 0.5 s"]
    other = replace(CLIP, weights="cd" * 32)
    said = ["nsfw: its calibration fits other prompts, weights, endpoint or fusion"]
    assert told(1.0, digest, other) == said
    assert told(1.0, digest, uri=URI.replace("host", "other")) == said
    assert list(provenance(tmp_path).stale_calibrations()) == []
