"""Telling files apart by their first bytes, and whether a container is cut off."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from guardian_cli.media.sniff import sniff
from guardian_cli.media.worker.truncation import is_cut_off
from tests.media.drawing import draw, steady

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PNG = b"\x89PNG\r\n\x1a\n"
HEADER = struct.pack(">I4s", 13, b"IHDR") + bytes(17)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\xff\xd8\xff\xe0rest", "jpeg"),
        (PNG + HEADER + struct.pack(">I4s", 9, b"IDAT"), "png"),
        (PNG + HEADER + struct.pack(">I4s", 8, b"acTL"), "png"),
        (PNG + HEADER, "png"),
        (b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0\x68\4\0\0\x16\0\0\0", "ico"),
        (b"\0\0\1\xb0\1\0\0\1\xb5\x89\x13\0\0\1\0\0\0\1\x20", "media"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "webp"),
        (b"RIFF\0\0\0\0AVI LIST", "media"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "avif"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avismsf1", "media"),
        (b"\0\0\0\x1cftypheic\0\0\0\0mif1heic", "heif"),
        (b"\0\0\0\x1cftypisom\0\0\0\0isommp42", "media"),
        (b"II*\0\x08\0\0\0", "tiff"),
        (b"II+\0\x08\0\0\0", "tiff"),
        (b"GIF89a" + bytes(9), "media"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:5", "playlist"),
        (b"\xef\xbb\xbf \n#EXTM3U", "playlist"),
        (b"FFCONCAT version 1.0\n", "playlist"),
        (b"v=0\r\no=- 0 0", "playlist"),
        (b"<?xml version='1.0'?>\n<MPD xmlns=", "playlist"),
        (b"some words\nhttp://127.0.0.1/a.mp4\n", "playlist"),
        (b"<html><body>404", "text"),
        (b"1\n00:00:01,000 --> 00:00:02,000\nhello", "text"),
        (b"\xff\xfe#\0E\0X\0T\0", "text"),
        (b"\x1a\x45\xdf\xa3\x01\0", "media"),
        (b"", "media"),
    ],
)
def test_first_bytes_tell_files_apart(head: bytes, kind: str) -> None:
    assert sniff(head) == kind


def test_a_stream_of_jpegs_is_told_by_its_name() -> None:
    assert sniff(b"\xff\xd8\xff\xe0rest", "camera.MJPEG") == "media"


def reader(data: bytes) -> Callable[[int, int], bytes]:
    return lambda at, count: data[at : at + count]


@pytest.mark.parametrize("name", ["a.mp4", "b.mkv", "c.webm"])
def test_a_container_is_whole_with_garbage_behind_and_cut_off_without_its_end(
    tmp_path: Path, name: str
) -> None:
    codec = "libvpx" if name.endswith("webm") else "libx264"
    data = draw(tmp_path / name, steady(1), codec=codec).read_bytes()
    garbage = bytes(range(256)) * 20
    assert is_cut_off(reader(data), len(data)) is False
    assert is_cut_off(reader(data + garbage), len(data) + len(garbage)) is False
    for part in (0.3, 0.7, 0.99):
        cut = data[: int(len(data) * part)]
        assert is_cut_off(reader(cut), len(cut)) is True


def test_other_containers_are_not_judged() -> None:
    assert is_cut_off(reader(b"RIFF\0\0\0\0AVI LIST"), 16) is None
    assert is_cut_off(reader(b""), 0) is None


def test_a_gif_is_whole_up_to_its_last_block() -> None:
    frames = [Image.fromarray(np.full((20, 30), shade, np.uint8)) for shade in (0, 90, 200)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=100)
    data = buffer.getvalue()

    def cut_off(part: bytes) -> bool | None:
        return is_cut_off(lambda at, count: part[at : at + count], len(part))

    assert cut_off(data) is False
    assert cut_off(data + b"appended") is False
    for length in range(14, len(data)):
        assert cut_off(data[:length]) is True, length
