"""A real classifier behind a real endpoint gives its golden value."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from guardian_cli.detectors.endpoint import EndpointDetector
from guardian_cli.media.jpeg import encode_jpeg
from tests.nsfwjs import NsfwJs
from tests.scoring_server import ScoringServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def model(shared_data: Path) -> NsfwJs:
    return NsfwJs(shared_data / "models" / "nsfwjs" / "nsfwjs_mobilenet_v2.onnx")


@pytest.fixture(scope="module")
def logo(shared_data: Path) -> Image:
    image = cv2.imread(str(shared_data / "models" / "nsfwjs" / "nsfwjs_logo.jpg"))
    assert image is not None
    return np.asarray(image, np.uint8)


def through_endpoint(function: Callable[[Image], float], image: Image) -> float:
    with (
        ScoringServer(function) as server,
        closing(EndpointDetector("nsfw", server.uri)) as detector,
    ):
        answer = detector.score([image])
        assert answer.failure is None
        return answer.scores[0]["nsfw"]


def test_the_model_itself_gives_the_golden_values(model: NsfwJs, logo: Image) -> None:
    found = model.probabilities(logo)
    assert found["Drawing"] == pytest.approx(0.685, abs=0.001)
    assert found["Neutral"] == pytest.approx(0.312, abs=0.001)
    assert found["Hentai"] == pytest.approx(0.002, abs=0.0005)


def test_nsfw_through_an_endpoint_is_the_golden_value(model: NsfwJs, logo: Image) -> None:
    golden = 0.00213 + 0.000037
    assert through_endpoint(model.unsafe, logo) == pytest.approx(golden, abs=0.0005)


def test_the_endpoint_sees_what_the_jpeg_holds_and_nothing_else_changes(
    model: NsfwJs, logo: Image
) -> None:
    sent = cv2.imdecode(np.frombuffer(encode_jpeg(logo), np.uint8), cv2.IMREAD_COLOR)
    expected = model.drawing(np.asarray(sent, np.uint8))
    assert through_endpoint(model.drawing, logo) == pytest.approx(expected, abs=1e-6)


def test_colour_is_kept_for_the_model(model: NsfwJs, logo: Image) -> None:
    # This picture is the hardest there is for a JPEG: thin coloured lines, a score on a knife's
    # edge (0.685 -> 0.53 by quality 90 alone). With 4:2:0 it falls to 0.37.
    assert through_endpoint(model.drawing, logo) > 0.5
