"""A model that knows something finds it where it is, through the whole of `guardian scan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import pytest

from tests.guardian_process import guardian, tiny_options, write_settings
from tests.tiny_clip import draw_frame, write_video

if TYPE_CHECKING:
    from tests.tiny_clip import Place, TinyClip

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tiny-clip")]


def scan(folder: Path, tiny: TinyClip, *arguments: str | Path) -> Any:
    write_settings(folder, tiny)
    run = guardian("scan", *arguments, *tiny_options(tiny), "--json", folder=folder)
    assert run.code in {0, 10, 11}, run.err
    return run.scan


@pytest.mark.parametrize("place", ["centre", "left-edge", "right-edge", "top-edge", "corner"])
def test_a_star_from_second_7_to_9_is_found_at_its_time(
    tmp_path: Path, tiny_clip: TinyClip, place: Place
) -> None:
    video = tmp_path / "star.mp4"
    write_video(video, hot=(7.0, 9.0), place=place)
    found = scan(tmp_path, tiny_clip, video)
    assert found["verdict"] in {"review", "block"}
    (segment,) = found["categories"]["nsfw"]["segments"]
    assert segment["start_s"] == pytest.approx(7.0, abs=0.2)
    assert 7.8 <= segment["end_s"] <= 9.0
    assert 7.0 <= segment["peak_s"] < 9.0
    assert found["coverage"]["complete"] is True


def test_variable_frame_rate(tmp_path: Path, tiny_clip: TinyClip) -> None:
    video = tmp_path / "vfr.mp4"
    write_video(video, hot=(7.0, 9.0), vfr=True)
    (segment,) = scan(tmp_path, tiny_clip, video)["categories"]["nsfw"]["segments"]
    assert segment["start_s"] == pytest.approx(7.1, abs=0.2)
    assert 7.8 <= segment["end_s"] <= 9.0


def test_the_last_half_second(tmp_path: Path, tiny_clip: TinyClip) -> None:
    video = tmp_path / "end.mp4"
    write_video(video, seconds=10.6, hot=(10.1, 10.6))
    found = scan(tmp_path, tiny_clip, video)
    assert found["verdict"] in {"review", "block"}
    (segment,) = found["categories"]["nsfw"]["segments"]
    assert 10.1 <= segment["start_s"] <= segment["peak_s"] <= segment["end_s"] <= 10.6


def test_a_wide_frame(tmp_path: Path, tiny_clip: TinyClip) -> None:
    video = tmp_path / "wide.mp4"
    write_video(video, size=(1280, 360), place="right-edge", hot=(3.0, 6.0), seconds=8)
    assert scan(tmp_path, tiny_clip, video)["verdict"] in {"review", "block"}


@pytest.mark.parametrize(("bars", "place"), [((70, 0), "top-edge"), ((0, 180), "right-edge")])
def test_a_star_in_a_bar_is_found(
    tmp_path: Path, tiny_clip: TinyClip, bars: tuple[int, int], place: Place
) -> None:
    video = tmp_path / "bars.mp4"
    write_video(video, place=place, bars=bars)
    found = scan(tmp_path, tiny_clip, video)
    assert found["verdict"] in {"review", "block"}
    segment = max(found["categories"]["nsfw"]["segments"], key=lambda one: one["peak"])
    assert segment["start_s"] == pytest.approx(7.0, abs=0.2)
    assert (found["media"]["width"], found["media"]["height"]) == (640, 360)


def test_a_video_without_a_star_is_allowed(tmp_path: Path, tiny_clip: TinyClip) -> None:
    video = tmp_path / "calm.mp4"
    write_video(video, hot=None)
    found = scan(tmp_path, tiny_clip, video)
    assert found["verdict"] == "allow"
    assert found["categories"]["nsfw"]["segments"] == []
    assert found["reasons"] == []


def test_a_single_hot_frame_never_blocks(tmp_path: Path, tiny_clip: TinyClip) -> None:
    video = tmp_path / "flash.mp4"
    write_video(video, fps=25, hot=(5.0, 5.03))
    found = scan(tmp_path, tiny_clip, video, "--decode", "full")
    assert found["verdict"] in {"allow", "review"}
    assert any("not confirmed" in reason or "5.0" in reason for reason in found["reasons"])


def test_a_short_scene_between_two_samples_is_confirmed(
    tmp_path: Path, tiny_clip: TinyClip
) -> None:
    video = tmp_path / "short.mp4"
    write_video(video, fps=25, hot=(4.8, 5.6))
    found = scan(tmp_path, tiny_clip, video, "--frames")
    assert found["verdict"] in {"review", "block"}
    # The second look is counted like the first, and no frame twice.
    scored = len(found["frames"])
    assert scored > 13
    assert scored == found["coverage"]["frames_scored"] == found["detectors"][0]["frames"]
    (segment,) = found["categories"]["nsfw"]["segments"]
    assert segment["start_s"] == pytest.approx(4.8, abs=0.15)
    assert segment["end_s"] == pytest.approx(5.55, abs=0.15)


def test_a_still_is_judged_by_its_one_frame(tmp_path: Path, tiny_clip: TinyClip) -> None:
    for name in ("star.png", "star.webp", "star.jpg"):
        cv2.imwrite(str(tmp_path / name), draw_frame(("red", "star")))
        found = scan(tmp_path, tiny_clip, tmp_path / name)
        assert found["media"]["kind"] == "image"
        assert found["verdict"] in {"review", "block"}, name
        assert found["coverage"]["frames_scored"] == 1
    cv2.imwrite(str(tmp_path / "circle.png"), draw_frame(("blue", "circle")))
    assert scan(tmp_path, tiny_clip, tmp_path / "circle.png")["verdict"] == "allow"


def test_safetensors_give_the_same(tmp_path: Path, tiny_clip: TinyClip) -> None:
    video = tmp_path / "star.mp4"
    write_video(video, seconds=9)
    write_settings(tmp_path, tiny_clip)
    options = tiny_options(tiny_clip)
    first = guardian("scan", video, *options, "--frames", "--json", folder=tmp_path).scan
    options[-1] = str(tiny_clip.safetensors)
    second = guardian("scan", video, *options, "--frames", "--json", folder=tmp_path).scan
    assert first["frames"] == second["frames"]
    assert Path(second["detectors"][0]["model"]).name == "tiny.safetensors"
