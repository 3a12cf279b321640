"""Videos that the tests draw: each frame tells its number by its brightness and a moving bar."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

MILLISECONDS = Fraction(1, 1000)


def picture(at: int, width: int = 160, height: int = 96) -> NDArray[np.uint8]:
    """A picture whose level says `at` (0..255, steps of 8 wrap round), with a bar for texture."""
    image = np.full((height, width, 3), (at * 8) % 256, np.uint8)
    image[:8, (at * 5) % (width - 8) :][:, :8] = (0, 0, 255)
    return image


def level(image: NDArray[np.uint8]) -> float:
    """The level of the lower part of a picture, where there is no bar."""
    return float(image[image.shape[0] // 2 :].mean())


def draw(
    path: Path,
    times_s: Sequence[float],
    *,
    codec: str = "libx264",
    size: tuple[int, int] = (160, 96),
    options: Mapping[str, str] | None = None,
    pictures: Sequence[NDArray[np.uint8]] | None = None,
    container_options: Mapping[str, str] | None = None,
) -> Path:
    """Encode a picture for each time (seconds) and return the path."""
    with av.open(str(path), "w", options=dict(container_options or {})) as file:
        stream: Any = file.add_stream(codec, rate=30)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = MILLISECONDS
        stream.options = dict(options or {})
        for at, time_s in enumerate(times_s):
            image = pictures[at] if pictures is not None else picture(at, *size)
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = round(time_s * 1000), MILLISECONDS
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def steady(seconds: float, frames_per_s: float = 25) -> list[float]:
    """Times of a constant frame rate."""
    return [at / frames_per_s for at in range(round(seconds * frames_per_s))]
