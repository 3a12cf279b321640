"""From JPEG bytes to what a network sees; training and every endpoint use this same code."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from guardian_cli.serving.views import views_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from guardian_cli.serving.format import ModelCard

# Decoded, such a picture takes 120 MB; what guardian itself sends is far smaller.
MAX_PIXELS = 40_000_000
MAX_VIEWS = 6


class BadFrameError(ValueError):
    """A frame is no JPEG that can be decoded."""


def decode_jpeg(data: bytes) -> Image:
    """Decode one JPEG to RGB. Raises BadFrameError; a picture over MAX_PIXELS is one too."""
    from PIL import Image, UnidentifiedImageError

    try:
        # Opening reads the header only, so a size that is too large is refused before decoding.
        image = Image.open(io.BytesIO(data), formats=("JPEG",))
        if image.width * image.height > MAX_PIXELS:
            raise BadFrameError(f"{image.width}x{image.height} is more than {MAX_PIXELS} pixels")
        return image.convert("RGB")
    except UnidentifiedImageError:
        raise BadFrameError("not a JPEG") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, BadFrameError):
            raise
        raise BadFrameError(f"a damaged JPEG: {error}") from error


def square_boxes(width_px: int, height_px: int) -> list[tuple[float, float, float, float]]:
    """Squares with the frame's shorter side, evenly spread so that together they cover it all.

    Each is (left, top, right, bottom) in pixels. Over MAX_VIEWS of them leave gaps: such a frame
    is cut into MAX_VIEWS rectangles instead, each squeezed a little.
    """
    short, long = sorted((width_px, height_px))
    count = min(-(-long // short), MAX_VIEWS)
    side = max(float(short), long / count)
    step = (long - side) / (count - 1) if count > 1 else 0.0
    starts = [step * number for number in range(count)]
    # Along the longer side; the shorter one is in each of them in full.
    if width_px >= height_px:
        return [(start, 0.0, start + side, float(height_px)) for start in starts]
    return [(0.0, start, float(width_px), start + side) for start in starts]


def boxes_of(width_px: int, height_px: int, views: str) -> list[tuple[float, float, float, float]]:
    """The parts of a frame that a card's `views` means: (left, top, right, bottom) in pixels."""
    if views == "squares":
        return square_boxes(width_px, height_px)
    if views == "squash":
        return [(0.0, 0.0, float(width_px), float(height_px))]
    return [
        (float(left), float(top), float(left + width), float(top + height))
        for left, top, width, height in views_of(width_px, height_px)
    ]


def prepare(image: Image, card: ModelCard) -> NDArray[np.float32]:
    """Make the views of one frame: float32, (views, 3, input_px, input_px), RGB, normalised."""
    import numpy as np
    from PIL import Image

    boxes = boxes_of(image.width, image.height, card.views)
    size = (card.input_px, card.input_px)
    views = [
        np.asarray(image.resize(size, Image.Resampling.BICUBIC, box=box), dtype=np.float32)
        for box in boxes
    ]
    pixels = np.stack(views).transpose(0, 3, 1, 2) / np.float32(255.0)
    mean = np.asarray(card.mean, dtype=np.float32).reshape(1, 3, 1, 1)
    std = np.asarray(card.std, dtype=np.float32).reshape(1, 3, 1, 1)
    prepared: NDArray[np.float32] = np.ascontiguousarray((pixels - mean) / std, dtype=np.float32)
    return prepared
