"""Frames as JPEG: all of the frame, small enough, true in colour."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.media.jpeg import LONG_SIDE_PX, encode_jpeg, fitted_size

SIDES = st.integers(1, 100_000)


@given(width=SIDES, height=SIDES, short_side_px=st.integers(1, 1000))
def test_a_fitted_size_keeps_both_limits_and_the_shape(
    width: int, height: int, short_side_px: int
) -> None:
    fitted = fitted_size(width, height, short_side_px)
    assert 1 <= min(fitted) <= short_side_px
    assert max(fitted) <= LONG_SIDE_PX
    assert fitted[0] <= width
    assert fitted[1] <= height
    if min(fitted) > 20:
        assert fitted[0] / fitted[1] == pytest.approx(width / height, rel=0.05)


@pytest.mark.parametrize(
    ("height", "width", "sent"),
    [
        (720, 1280, (336, 597)),
        (1280, 720, (597, 336)),
        (100, 200, (100, 200)),
        (1, 1, (1, 1)),
        (2, 70_000, (1, 2048)),
    ],
)
def test_size(height: int, width: int, sent: tuple[int, int]) -> None:
    jpeg = encode_jpeg(np.zeros((height, width, 3), np.uint8))
    assert jpeg[:2] == b"\xff\xd8"
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape[:2] == sent


def test_red_next_to_blue_stays_red() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, ::2] = (0, 0, 255)
    image[:, 1::2] = (255, 0, 0)
    decoded = cv2.imdecode(np.frombuffer(encode_jpeg(image), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert np.abs(decoded.astype(int) - image).mean() < 12


def test_the_worst_frame_fits_in_one_request_of_a_managed_endpoint() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (336, 4000, 3), np.uint8)
    assert 4 / 3 * len(encode_jpeg(noise)) < 1_500_000


def test_views_that_are_not_contiguous_are_fine() -> None:
    image = np.zeros((90, 120, 3), np.uint8)
    image[:, :60] = 255
    assert encode_jpeg(image[:, ::-1]) != encode_jpeg(image)


@pytest.mark.parametrize("shape", [(0, 10, 3), (10, 0, 3)])
def test_no_pixels(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="nothing to encode"):
        encode_jpeg(np.zeros(shape, np.uint8))
