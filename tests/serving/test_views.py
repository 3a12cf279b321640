from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.serving.views import MAX_SQUEEZE, MAX_VIEWS, OVERLAP, views_of

SIDES = st.integers(1, 8192)


@pytest.mark.slow
@given(SIDES, SIDES)
def test_every_pixel_lies_in_a_view(width: int, height: int) -> None:
    views = views_of(width, height)
    wide = width >= height
    edges = sorted((v.left, v.left + v.width) if wide else (v.top, v.top + v.height) for v in views)
    assert edges[0][0] == 0
    assert edges[-1][1] == max(width, height)
    assert all(start <= end for (_, end), (start, _) in pairwise(edges))
    for view in views:
        assert (
            (view.height, view.top) == (height, 0)
            if wide
            else (view.width, view.left) == (width, 0)
        )
        assert view.left >= 0
        assert view.top >= 0
        assert min(view.width, view.height) >= 1
        assert view.left + view.width <= width
        assert view.top + view.height <= height


@given(st.integers(16, 4096), st.floats(1.0, 6.0))
def test_neighbours_share_half_a_shorter_side_and_no_view_is_squeezed_much(
    short: int, aspect: float
) -> None:
    views = views_of(round(short * aspect), short)
    for left, right in pairwise(views):
        assert left.left + left.width - right.left >= OVERLAP * short - 1
    assert max(view.width for view in views) <= MAX_SQUEEZE * short + 1


@given(SIDES, SIDES)
def test_a_turned_frame_has_turned_views(width: int, height: int) -> None:
    turned = [(top, left, high, wide) for left, top, wide, high in views_of(height, width)]
    if width != height:
        assert [tuple(view) for view in views_of(width, height)] == turned


@pytest.mark.parametrize(
    ("size", "count"),
    [
        ((336, 336), 1),
        ((403, 336), 1),
        ((448, 336), 2),
        ((597, 336), 2),
        ((336, 597), 2),
        ((790, 336), 3),
        ((1920, 16), MAX_VIEWS),
        ((1, 1), 1),
    ],
)
def test_the_usual_shapes_need_few_views(size: tuple[int, int], count: int) -> None:
    assert len(views_of(*size)) == count
