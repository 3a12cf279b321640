"""What decoder and worker process say to each other: a JSON header and, for frames, the pixels.

To the worker: one JSON object a line, which says what to `do`: "open" a location, "refine" the
source that is open, or "stop" the order of that number. From it: the length of the header and of
the pixels (each 32 bits, big-endian), the header, the pixels. Every message carries the number of
its order, and its `type`: "ready", "facts", "progress", "frame", "end" or "error".
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

from guardian_cli.media.frames import Coverage

if TYPE_CHECKING:
    from collections.abc import Mapping

LENGTHS = struct.Struct(">II")


def pack(header: Mapping[str, Any], pixel_bytes: int = 0) -> bytes:
    """Return all of a message from the worker but its pixels."""
    encoded = json.dumps(header).encode("ascii")
    return LENGTHS.pack(len(encoded), pixel_bytes) + encoded


def coverage_from(values: Mapping[str, Any]) -> Coverage:
    """Undo `asdict` of a coverage that went through JSON, which knows no tuples."""
    texts = {name: tuple(values[name]) for name in ("notes", "remarks")}
    return Coverage(**{**values, **texts})
