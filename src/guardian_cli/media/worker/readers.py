"""What the readers of live streams can do, and how to open a stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


Transfer = Literal["pq", "hlg"]


class ConversionError(Exception):
    """A frame was decoded but could not be turned into a picture."""


class Reader(Protocol):
    """Frames of one video as they come, pictures only on demand."""

    @property
    def stamp_s(self) -> float | None:
        """The grabbed frame's stamp, seconds from the stream's declared start; None: no stamp."""

    def grab(self) -> bool:
        """Decode the next frame; False when there are no more."""

    def retrieve(self) -> NDArray[np.uint8]:
        """Return the grabbed frame, H x W x 3, BGR, upright; raise ConversionError if it fails."""

    def close(self) -> None:
        """Free what is held; idempotent."""


@dataclass(frozen=True, slots=True)
class ReaderOptions:
    """How to open a stream: its URL, FFmpeg's options for it, threads, and how long to wait."""

    url: str
    options: tuple[tuple[str, str], ...]
    threads: int
    open_timeout_s: float
