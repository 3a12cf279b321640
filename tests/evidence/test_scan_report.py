"""`guardian scan --report`: a real scan, one that is killed, and the same command again."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import cv2
import pytest

from guardian_cli.reports.results_file import read_results
from tests.guardian_process import COMMAND, environment, guardian, tiny_options, write_settings
from tests.tiny_clip import write_video

if TYPE_CHECKING:
    from pathlib import Path

    from tests.tiny_clip import TinyClip

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tiny-clip")]


@pytest.fixture
def folder(tmp_path: Path, tiny_clip: TinyClip) -> Path:
    write_settings(tmp_path, tiny_clip)
    for name in ("a", "b", "c"):
        write_video(tmp_path / f"{name}.mp4", seconds=6, hot=(2.0, 4.0))
    return tmp_path


def stills(folder: Path) -> list[Path]:
    return sorted((folder / "report" / "stills").glob("*.jpg"))


def test_the_sheet_has_a_small_still_of_the_peak_and_no_secret(
    folder: Path, tiny_clip: TinyClip
) -> None:
    options = (*tiny_options(tiny_clip), "--report", "report", "--output", "md=r.md")
    run = guardian(
        "scan", "a.mp4", *options, folder=folder,
        NSFW_MODEL_ENDPOINT="http://127.0.0.1:9/score", MODEL_ENDPOINT_KEY="secret-key",
    )  # fmt: skip
    assert run.code in {10, 11}, run.err
    (still,) = stills(folder)
    picture = cv2.imread(str(still))
    assert picture is not None
    assert min(picture.shape[:2]) <= 180
    for path in (folder / "report").rglob("*.*"):
        data = path.read_bytes()
        assert b"secret-key" not in data
        assert str(folder).encode() not in data, path
    assert str(folder) not in (folder / "r.md").read_text()


def test_what_a_kill_left_can_be_read_and_the_same_command_finishes_it(
    folder: Path, tiny_clip: TinyClip
) -> None:
    words = ["scan", "a.mp4", "b.mp4", "c.mp4", *tiny_options(tiny_clip), "--workers", "1"]
    words += ["--resume", "r.jsonl", "--report", "report", "--output", "csv=r.csv", "--jsonl"]
    scan = subprocess.Popen(
        [*COMMAND, *words],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert scan.stdout is not None
    # With its line a source's stills are there.
    assert scan.stdout.readline()
    scan.kill()
    scan.communicate()
    assert stills(folder)
    assert list(read_results(folder / "r.jsonl"))
    run = guardian(*words, folder=folder)
    assert run.code in {10, 11}, run.err
    assert re.search(r"[123] done already", run.err)
    index = (folder / "report" / "index.html").read_text("utf-8")
    assert "3 sources" in index
    pages = [path.read_text("utf-8") for path in (folder / "report" / "sources").iterdir()]
    assert len(pages) == 3
    assert all('class="still"' in page for page in pages), "also of the one that stood"
    assert not list((folder / "report").rglob("*.part"))
    assert len((folder / "r.csv").read_text().splitlines()) == 4
