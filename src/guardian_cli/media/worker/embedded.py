"""What else a picture file holds, found by walking its bytes; pure.

Phones append pictures and videos to a photo, and only some viewers show them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import mmap
    from collections.abc import Sequence

    Buffer = bytes | mmap.mmap

_JPEG_START = re.compile(rb"\xff\xd8\xff[\xc0-\xc4\xdb\xe0-\xef\xfe]")
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_LONGEST_FTYP = 4096


def png_chunks(data: Buffer) -> Sequence[bytes]:
    """Return the names of a PNG's chunks in order, as far as they lie inside the file."""
    at, found = 8, list[bytes]()
    while at + 12 <= len(data) and (not found or found[-1] != b"IEND"):
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        at += 12 + size
        if at <= len(data):
            found.append(name)
    return found


def has_box(data: Buffer, name: bytes) -> bool:
    """Say whether a file of ISO base media boxes has one of this name among the outermost."""
    at = 0
    while at + 8 <= len(data) and data[at + 4 : at + 8] != name:
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size < 8:
            return False
        at += size
    return at + 8 <= len(data)


def jpeg_parts(data: Buffer) -> tuple[Sequence[slice], int | None]:
    """Return where each JPEG of a file lies, and where a video behind them begins, if any.

    Thumbnails inside a header are no pictures of their own.
    """
    end = _jpeg_end(data, 0)
    video = video_behind(data, end)
    stop = len(data) if video is None else video
    starts = [0]
    while (following := _JPEG_START.search(data, end)) and following.start() < stop:
        starts.append(following.start())
        end = _jpeg_end(data, following.start())
    return [slice(*ends) for ends in zip(starts, [*starts[1:], stop], strict=True)], video


def _jpeg_end(data: Buffer, start: int) -> int:
    """Walk a JPEG's segments as decoders do, over garbage too; return where it ends."""
    at = start + 2
    while found := _JPEG_MARKER.search(data, at):
        marker, at = data[found.start() + 1], found.end()
        if marker == 0xD8:
            return found.start()  # another picture, where the end of this one is missing
        if marker == 0xD9:
            return at
        if marker != 0x01:
            at += int.from_bytes(data[at : at + 2], "big")
    return len(data)


def video_behind(data: Buffer, after: int) -> int | None:
    """Return where a video (MP4, QuickTime) begins that follows somewhere behind `after`."""
    at = data.find(b"ftyp", after + 4)
    while at >= 0:
        size, brand = int.from_bytes(data[at - 4 : at], "big"), data[at + 4 : at + 8]
        if 16 <= size <= _LONGEST_FTYP and brand.isascii() and brand.decode("ascii").isprintable():
            return at - 4
        at = data.find(b"ftyp", at + 4)
    return None
