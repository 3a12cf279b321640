"""What a file's boxes say that FFmpeg does not: is it cut off, which tracks are encrypted.

Pure but for reading a few bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    ReadAt = Callable[[int, int], bytes]

_MEDIA_BOXES = frozenset({b"mdat", b"moov", b"moof", b"mfra", b"meta", b"sidx", b"ftyp", b"styp"})
_FIRST_BOXES = frozenset({b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip"})
_MAX_BOXES = 1_000_000
_MAX_ELEMENTS = 16
_RIFF_SLACK_BYTES = 8
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def is_cut_off(read_at: ReadAt, size: int) -> bool | None:
    """Say whether a box that matters ends after the file does; None for containers not known here.

    `read_at(at, count)` gives bytes of the file, `size` is its length.
    """
    head = read_at(0, 12)
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return gif_is_cut_off(read_at, size)
    if head[:4] == _EBML:
        return matroska_is_cut_off(read_at, size)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return avi_is_cut_off(read_at, size)
    if head[4:8] in _FIRST_BOXES:
        return boxes_are_cut_off(read_at, size)
    return None


def encrypted_tracks(read_at: ReadAt, size: int) -> set[int]:
    """Return the numbers of an MP4's tracks whose pictures are encrypted.

    FFmpeg calls such a track by the codec beneath, and some decode to a picture: of noise.
    """
    if read_at(4, 4) not in _FIRST_BOXES:
        return set()
    found = set()
    for start, end in boxes(read_at, 0, size, b"moov", b"trak"):
        if any(boxes(read_at, start, end, b"mdia", b"minf", b"stbl", b"stsd", b"encv")):
            for header, _ in boxes(read_at, start, end, b"tkhd"):
                long_times = read_at(header, 1) == b"\1"
                found.add(int.from_bytes(read_at(header + (20 if long_times else 12), 4), "big"))
    return found


def boxes(
    read_at: ReadAt, start: int, end: int, kind: bytes, *inner: bytes
) -> Iterator[tuple[int, int]]:
    """Yield where the contents of ISO base media boxes start and end, down a path of kinds."""
    while start + 8 <= end:
        head = read_at(start, 16)
        length, body = int.from_bytes(head[:4], "big"), 8
        if length == 1:
            length, body = int.from_bytes(head[8:16], "big"), 16
        until = min(end, start + length) if length else end
        if head[4:8] == kind and not inner:
            yield start + body, until
        elif head[4:8] == kind:
            # What describes samples starts with its version and the number of entries.
            skipped = 8 if kind == b"stsd" else 0
            yield from boxes(read_at, start + body + skipped, until, *inner)
        if length and length < body:
            return
        start = until


def gif_is_cut_off(read_at: ReadAt, size: int) -> bool:
    """Walk a GIF's blocks to the one that ends it; many frames hide behind a missing end."""

    def colour_table_bytes(flags: bytes) -> int:
        return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0

    at = 13 + colour_table_bytes(read_at(10, 1))
    while at < size:
        kind = read_at(at, 1)
        if kind == b";":
            return False
        if kind == b",":
            at += 11 + colour_table_bytes(read_at(at + 9, 1))
        elif kind == b"!":
            at += 2
        else:
            return True
        while length := int.from_bytes(read_at(at, 1), "big"):
            at += 1 + length
        at += 1
    return True


def avi_is_cut_off(read_at: ReadAt, size: int) -> bool | None:
    """Walk an AVI's outermost chunks; a recorder that was stopped leaves their lengths open."""
    at = 0
    while at + 12 <= size:
        head = read_at(at, 8)
        length = int.from_bytes(head[4:], "little")
        if head[:4] != b"RIFF":
            return False
        if not length:
            return None
        at += 8 + length + length % 2
    # Some writers count the 8 bytes of a chunk's head as part of it.
    return at > size + _RIFF_SLACK_BYTES


def boxes_are_cut_off(read_at: ReadAt, size: int) -> bool:
    """Walk ISO base media boxes to the end, or to one that ends after the file."""
    at, seen = 0, set[bytes]()
    for _ in range(_MAX_BOXES):
        if at + 8 > size:
            return at > size
        head = read_at(at, 16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length == 0:
            return False
        # Past index and data, an unknown box is something that was appended.
        whole = b"moov" in seen and bool(seen & {b"mdat", b"moof"})
        if length < 8 or at + length > size:
            return kind in _MEDIA_BOXES or not whole
        seen.add(kind)
        at += length
    return True


def matroska_is_cut_off(read_at: ReadAt, size: int) -> bool:
    """Find the segment after the EBML header; live recordings leave its size open (RFC 8794)."""

    def vint_bytes(first: bytes) -> int:
        return 9 - first[0].bit_length() if first and first[0] else 0

    at = 0
    for _ in range(_MAX_ELEMENTS):
        head = read_at(at, 16)
        id_length = vint_bytes(head[:1])
        length_length = vint_bytes(head[id_length : id_length + 1])
        if not id_length or not length_length:
            return True
        field = head[id_length : id_length + length_length]
        length = int.from_bytes(field, "big") & ((1 << 7 * length_length) - 1)
        unknown = length == (1 << 7 * length_length) - 1
        body = at + id_length + length_length
        if head[:id_length] == _SEGMENT:
            return not unknown and body + length > size
        if unknown or body + length > size:
            return True
        at = body + length
    return True
