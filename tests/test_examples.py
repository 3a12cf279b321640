"""The examples run, and do what they say."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import cv2
import pytest
from examples import draw_video, write_config_example

from tests.conftest import REPOSITORY
from tests.guardian_process import environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.azure_loopback.azure import LoopbackAzure
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_try_azure(tmp_path: Path, azure: LoopbackAzure) -> None:
    """All of it on the loopback Azure; then only what was there before is left."""
    command = [sys.executable, "examples/try_azure.py", "--subscription", azure.subscription_id]
    env = environment(tmp_path, **azure.environment(), PYTHONPATH=str(REPOSITORY / "src"))
    asked = subprocess.run(
        command, cwd=REPOSITORY, env=env, input="no\n", capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert asked.returncode == 2
    assert "about $0.59 for 1 h" in asked.stdout
    assert not [one for one in azure.requests if one.method not in {"GET", "HEAD"}]
    done = subprocess.run(
        [*command, "--yes"], cwd=REPOSITORY, env=env, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "12 checks passed; none failed" in done.stdout
    assert list(azure.cloud.groups) == [azure.resource_group]
    assert not azure.workspaces
