"""Reads labelled files for training: pictures from the decoder, facts from the container."""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import SourceError
from guardian_cli.media.frames import DecodeSettings
from guardian_cli.training.frames import FileFacts, Reading, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.media.decoder import Decoder
    from guardian_cli.training.data import Item

    Picture = NDArray[np.uint8]

# Frames are kept a little larger than the networks' squares, so that squeezing loses nothing.
_SHORT_SIDE_PX = 256
# Of a file whose length nobody knows: a frame a second, thinned out afterwards.
_UNKNOWN_EVERY_S = 1.0
_LEAST_EVERY_S = 0.04


class FileReader:
    """Reads one file at a time in each thread; every thread has a decoder process of its own."""

    def __init__(self, new_decoder: Callable[[], Decoder], timeout_s: float | None) -> None:
        self._new_decoder = new_decoder
        self._timeout_s = timeout_s
        self._own = threading.local()
        self._decoders: list[Decoder] = []
        self._lock = threading.Lock()

    def __call__(self, item: Item, count: int) -> Reading:
        """Return 1 to `count` frames spread over the file. Raises UnreadableError."""
        try:
            with item.path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            facts = probe_facts(item.path)
            frames = self._frames(item.path, facts, count)
        except SourceError as error:
            raise UnreadableError(str(error)) from error
        except OSError as error:
            raise UnreadableError(error.strerror or str(error)) from error
        if not frames:
            raise UnreadableError("no frame could be decoded")
        height, width = frames[0].shape[:2]
        known = facts or FileFacts(width, height, item.path.stat().st_size)
        return Reading(frames, known, digest)

    def _frames(self, path: Path, facts: FileFacts | None, count: int) -> list[Picture]:
        length_s = facts.duration_s if facts else None
        every_s = max(length_s / count, _LEAST_EVERY_S) if length_s else _UNKNOWN_EVERY_S
        settings = DecodeSettings(
            every_s=every_s,
            max_gap_s=2 * every_s,
            short_side_px=_SHORT_SIDE_PX,
            timeout_s=self._timeout_s,
        )
        decoding = self._decoder().open(str(path), settings)
        try:
            return thin_out([frame.image for frame in decoding.frames()], count)
        finally:
            decoding.close()

    def _decoder(self) -> Decoder:
        if not hasattr(self._own, "decoder"):
            self._own.decoder = self._new_decoder()
            with self._lock:
                self._decoders.append(self._own.decoder)
        decoder: Decoder = self._own.decoder
        return decoder

    def close(self) -> None:
        """End the decoder processes."""
        for decoder in self._decoders:
            decoder.close()


@contextmanager
def open_reader(timeout_s: float | None) -> Iterator[FileReader]:
    """Give a reader whose decoder processes end with the block."""
    from guardian_cli.media.decoder import Decoder  # noqa: PLC0415 - only real files need it

    reader = FileReader(Decoder, timeout_s)
    try:
        yield reader
    finally:
        reader.close()


def thin_out(found: Sequence[Picture], count: int) -> list[Picture]:
    """Keep at most `count`, evenly spread, the first and the last among them."""
    if len(found) <= count:
        return list(found)
    if count == 1:
        return [found[len(found) // 2]]
    step = (len(found) - 1) / (count - 1)
    return [found[round(number * step)] for number in range(count)]


def probe_facts(path: Path) -> FileFacts | None:
    """Ask MediaInfo; None where it sees neither a video nor an image."""
    from pymediainfo import MediaInfo

    try:
        tracks = [track.to_data() for track in MediaInfo.parse(path, parse_speed=0).tracks]
    except (OSError, RuntimeError, ValueError, SyntaxError):
        return None
    seen = next((one for one in tracks if one.get("track_type") in ("Video", "Image")), None)
    if seen is None:
        return None
    length_ms = _number(seen, "duration")
    return FileFacts(
        width=int(_number(seen, "width") or 0),
        height=int(_number(seen, "height") or 0),
        size_bytes=path.stat().st_size,
        fps=_number(seen, "frame_rate"),
        duration_s=length_ms / 1000 if length_ms else None,
    )


def _number(track: dict[str, Any], key: str) -> float | None:
    try:
        number = float(track.get(key) or 0)
    except (TypeError, ValueError):
        return None
    return number if 0 < number < float("inf") else None
