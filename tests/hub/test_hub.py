"""The real default weights, from the model hub, on golden pictures drawn here: `make hub`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from guardian_cli.detectors.clip import ClipDetector, Prompts, load_clip
from guardian_cli.detectors.clip.architecture import DEFAULT
from guardian_cli.prompts import DEFAULT_PROMPTS
from tests.tiny_clip import Place, draw_frame

if TYPE_CHECKING:
    from tests.tiny_clip import Picture

pytestmark = [
    pytest.mark.hub,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        os.environ.get("GUARDIAN_HUB") != "1",
        reason="needs the model hub: make hub, on a machine with internet",
    ),
]

DRAWN = {
    "red": Prompts(
        ("a plain red picture", "a solid red background"),
        ("a plain blue picture", "a plain green picture", "a plain white picture"),
    ),
    "star": Prompts(
        ("a red star", "a drawing of a red five-pointed star"),
        ("a blue circle", "a drawing of a blue disc", "an empty grey background"),
    ),
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ClipDetector:
    told: list[str] = []
    cache = tmp_path_factory.mktemp("text")
    return load_clip(
        *DEFAULT, {**DEFAULT_PROMPTS, **DRAWN}, text_cache=cache, on_download=told.append
    )


def plain(blue: int, green: int, red: int) -> Picture:
    return np.full((336, 597, 3), (blue, green, red), np.uint8)


def test_plain_colours_are_told_apart(clip: ClipDetector) -> None:
    red, blue = clip.score([plain(20, 20, 230), plain(230, 20, 20)]).scores
    assert red["red"] > 0.8
    assert blue["red"] < 0.2


@pytest.mark.parametrize("place", ["centre", "left-edge", "right-edge"])
def test_a_star_is_told_from_a_disc_wherever_it_is(clip: ClipDetector, place: Place) -> None:
    star = draw_frame(("red", "star"), size=(597, 336), place=place)
    disc = draw_frame(("blue", "circle"), size=(597, 336), place=place)
    with_star, with_disc = clip.score([star, disc]).scores
    assert with_star["star"] > 0.6
    assert with_disc["star"] < 0.4
    assert with_star["star"] > with_disc["star"] + 0.4


def test_harmless_drawings_are_not_called_anything(clip: ClipDetector) -> None:
    frames = [
        plain(0, 0, 0),
        plain(255, 255, 255),
        plain(90, 90, 90),
        draw_frame(("blue", "circle")),
    ]
    for scores in clip.score(frames).scores:
        assert scores["nsfw"] < 0.6
        assert scores["violence"] < 0.6
