"""Sizes, turns, transparency and colours of pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.errors import SourceError
from guardian_cli.media.worker.picture import (
    blend_fields,
    eight_bit,
    fit,
    flatten,
    rotate,
    target_size,
    to_sdr,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDES = st.integers(1, 70_000)


@given(SIDES, SIDES, st.floats(0.0001, 1000), st.integers(1, 700))
def test_targets_are_small_and_never_explode(
    width: int, height: int, aspect: float, short_side_px: int
) -> None:
    shown = target_size(width, height, aspect, short_side_px)
    assert min(shown) <= short_side_px
    assert min(shown) >= 1
    assert shown[0] * shown[1] <= 16 * width * height


def test_pixels_become_square() -> None:
    image = np.zeros((180, 160, 3), np.uint8)
    assert fit(image, 2.0, 1000).shape == (180, 320, 3)
    assert fit(image, 2.0, 90).shape == (90, 160, 3)
    assert fit(image, 500.0, 1000).shape == (180, 160, 3), "a forged ratio is left alone"


def test_a_quarter_turn_is_clockwise() -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 0] = 9
    assert rotate(image, 90)[0, 1].tolist() == [9, 9, 9]
    assert rotate(image, 270)[2, 0].tolist() == [9, 9, 9]
    assert rotate(image, 45) is image


@pytest.mark.parametrize("level", [0, 128, 255])
def test_nothing_painted_in_alpha_alone_goes_unseen(level: int) -> None:
    image = np.full((10, 10, 4), level, np.uint8)
    image[:, :, 3] = 0
    image[2:8, 2:8, 3] = 255
    shown = flatten(image)
    assert shown.shape == (10, 20, 3)
    assert shown.std(axis=(0, 1)).min() > 20


def test_an_opaque_picture_stays_as_it_is() -> None:
    image = np.full((4, 4, 4), 255, np.uint8)
    image[:, :, 0] = 7
    assert flatten(image).tolist() == image[:, :, :3].tolist()


def test_deep_and_grey_pictures_become_eight_bit_colour() -> None:
    deep = np.full((3, 3), 0x8000, np.uint16)
    assert eight_bit(deep).tolist() == np.full((3, 3, 3), 0x80).tolist()
    assert eight_bit(np.full((3, 3, 3), 0.5, np.float32)).dtype == np.uint8


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.float32, np.float64])
def test_numbers_without_a_known_white_are_an_error_and_not_all_white(kind: type) -> None:
    image: NDArray[Any] = np.full((10, 10, 3), 100).astype(kind)
    image[:5] = 3
    with pytest.raises(SourceError, match="what is white"):
        eight_bit(image)


def test_highlights_may_be_over_white() -> None:
    image = np.full((20, 20, 3), 0.5, np.float32)
    image[0, 0] = 3.0
    assert eight_bit(image)[0, 0].tolist() == [255] * 3


def test_fields_are_blended() -> None:
    combed = np.zeros((8, 4, 3), np.uint8)
    combed[::2] = 200
    assert blend_fields(combed)[:-1].tolist() == np.full((7, 4, 3), 100).tolist()


@pytest.mark.parametrize("transfer", ["pq", "hlg"])
def test_hdr_keeps_order_black_and_white(transfer: str) -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    shown = to_sdr(ramp, "pq" if transfer == "pq" else "hlg")[0].astype(int)
    assert shown[0].max() <= 2
    assert shown[255].min() >= 250
    assert (np.diff(shown, axis=0) >= 0).all()
    assert np.ptp(shown[:, 0]) > 200
