"""Files for training come through the decoder's own process, within scan's limits."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.console import Console
from guardian_cli.media.decoder import Decoder
from guardian_cli.media.frames import DecodeSettings
from guardian_cli.settings import count_cores, load_settings
from guardian_cli.training.data.dataset import Sample
from guardian_cli.training.data.frame_store import FileFacts, UnreadableError
from guardian_cli.training.data.reader import FileReader, open_reader, spread
from guardian_cli.training.run.train_all import make_tools
from tests.media.drawing import draw, level, steady

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from guardian_cli.training.data.frame_store import FileContent

# A decoder that says it is ready, and then nothing more, as MediaInfo does on a forged index.
HANGING = """
import os, signal
from guardian_cli.media.protocol import pack
os.write(1, pack({"type": "ready", "order": 0}))
signal.pause()
"""


@pytest.fixture(scope="module")
def reader() -> Iterator[FileReader]:
    with open_reader(DecodeSettings(short_side_px=256)) as opened:
        yield opened


def read(reader: FileReader, path: Path, count: int = 5) -> FileContent:
    return reader(Sample(path, "x", str(path)), count)


def test_a_video_gives_frames_spread_over_it_and_its_facts(
    reader: FileReader, tmp_path: Path
) -> None:
    path = draw(tmp_path / "clip.mp4", steady(1.2))
    found = read(reader, path)
    facts = found.facts
    assert (facts.width, facts.height, facts.size_bytes) == (160, 96, path.stat().st_size)
    assert facts.duration_s == pytest.approx(1.2, abs=0.05)
    assert facts.fps == pytest.approx(25, rel=0.1)
    assert [round(level(one) / 8) for one in found.pictures] == pytest.approx(
        [0, 7, 14, 22, 29], abs=2
    )


def test_a_picture_gives_itself(reader: FileReader, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.full((60, 80, 3), 90, np.uint8))
    found = read(reader, path)
    assert [one.shape for one in found.pictures] == [(60, 80, 3)]
    assert found.facts == FileFacts(80, 60, path.stat().st_size)


def test_a_file_that_needs_too_much_memory_is_one_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    cv2.imwrite(str(path), np.zeros((6000, 6000, 3), np.uint8))
    with (
        open_reader(DecodeSettings(memory_mb=64)) as reader,
        pytest.raises(UnreadableError, match="more than 64 MB"),
    ):
        read(reader, path)


def test_a_file_on_which_its_parser_hangs_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "forged.mp4"
    path.write_bytes(b"anything")
    command = [sys.executable, "-c", HANGING]
    reader = FileReader(lambda: Decoder(command), DecodeSettings(timeout_s=0.1))
    with pytest.raises(UnreadableError, match=r"not decoded within 0\.1 s"):
        read(reader, path)
    reader.close()


@given(st.integers(1, 400), st.integers(1, 12))
def test_few_pictures_are_held_and_they_are_spread(total: int, count: int) -> None:
    pictures = [np.full((1, 1, 3), at % 256, np.uint8) for at in range(total)]
    places = {id(one): at for at, one in enumerate(pictures)}
    kept = [places[id(one)] for one in spread(pictures, count)]
    assert len(kept) == min(count, total)
    assert kept == sorted(set(kept))
    if count > 1:
        assert (kept[0], kept[-1]) == (0, total - 1)
        widest = max(np.diff(kept), default=1)
        assert widest <= 2 * total / max(1, count - 1) + 1


def test_training_reads_within_the_limits_of_scan(tmp_path: Path) -> None:
    (tmp_path / "guardian.yaml").write_text("scan: {memory_mb: 700, timeout_s: 7}\n")
    settings = load_settings(environ={}, folder=tmp_path)
    console = Console(quiet=True, out=StringIO(), err=StringIO())
    with make_tools(settings, "m", console) as tools, tools.open_reader() as reader:
        assert isinstance(reader, FileReader)
        limits = replace(DecodeSettings(), memory_mb=700, timeout_s=7, short_side_px=256, threads=1)
        assert reader.settings == limits
        assert tools.workers == count_cores()


def test_cores_are_those_that_the_process_may_use() -> None:
    code = (
        "import os\n"
        "from guardian_cli.settings import count_cores\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "assert count_cores() == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
