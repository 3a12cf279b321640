"""From a decoded picture to what detectors see: upright, square pixels, no transparency, small."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import cv2  # noqa: TID253 - only the worker process imports this module
import numpy as np  # noqa: TID253 - as above

from guardian_cli.errors import SourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Transfer = Literal["pq", "hlg"]
_MAX_STRETCH = 4.0
_SAME_PICTURE_LEVELS = 2.0
# What share of a picture of floating-point numbers may lie beyond black and white.
_MAX_OUTSIDE = 0.01


def target_size(width: int, height: int, aspect: float, short_side_px: int) -> tuple[int, int]:
    """Return the width and height of a detector's picture: shorter side at most `short_side_px`.

    Pixels of width:height = `aspect` become square, as the larger side grows.
    """
    shown_width, shown_height = float(width), float(height)
    # Ratios past 1:4 or 4:1 are taken for forged and left alone: applying one would squeeze the
    # picture to a line, and most players don't.
    if 1 <= aspect <= _MAX_STRETCH:
        shown_width *= aspect
    elif 1 / _MAX_STRETCH <= aspect < 1:
        shown_height /= aspect
    scale = min(1.0, short_side_px / min(shown_width, shown_height))
    return max(1, round(shown_width * scale)), max(1, round(shown_height * scale))


def fit(image: NDArray[np.uint8], aspect: float, short_side_px: int) -> NDArray[np.uint8]:
    """Make pixels square and shrink H x W x 3 until the shorter side is at most `short_side_px`."""
    height, width = image.shape[:2]
    size = target_size(width, height, aspect, short_side_px)
    if size == (width, height):
        return np.ascontiguousarray(image)
    shrinks = size[0] <= width and size[1] <= height
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)


def rotate(image: NDArray[np.uint8], clockwise_degrees: int) -> NDArray[np.uint8]:
    """Turn a picture by a multiple of 90 degrees clockwise; other angles are left as they are."""
    if clockwise_degrees % 90:
        return image
    return np.rot90(image, -(clockwise_degrees // 90) % 4)


# For orientations 1 to 8, after lines and columns have changed places from 5 on.
_FLIPS = ((1, 1), (1, -1), (-1, -1), (-1, 1), (1, 1), (1, -1), (-1, -1), (-1, 1))


def turn(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn a picture upright by EXIF's orientation, 1 to 8."""
    mirrored = image.transpose(1, 0, 2) if orientation > 4 else image
    down, across = _FLIPS[orientation - 1]
    return np.ascontiguousarray(mirrored[::down, ::across])


def to_sdr(image: NDArray[np.uint8], transfer: Transfer) -> NDArray[np.uint8]:
    """Show an HDR picture (BT.2020, PQ or HLG as 8-bit BGR codes) as a usual screen would.

    Inverse PQ and HLG curves from ITU-R BT.2100-2 (tables 4 and 5), white at 203 cd/m2 (BT.2408),
    primaries to BT.709 by the matrix of BT.2087-0. What is brighter than white is bent, not cut:
    y = 1 - (1 - knee) * exp(-(x - knee) / (1 - knee)) over the knee at 0.6, so nothing hides there.
    """
    linear = _LINEAR[transfer][image] @ _TO_BT709.T
    linear = np.maximum(linear, 0.0)
    over = 1 - (1 - _KNEE) * np.exp(-(np.maximum(linear, _KNEE) - _KNEE) / (1 - _KNEE))
    shown = np.where(linear > _KNEE, over, linear)
    return np.asarray(np.round(255 * shown ** (1 / 2.2)), dtype=np.uint8)


def _pq_table() -> NDArray[np.float32]:
    root = (np.arange(256) / 255) ** (1 / 78.84375)
    light = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
    return np.asarray(light ** (1 / 0.1593017578125) * 10000 / 203, dtype=np.float32)


def _hlg_table() -> NDArray[np.float32]:
    code = np.arange(256) / 255
    scene = np.where(
        code <= 0.5, code**2 / 3, (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12
    )
    return np.asarray(scene**1.2 * 1000 / 203, dtype=np.float32)


_KNEE = 0.6
_LINEAR = {"pq": _pq_table(), "hlg": _hlg_table()}
_TO_BT709 = np.array(  # for B, G, R
    [[1.1187, -0.1006, -0.0182], [-0.0083, 1.1329, -0.1246], [-0.0728, -0.5876, 1.6605]], np.float32
)


def blend_fields(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average each line with the next, so that the two fields of an interlaced picture mix."""
    if image.shape[0] < 2:
        return image
    mixed = cv2.addWeighted(image[:-1], 0.5, image[1:], 0.5, 0)
    return np.concatenate([np.asarray(mixed, np.uint8), image[-1:]])


def flatten(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay H x W x 4 (BGRA) over white and over black; both side by side where they differ.

    Whoever uploads chooses what transparency hides on which background, so no single background is
    safe: white shapes vanish on white, black ones on black, grey ones on grey.
    """
    alpha = image[:, :, 3:].astype(np.uint16)
    if int(alpha.min()) == 255:
        return np.ascontiguousarray(image[:, :, :3])
    black = (image[:, :, :3] * alpha + 127) // 255
    white = (black + 255 - alpha).astype(np.uint8)
    dark = black.astype(np.uint8)
    # Next to nothing is transparent: both would be the same picture.
    if float(np.mean(255 - alpha)) <= _SAME_PICTURE_LEVELS:
        return white
    return np.concatenate([white, dark], axis=1)


def eight_bit(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Bring 16-bit, float and grey pictures to 8-bit BGR or BGRA.

    Raise SourceError for numbers of which nobody can tell which is white: every viewer shows them
    otherwise, and cut off at 1 they would all be.
    """
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    elif image.dtype != np.uint8:
        outside = np.mean((image < 0) | (image > 1))
        if image.dtype.kind != "f" or outside > _MAX_OUTSIDE:
            message = f"a picture of {image.dtype} numbers, of which it is not known what is white"
            raise SourceError(message, kind="unsupported")
        image = np.clip(np.nan_to_num(image) * 255, 0, 255).astype(np.uint8)
    if image.ndim == 2 or image.shape[2] == 1:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return np.asarray(image, np.uint8)
