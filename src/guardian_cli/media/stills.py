"""Still pictures and animated WebP, by OpenCV's codecs. Only the worker imports this module."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2  # noqa: TID253 - only the worker process imports this module
import numpy as np  # noqa: TID253 - as above

from guardian_cli.errors import SourceError
from guardian_cli.media.picture import eight_bit, flatten
from guardian_cli.media.sniff import is_animated_webp, webp_frames, webp_pixels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from guardian_cli.media.logs import Log
    from guardian_cli.media.sniff import Sniffed

_MOST_AT_ONCE = 64
_MOST_PIXELS_AT_ONCE = 1 << 26
_DEFAULT_SHOWN_S = 0.1


class IncompleteError(Exception):
    """Frames of an animation, as many as the argument says, could not be decoded."""


@dataclass(frozen=True, slots=True, eq=False)
class Still:
    """One picture of an image file and how long it is shown; `image` is 8-bit BGR."""

    image: NDArray[np.uint8]
    width: int
    height: int
    shown_s: float


def read_stills(fd: int, kind: Sniffed, log: Log) -> Iterator[Still]:
    """Decode an image file, frame by frame if animated; raise SourceError if it can't be."""
    data = np.frombuffer(mmap.mmap(fd, 0, prot=mmap.PROT_READ), np.uint8).reshape(1, -1)
    log.forget()
    if kind == "webp" and is_animated_webp(data[0, :32].tobytes()):
        yield from _animation(data)
    else:
        yield _still(data, kind)


def extra_pages(path: str, kind: Sniffed) -> int:
    """Return how many further pictures a TIFF file holds, of which only the first is looked at."""
    return max(0, int(cv2.imcount(path)) - 1) if kind == "tiff" else 0


def _still(data: NDArray[np.uint8], kind: Sniffed) -> Still:
    image = _decode(data, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise SourceError(f"the {kind} picture is damaged, cut off or too large", kind="unreadable")
    if image.ndim == 3 and image.shape[2] == 4:
        pixels = flatten(eight_bit(image))
        return Still(pixels, image.shape[1], image.shape[0], 0.0)
    upright = _decode(data, cv2.IMREAD_COLOR)  # the only mode that turns by EXIF orientation
    pixels = eight_bit(image if upright is None else upright)
    return Still(pixels, pixels.shape[1], pixels.shape[0], 0.0)


def _decode(data: NDArray[np.uint8], mode: int) -> NDArray[Any] | None:
    try:
        return cv2.imdecode(data, mode)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        return None


def _animation(data: NDArray[np.uint8]) -> Iterator[Still]:
    at, promised = 0, webp_frames(data[0].data)
    at_once = max(
        1, min(_MOST_AT_ONCE, _MOST_PIXELS_AT_ONCE // webp_pixels(data[0, :32].tobytes()))
    )
    while True:
        done, found = cv2.imdecodeanimation(data, at, at_once)
        if not done or not found.frames:
            if at == 0:
                raise SourceError("the animation is damaged or cut off", kind="unreadable")
            break
        for frame, shown_ms in zip(found.frames, found.durations, strict=False):
            image = eight_bit(frame)
            pixels = flatten(image) if image.shape[2] == 4 else image
            shown_s = float(shown_ms) / 1000 if shown_ms > 0 else _DEFAULT_SHOWN_S
            yield Still(pixels, frame.shape[1], frame.shape[0], shown_s)
        at += len(found.frames)
        if len(found.frames) < at_once:
            break
    if at < promised:
        raise IncompleteError(promised - at)
