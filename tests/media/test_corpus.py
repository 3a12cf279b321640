"""Real and broken files: nothing crashes or hangs us, and good ones give ffprobe's account."""

from __future__ import annotations

import csv
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from guardian_cli.errors import SourceError
from guardian_cli.media.decoder import Decoder
from guardian_cli.media.frames import Coverage, DecodeSettings
from tests.media.oracle import EVERY_S, account

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

NO_VIDEO = {
    "audio_only.mkv", "audio_only.mp3", "audio_only.mp4", "audio_cover.m4a", "subs_only.mkv",
    "mkv_full_blocks.mkv", "mp4_sample_ac3.mp4",
}  # fmt: skip
ERRORS = {
    **dict.fromkeys(NO_VIDEO, "no-video"),
    "encrypted_cenc.mp4": "encrypted",
    "mp4_video_dovi_3840x2160_30fps_dav1_10.mp4": "no-frames",
    "vp9_invalid-bitstream.webm": "no-frames",
}
# A table that promises too much, and sound that can't be decoded; PyAV's newer FFmpeg takes both.
REFUSED_BY_FFPROBE = {
    "h265_video_stco_huge.mp4", "sample_av1_stco_huge.mp4", "sample_stco_huge.mp4",
    "bug603918.webm",
}  # fmt: skip
INCOMPLETE = {"corrupted.mp4"}
LONG = {"long_2h_1fps.mp4", "long_30min_25fps.mp4"}
KINDS = {
    "missing", "empty", "unreadable", "playlist", "no-video", "encrypted", "no-frames",
    "crashed", "timeout", "memory",
}  # fmt: skip


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as one:
        yield one


def outcome(
    decoder: Decoder, path: Path, every_s: float = 1.0
) -> tuple[str, Coverage, list[float]]:
    """Decode a file in full: the error's kind or "", the coverage, and the times of the samples."""
    settings = DecodeSettings(every_s, mode="full", max_gap_s=2 * every_s, timeout_s=60)
    decoding = decoder.open(str(path), settings)
    times: list[float] = []
    try:
        times.extend(frame.time_s for frame in decoding.frames())
    except SourceError as error:
        return error.kind if "\n" not in str(error) else "two lines", decoding.coverage, times
    assert all(a < b for a, b in pairwise(times))
    return "", decoding.coverage, times


def test_good_files_give_every_frame_at_its_time(decoder: Decoder, shared_data: Path) -> None:
    folders = [shared_data / "data" / name for name in ("codecs", "benign")]
    files = [file for folder in folders for file in sorted(folder.rglob("*.*"))]
    checked = 0
    for path in files:
        if path.name in LONG or path.parent.name == "crash":
            continue
        error, coverage, times = outcome(decoder, path, EVERY_S)
        assert error == ERRORS.get(path.name, ""), path
        if error:
            continue
        assert coverage.complete == (path.name not in INCOMPLETE), (path, coverage.notes)
        theirs = account(path)
        if theirs is not None and theirs.frames:
            assert coverage.frames_decoded == theirs.frames, path
        if theirs is not None and theirs.samples_s:
            assert times == pytest.approx(theirs.samples_s, abs=2e-3), path
        checked += 1
    assert checked > 120


def test_a_file_that_aborts_opencv_is_a_video_like_others(
    decoder: Decoder, shared_data: Path
) -> None:
    (path,) = (shared_data / "data" / "codecs" / "crash").glob("*.avi")
    error, coverage, _ = outcome(decoder, path)
    assert error == ""
    assert (coverage.frames_decoded, coverage.complete) == (51, True)


def test_broken_files_are_errors_or_incomplete_or_truly_fine(
    decoder: Decoder, shared_data: Path
) -> None:
    files = sorted(file for file in (shared_data / "data" / "broken").rglob("*") if file.is_file())
    assert len(files) > 250
    for path in files:
        error, coverage, times = outcome(decoder, path)
        if error:
            assert error in KINDS, path
            assert error not in ("crashed", "timeout"), path
            continue
        assert times, path
        if coverage.complete and not coverage.remarks:  # what an edit list hides, PyAV leaves out
            theirs = account(path)
            if theirs is None or path.name in REFUSED_BY_FFPROBE:
                continue
            assert (coverage.frames_decoded, theirs.errors) == (theirs.frames, 0), path


def test_files_that_only_look_odd_are_complete(decoder: Decoder, shared_data: Path) -> None:
    folder = shared_data / "data" / "broken" / "generated"
    with (folder / "MANIFEST.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    good = [row["name"] for row in rows if "good" in row["what"] and "garbage +" not in row["what"]]
    good = [name for name in good if "leading" not in name and (folder / name).exists()]
    assert len(good) > 10
    for name in good:
        _, coverage, _ = outcome(decoder, folder / name)
        assert coverage.complete, (name, coverage.notes)


def test_surveillance_clips_are_complete(decoder: Decoder, shared_data: Path) -> None:
    for path in sorted((shared_data / "data" / "violence").rglob("*.mp4"))[::6]:
        error, coverage, _ = outcome(decoder, path)
        assert not error
        assert coverage.complete, (path, coverage.notes)
        theirs = account(path)
        assert theirs is None or coverage.frames_decoded == theirs.frames


def test_photos_are_one_frame_each(decoder: Decoder, shared_data: Path) -> None:
    for path in sorted((shared_data / "data" / "images").glob("*.*")):
        error, coverage, times = outcome(decoder, path)
        assert (error, times) == ("", [0.0])
        assert coverage.complete


def test_two_hours_are_seen_to_the_end(decoder: Decoder, shared_data: Path) -> None:
    path = shared_data / "data" / "codecs" / "generated" / "long_2h_1fps.mp4"
    _, coverage, times = outcome(decoder, path, 10.0)
    assert coverage.complete
    assert (len(times), times[-1]) == (721, 7199.0)
