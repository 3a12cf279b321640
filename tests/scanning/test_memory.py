"""A video of two hours takes no more memory than one of a minute."""

from __future__ import annotations

from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from guardian_cli.media.frames import DecodeSettings
from guardian_cli.scanning.decoder_pool import DecoderPool
from tests.fakes import FakeDetector
from tests.scanning.harness import BOTH, running_scorer, scan_context, scan_one

pytestmark = pytest.mark.slow


def write_long_video(path: Path, seconds: int) -> None:
    """One frame a second, H.264, with B-frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1, options={"preset": "superfast"})
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for second in range(seconds):
            picture = np.full((180, 320, 3), second % 120, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = second, Fraction(1, 1)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def peak_kib(pid: int | str) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def children() -> set[int]:
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(child) for task in tasks for child in task.read_text().split()}


def scan(path: Path) -> tuple[int, int]:
    """Scan and return the frames scored and the decoder's peak memory in KiB."""
    before = children()
    with running_scorer([FakeDetector()], BOTH) as scorer, closing(DecoderPool(1)) as pool:
        context = scan_context(scorer, decoding=DecodeSettings(short_side_px=64))
        result = scan_one(context, pool, path)
        (worker,) = children() - before
        assert result.coverage.complete, result.reasons
        return result.coverage.frames_scored, peak_kib(worker)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    minute, long = tmp_path / "minute.mp4", tmp_path / "long.mp4"
    write_long_video(minute, 60)
    write_long_video(long, 7200)
    frames, small_kib = scan(minute)
    assert frames == 60
    own_kib = peak_kib("self")
    frames, large_kib = scan(long)
    assert frames == 7200
    assert large_kib - small_kib < 30_000
    assert peak_kib("self") - own_kib < 60_000
