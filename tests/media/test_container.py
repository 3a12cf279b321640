"""MediaInfo's tracks turned into what the decoder wants to know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardian_cli.media.container import NOTHING_KNOWN, describe, summarize
from tests.media.drawing import draw, steady

if TYPE_CHECKING:
    from pathlib import Path

GENERAL = {"track_type": "General", "format": "Matroska"}


def test_the_default_track_counts_with_its_own_length() -> None:
    found = summarize(
        [
            {**GENERAL, "duration": 20000},
            {"track_type": "Video", "default": "No", "duration": "2000.0", "width": 64},
            {"track_type": "Video", "default": "Yes", "duration": "1500.0", "format": "AVC"},
            {"track_type": "Audio", "duration": 20000},
        ]
    )
    assert found.video is not None
    assert (found.video.codec, found.video.duration_s) == ("AVC", 1.5)
    assert found.others == ("Audio",)
    assert not found.truncated


def test_encryption_truncation_and_lists_are_seen() -> None:
    video = {"track_type": "Video", "encryption": "Encrypted"}
    found = summarize([{**GENERAL, "istruncated": "Yes"}, video])
    assert found.truncated
    assert found.video is not None
    assert found.video.encrypted
    assert summarize([{"track_type": "General", "format": "HLS"}]).is_playlist


def test_numbers_that_make_no_sense_are_unknown() -> None:
    found = summarize(
        [{"track_type": "Video", "duration": "-5", "width": "x", "frame_count": "nan"}]
    )
    assert found.video is not None
    assert (found.video.duration_s, found.video.width, found.video.frame_count) == (None, 0, None)


def test_a_drawn_file_is_described(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.mkv", steady(2))
    with path.open("rb") as file:
        found = describe(file.fileno(), 30)
    assert found is not None
    assert found.video is not None
    assert found.video.codec == "AVC"
    assert found.video.duration_s is not None
    assert abs(found.video.duration_s - 2) < 0.1


def test_what_is_no_media_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\1\2\3" * 100)
    with path.open("rb") as file:
        found = describe(file.fileno(), 30)
    assert found is not None
    assert (found.videos, found.others) == (NOTHING_KNOWN.videos, ())
