"""`scan --store` and `guardian replay` as their users have them, with a CLIP that knows a star."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.guardian_process import COMMAND, environment, guardian, tiny_options, write_settings
from tests.tiny_clip import draw_frame, write_video

if TYPE_CHECKING:
    from pathlib import Path

    from tests.tiny_clip import TinyClip

pytestmark = pytest.mark.slow

# A detector that starts fast, for what does not depend on CLIP.
OPENNSFW = "scan: {detectors: [opennsfw]}\ncategories: {violence: off}\n"


@pytest.fixture
def folder(tmp_path: Path, tiny_clip: TinyClip) -> Path:
    """Three sources in `in/`, of which one shows a red star."""
    import cv2

    write_settings(tmp_path, tiny_clip)
    (tmp_path / "in").mkdir()
    write_video(tmp_path / "in" / "calm.mp4", seconds=4, hot=None, size=(320, 180))
    write_video(tmp_path / "in" / "star.mp4", seconds=6, hot=(2.0, 5.0), size=(320, 180))
    cv2.imwrite(str(tmp_path / "in" / "picture.png"), draw_frame(("blue", "circle")))
    (tmp_path / "in" / "broken.mp4").write_bytes(b"no video")
    return tmp_path


def scan(folder: Path, tiny: TinyClip, *more: str) -> Any:
    return guardian("scan", "in", *tiny_options(tiny), *more, folder=folder)


def comparable(document: Any) -> Any:
    """Without what differs between two scans of the same things."""
    for one in document["scans"]:
        del one["timing"], one["made"]["when"]
    return {**document, "skipped": {}}


def test_replay_gives_the_document_of_the_scan(folder: Path, tiny_clip: TinyClip) -> None:
    scanned = scan(folder, tiny_clip, "--store", "store", "--json", "--frames")
    assert scanned.code == 11, scanned.err
    again = guardian("replay", "store", "--json", "--frames", folder=folder)
    assert again.code == 11, again.err
    assert comparable(again.document) == comparable(scanned.document)
    assert again.err == ""
    assert not [one["needs_rescan"] for one in again.document["scans"] if one["needs_rescan"]]
    kept = b"".join(path.read_bytes() for path in (folder / "store").rglob("*.parquet"))
    assert str(folder).encode() not in kept

    # What would flip: another threshold, other categories and prompts, each without the model.
    settings = json.loads((folder / "guardian.yaml").read_text().partition(": ")[2].split("\n")[0])
    settings["nsfw"] |= {"review": 0.01, "block": 0.02}
    strict = folder / "strict.yaml"
    strict.write_text(f"categories: {json.dumps(settings)}\n")
    lines = guardian("replay", "store", "--config", strict, "--jsonl", folder=folder).lines
    assert {line["source"]: line["verdict"] for line in lines}["in/star.mp4"] == "block"
    settings["circle"] = {"prompts": {"positive": ["a blue circle"], "negative": ["a red star"]}}
    strict.write_text(f"categories: {json.dumps(settings)}\n")
    new = ("replay", "store", "--config", strict, "--categories", "circle", "--json")
    missing = guardian(*new, folder=folder)
    assert missing.code == 5, missing.err
    assert "hint: guardian replay store --pretrained" in missing.err
    found = guardian(*new, "--pretrained", tiny_clip.checkpoint, folder=folder)
    assert found.code in {10, 11}, found.err
    fresh = scan(folder, tiny_clip, "--config", str(strict), "--categories", "circle", "--json")
    for old, one in zip(fresh.document["scans"], found.document["scans"], strict=True):
        assert one["source"] == old["source"]
        assert (one["verdict"] == old["verdict"]) or one["needs_rescan"]
        for name, category in old["categories"].items():
            score = one["categories"][name]["score"]
            assert score == pytest.approx(category["score"], abs=2e-3)
    # The prompts are remembered: nobody needs the weights for them any more.
    assert guardian(*new, folder=folder).out.count('"circle"') == found.out.count('"circle"')

    for other in (["--model", "ViT-L-14"], ["--pretrained", "openai"]):
        refused = guardian("replay", "store", *other, folder=folder)
        assert (refused.code, refused.out) == (2, ""), refused.err
        assert "holds features of tiny/tiny.pt" in refused.err
    another = folder / "other.pt"
    another.write_bytes(b"other weights")
    refused = guardian("replay", "store", "--pretrained", another, folder=folder)
    assert (refused.code, refused.out) == (2, ""), refused.err


def test_a_store_takes_no_other_weights(folder: Path, tiny_clip: TinyClip) -> None:
    (folder / "store").mkdir()
    kept = {"model": "ViT-B-32/other", "weights": "sha256:00"}
    (folder / "store" / "model.json").write_text(json.dumps(kept))
    run = scan(folder, tiny_clip, "--store", "store", "--json")
    assert (run.code, run.out) == (2, "")
    assert "error: --store store holds features of ViT-B-32/other" in run.err
    assert "hint: " in run.err


def test_resume_fills_what_the_store_lacks(folder: Path) -> None:
    (folder / "guardian.yaml").write_text(OPENNSFW)
    assert guardian("scan", "in", "--resume", "out.jsonl", folder=folder).code == 3
    both = ("scan", "in", "--resume", "out.jsonl", "--store", "store", "--jsonl")
    assert len(guardian(*both, folder=folder).lines) == 4
    # All is held and stored now; what failed is tried again.
    (next((folder / "store").glob("source-*0000001.parquet"))).unlink()
    again = guardian(*both, folder=folder)
    assert len(again.lines) == 2
    assert "not in the store" in again.err
    assert len(guardian("replay", "store", "--jsonl", folder=folder).lines) == 4


def test_a_kill_leaves_whole_sources_and_the_same_command_finishes(folder: Path) -> None:
    (folder / "guardian.yaml").write_text(OPENNSFW)
    for number in range(6):
        (folder / "in" / f"{number}.mp4").symlink_to(folder / "in" / "calm.mp4")
    arguments = ["scan", "in", "--workers", "1", "--store", "store", "--resume", "out.jsonl"]
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 60
    while not list((folder / "store").glob("source-*.parquet")) and time.monotonic() < until:
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert guardian("replay", "store", "--jsonl", folder=folder).lines
    assert guardian(*arguments, folder=folder).code == 3
    lines = guardian("replay", "store", "--jsonl", folder=folder).lines
    text = (folder / "out.jsonl").read_text(encoding="utf-8")
    assert {one["source"] for one in lines} == {
        json.loads(line)["source"] for line in text.splitlines()
    }


@pytest.mark.parametrize("name", ["none", "guardian.yaml", "in"])
def test_what_is_no_store_is_exit_2(folder: Path, name: str) -> None:
    run = guardian("replay", name, "--json", folder=folder)
    assert (run.code, run.out) == (2, "")
    error, hint = run.err.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")


def test_real_files_are_decided_again_as_they_were(
    shared_data: Path, tmp_path: Path, tiny_clip: TinyClip
) -> None:
    write_settings(tmp_path, tiny_clip, "scan: {every: 0.5}\n")
    named = [shared_data / "data" / one for one in ("images", "broken/nestegg")]
    options = [*tiny_options(tiny_clip), "--store", "store", "--json"]
    scanned = guardian("scan", *named, *options, folder=tmp_path)
    again = guardian("replay", "store", "--json", folder=tmp_path)
    assert again.code == scanned.code
    assert comparable(again.document) == comparable(scanned.document)
