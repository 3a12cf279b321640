"""The examples run, and do what they say."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import cv2
import pytest
from examples import draw_video, write_config_example

from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.tiny_clip import TinyClip


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )


def test_draw_video(tmp_path: Path) -> None:
    path = tmp_path / "made" / "star.mp4"
    done = run("examples/draw_video.py", path)
    assert done.stdout.startswith(f"drew {path}")
    video = cv2.VideoCapture(str(path))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == draw_video.FPS * draw_video.SECONDS
    calm, star = draw_video.draw_frame(6.9), draw_video.draw_frame(7.0)
    assert tuple(star[190, 460]) == (40, 40, 230)
    assert tuple(calm[190, 460]) != (40, 40, 230)


def test_write_config_example(tmp_path: Path) -> None:
    path = tmp_path / "guardian.yaml"
    run("examples/write_config_example.py", path)
    assert path.read_text(encoding="utf-8") == write_config_example.example_text()


@pytest.mark.slow
@pytest.mark.xdist_group("tiny-clip")
def test_picture_of_a_scan(tmp_path: Path, tiny_clip: TinyClip) -> None:
    assert tiny_clip.checkpoint.is_file()
    path = tmp_path / "scan.svg"
    run("-m", "examples.picture_of_a_scan", path)
    svg = path.read_text(encoding="utf-8")
    assert "upload.mp4" in svg
    assert "REVIEW" in svg or "BLOCK" in svg
