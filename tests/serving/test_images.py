from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from guardian_cli.serving.format import ModelCard
from guardian_cli.serving.images import (
    MAX_VIEWS,
    BadFrameError,
    decode_jpeg,
    prepare,
    square_boxes,
)
from tests.serving.models import draw_jpeg

SIDES = st.integers(min_value=1, max_value=4000)


@pytest.mark.slow
@given(SIDES, SIDES)
def test_the_squares_leave_no_part_of_a_frame_unseen(width: int, height: int) -> None:
    boxes = square_boxes(width, height)
    assert 1 <= len(boxes) <= MAX_VIEWS
    along = 0 if width >= height else 1
    spans = sorted((box[along], box[along + 2]) for box in boxes)
    assert spans[0][0] == 0
    assert spans[-1][1] == pytest.approx(max(width, height))
    for (_, end), (begin, _) in itertools.pairwise(spans):
        assert begin <= end + 1e-6
    for left, top, right, bottom in boxes:
        assert left >= 0
        assert top >= 0
        assert right <= width + 1e-6
        assert bottom <= height + 1e-6


def test_a_frame_is_normalised_in_rgb_order() -> None:
    card = ModelCard("m", "c", "tiny", input_px=16, mean=(0.5, 0.0, 0.0), std=(0.5, 1.0, 2.0))
    views = prepare(Image.new("RGB", (160, 90), (255, 128, 64)), card)
    assert views.shape == (1, 3, 16, 16)
    assert views.dtype == np.float32
    assert views[0, :, 8, 8] == pytest.approx([1.0, 128 / 255, 64 / 255 / 2], abs=1e-5)


def test_what_is_at_the_edge_is_in_one_of_the_squares() -> None:
    card = ModelCard("m", "c", "tiny", input_px=16, views="squares", mean=(0, 0, 0), std=(1, 1, 1))
    image = Image.new("RGB", (160, 90))
    image.paste((255, 255, 255), (150, 0, 160, 90))
    assert [view.max() > 0.9 for view in prepare(image, card)] == [False, True]


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", png(), draw_jpeg()[:200]])
def test_what_is_no_whole_jpeg_is_refused(data: bytes) -> None:
    with pytest.raises(BadFrameError):
        decode_jpeg(data)


@pytest.mark.parametrize("side_px", [8000, 60000])
def test_a_picture_that_would_fill_the_memory_is_refused_before_it_is_decoded(side_px: int) -> None:
    small = bytearray(draw_jpeg())
    start = small.index(b"\xff\xc0")
    small[start + 5 : start + 9] = side_px.to_bytes(2, "big") * 2
    with pytest.raises(BadFrameError, match=r"pixels"):
        decode_jpeg(bytes(small))
