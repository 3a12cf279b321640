"""Is a file cut off? Its outermost boxes say how long they are; pure but for reading a few bytes.

MediaInfo calls a good file with something appended "truncated", so for the two common families of
containers the boxes are walked here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    ReadAt = Callable[[int, int], bytes]

_MEDIA_BOXES = frozenset({b"mdat", b"moov", b"moof", b"mfra", b"meta", b"sidx", b"ftyp", b"styp"})
_MOST_BOXES = 1_000_000
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def is_cut_off(read_at: ReadAt, size: int) -> bool | None:
    """Say whether a box that matters ends after the file does; None for containers not known here.

    `read_at(at, count)` gives bytes of the file, `size` is its length.
    """
    head = read_at(0, 12)
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return _gif_cut_off(read_at, size)
    if head[:4] == _EBML:
        return _matroska_cut_off(read_at, size)
    if head[4:8] in (b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return _boxes_cut_off(read_at, size)
    return None


def _gif_cut_off(read_at: ReadAt, size: int) -> bool:
    """Walk a GIF's blocks to the one that ends it; many frames hide behind a missing end."""
    at = 13 + _colour_table_bytes(read_at(10, 1))
    while at < size:
        kind = read_at(at, 1)
        if kind == b";":
            return False
        if kind == b",":
            at += 11 + _colour_table_bytes(read_at(at + 9, 1))
        elif kind == b"!":
            at += 2
        else:
            return True
        while length := int.from_bytes(read_at(at, 1), "big"):
            at += 1 + length
        at += 1
    return True


def _colour_table_bytes(flags: bytes) -> int:
    """Bytes of the colour table that a GIF's flags announce; 0 where there is none."""
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def _boxes_cut_off(read_at: ReadAt, size: int) -> bool:
    """Walk ISO base media boxes; past index and data, an unknown box is something appended."""
    at, seen = 0, set[bytes]()
    for _ in range(_MOST_BOXES):
        if at + 8 > size:
            return at > size
        head = read_at(at, 16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length == 0:
            return False
        whole = b"moov" in seen and bool(seen & {b"mdat", b"moof"})
        if length < 8 or at + length > size:
            return kind in _MEDIA_BOXES or not whole
        seen.add(kind)
        at += length
    return True


def _matroska_cut_off(read_at: ReadAt, size: int) -> bool:
    """Find the segment after the EBML header; live recordings leave its size open."""
    at = 0
    for _ in range(16):
        head = read_at(at, 16)
        id_length = _vint_length(head[:1])
        length_length = _vint_length(head[id_length : id_length + 1])
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


def _vint_length(first: bytes) -> int:
    """Bytes that an EBML number takes, from its first byte; 0 where that is none."""
    return 9 - first[0].bit_length() if first and first[0] else 0
