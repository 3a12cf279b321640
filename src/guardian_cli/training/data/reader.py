"""Reads labelled files for training: pictures and facts, both from the decoder process.

Nothing of a file is parsed in this process: a hostile one can hang or eat memory only there.
"""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from guardian_cli.errors import SourceError
from guardian_cli.training.data.frame_store import FileContent, FileFacts, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.media.frames import DecodeSettings, Decoding, Opener
    from guardian_cli.training.data.dataset import Sample

    Picture = NDArray[np.uint8]

# Frames are kept a little larger than the networks' squares, so that squeezing loses nothing.
SHORT_SIDE_PX = 256
# Of a file whose length nobody knows: a frame a second, thinned out as they come.
_UNKNOWN_EVERY_S = 1.0
_MIN_EVERY_S = 0.04
# `spread` holds at most so many times the pictures that it is asked for.
_HELD_FACTOR = 8


class FileReader:
    """Reads one file at a time in each thread; every thread has a decoder process of its own."""

    def __init__(self, new_decoder: Callable[[], Opener], settings: DecodeSettings) -> None:
        self._new_decoder = new_decoder
        self.settings = settings
        self._own = threading.local()
        self._decoders: list[Opener] = []

    def __call__(self, sample: Sample, count: int) -> FileContent:
        """Return 1 to `count` frames spread over the file. Raises UnreadableError."""
        try:
            with sample.path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            frames, facts = self._decode(sample.path, count)
        except SourceError as error:
            raise UnreadableError(str(error)) from error
        except OSError as error:
            raise UnreadableError(error.strerror or str(error)) from error
        return FileContent(frames, facts, digest)

    def _decode(self, path: Path, count: int) -> tuple[list[Picture], FileFacts]:
        # The first decoding is there to learn the length; pictures and streams end with it.
        decoding = self._open(path, _UNKNOWN_EVERY_S)
        try:
            frames = decoding.frames()
            first = next(frames, None)
            found = decoding.facts
            if first is None or found is None:
                raise UnreadableError("no frame could be decoded")
            frames = chain([first], frames)
            # The length, and with it the distance between frames, is known with the first frame.
            length_s = found.duration_s or 0.0
            if found.kind == "video" and length_s > 2 * _MIN_EVERY_S:
                decoding.close()
                decoding = self._open(path, max(length_s / count, _MIN_EVERY_S))
                frames = decoding.frames()
            pictures = spread((frame.image for frame in frames), count)
            found = decoding.facts or found
        finally:
            decoding.close()
        size_bytes = path.stat().st_size
        return pictures, FileFacts(
            found.width, found.height, size_bytes, found.frames_per_s, found.duration_s
        )

    def _open(self, path: Path, every_s: float) -> Decoding:
        if not hasattr(self._own, "decoder"):
            self._own.decoder = self._new_decoder()
            self._decoders.append(self._own.decoder)
        decoder: Opener = self._own.decoder
        # Frames between two samples are of no use here, so a gap of two is no gap.
        settings = replace(self.settings, every_s=every_s, max_gap_s=2 * every_s)
        return decoder.open(str(path), settings)

    def close(self) -> None:
        """End the decoder processes."""
        for decoder in self._decoders:
            decoder.close()


@contextmanager
def open_reader(settings: DecodeSettings) -> Iterator[FileReader]:
    """Give a reader whose decoder processes have these limits, and end with the block."""
    from guardian_cli.media.decoder import Decoder  # noqa: PLC0415 - only real files need it

    reader = FileReader(Decoder, settings)
    try:
        yield reader
    finally:
        reader.close()


def spread(pictures: Iterable[Picture], count: int) -> list[Picture]:
    """Keep at most `count`, evenly spread, the first and the last among them.

    Never holds many more than that, however many come.
    """
    kept: list[Picture] = []
    step, last = 1, None
    for number, last in enumerate(pictures):
        if number % step == 0:
            kept.append(last)
        if len(kept) > _HELD_FACTOR * count:
            # Every other one goes, and from now on only every other one comes in.
            kept, step = kept[::2], 2 * step
    if last is not None and kept[-1] is not last:
        kept.append(last)
    if len(kept) <= count:
        return kept
    if count == 1:
        return [kept[len(kept) // 2]]
    stride = (len(kept) - 1) / (count - 1)
    return [kept[round(number * stride)] for number in range(count)]
