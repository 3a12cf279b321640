"""What decoder and worker process say to each other: a JSON header and, for frames, the pixels.

To the worker: one JSON object a line. From it: the length of the header and of the pixels (each
32 bits, big-endian), the header, the pixels. Every message carries the number of its order.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from guardian_cli.media.frames import Coverage, DecodeSettings, MediaFacts, Window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LENGTHS = struct.Struct(">II")


def pack(header: Mapping[str, Any], pixel_bytes: int = 0) -> bytes:
    """Return all of a message from the worker but its pixels."""
    encoded = json.dumps(header).encode("ascii")
    return LENGTHS.pack(len(encoded), pixel_bytes) + encoded


def open_order(order: int, location: str, settings: DecodeSettings) -> bytes:
    """Order to decode a location."""
    return _line(do="open", order=order, location=location, settings=asdict(settings))


def refine_order(order: int, windows: Sequence[Window], step_s: float) -> bytes:
    """Order more frames of stretches of the source that is open."""
    stretches = [[window.start_s, window.end_s] for window in windows]
    return _line(do="refine", order=order, windows=stretches, step_s=step_s)


def stop_order(order: int) -> bytes:
    """Order to stop what order number `order` began; nothing happens if it has ended."""
    return _line(do="stop", order=order)


def _line(**values: Any) -> bytes:
    return json.dumps(values).encode("ascii") + b"\n"


def settings_from(values: Mapping[str, Any]) -> DecodeSettings:
    """Undo `asdict` of settings."""
    return DecodeSettings(**values)


def windows_from(values: Sequence[Sequence[float]]) -> list[Window]:
    """Undo the windows of `refine_order`."""
    return [Window(start_s, end_s) for start_s, end_s in values]


def coverage_from(values: Mapping[str, Any]) -> Coverage:
    """Undo `asdict` of a coverage that went through JSON."""
    texts = {name: tuple(values[name]) for name in ("notes", "remarks")}
    return Coverage(**{**values, **texts})


def facts_from(values: Mapping[str, Any]) -> MediaFacts:
    """Undo `asdict` of facts."""
    return MediaFacts(**values)
