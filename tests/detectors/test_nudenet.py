from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.detectors.nudenet import (
    LABELS,
    WEIGHTS,
    NudeNetDetector,
    score_parts,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CONFIDENCE = st.floats(0, 1)
EXPOSED = sorted(WEIGHTS)
HARMLESS = sorted(set(LABELS) - set(WEIGHTS))


def read_picture(path: Path) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path))
    assert picture is not None
    return np.asarray(picture, dtype=np.uint8)


@pytest.fixture(scope="module")
def detector() -> NudeNetDetector:
    return NudeNetDetector(threads=2)


@given(st.dictionaries(st.sampled_from(LABELS), CONFIDENCE))
def test_scores_stay_in_range_and_parts_only_add(parts: dict[str, float]) -> None:
    score = score_parts(parts)
    assert 0 <= score <= 1
    for part, confidence in parts.items():
        alone = WEIGHTS.get(part, 0.0) * confidence
        assert score >= alone - 1e-9
        without = {name: value for name, value in parts.items() if name != part}
        assert score >= score_parts(without) - 1e-9


@given(st.dictionaries(st.sampled_from(HARMLESS), CONFIDENCE))
def test_what_is_covered_or_harmless_counts_nothing(parts: dict[str, float]) -> None:
    assert score_parts(parts) == 0


@pytest.mark.parametrize(
    ("parts", "score"),
    [
        ({}, 0.0),
        ({"MALE_GENITALIA_EXPOSED": 0.8}, 0.8),
        ({"FEMALE_BREAST_EXPOSED": 0.8}, 0.72),
        ({"BUTTOCKS_EXPOSED": 1.0}, 0.7),
        ({"FEMALE_BREAST_EXPOSED": 0.6, "FEMALE_GENITALIA_EXPOSED": 0.6}, 1 - 0.46 * 0.4),
    ],
)
def test_the_weights_are_the_documented_ones(parts: dict[str, float], score: float) -> None:
    assert score_parts(parts) == pytest.approx(score)


def test_it_says_who_it_is(detector: NudeNetDetector) -> None:
    info = detector.info
    assert (info.name, info.category, info.model) == ("nudenet", "nsfw", "nudenet-320n")
    assert tuple(detector.categories) == ("nsfw",)
    assert detector.summary() is None
    assert list(detector.score([]).scores) == []


def test_its_labels_are_the_models(detector: NudeNetDetector) -> None:
    names = detector._session.get_modelmeta().custom_metadata_map["names"]
    assert tuple(ast.literal_eval(names).values()) == LABELS


@pytest.mark.slow
def test_benign_pictures_stay_low_and_parts_are_those_nudenet_finds(
    detector: NudeNetDetector, shared_data: Path
) -> None:
    from nudenet import NudeDetector

    theirs = NudeDetector()
    pictures = [read_picture(path) for path in sorted((shared_data / "data/images").iterdir())]
    assert len(pictures) > 20
    found_any = False
    for picture, parts in zip(pictures, detector.find_parts(pictures), strict=True):
        expected: dict[str, float] = {}
        for box in theirs.detect(picture):
            expected[box["class"]] = max(expected.get(box["class"], 0.0), box["score"])
        assert parts == pytest.approx(expected, abs=1e-3)
        found_any = found_any or bool(parts)
    assert found_any
    scores = [frame["nsfw"] for frame in detector.score(pictures).scores]
    assert max(scores) < 0.3


@pytest.mark.parametrize("turned", [False, True], ids=["wide", "tall"])
@pytest.mark.parametrize("far", [False, True], ids=["near end", "far end"])
def test_both_ends_of_a_long_frame_are_seen(
    detector: NudeNetDetector, shared_data: Path, turned: bool, far: bool
) -> None:
    """A face at either end of a frame eight times as long as wide is found as in a square one."""
    portrait = read_picture(shared_data / "data/images/painting_17.jpg")
    square = np.asarray(cv2.resize(portrait[:469], (320, 320)), dtype=np.uint8)
    end = slice(-320, None) if far else slice(0, 320)
    frame = np.zeros((2560, 320, 3) if turned else (320, 2560, 3), np.uint8)
    if turned:
        frame[end] = square
    else:
        frame[:, end] = square
    (alone,), (parts,) = detector.find_parts([square]), detector.find_parts([frame])
    assert alone.get("FACE_FEMALE", 0) > 0.5
    assert parts.get("FACE_FEMALE", 0) > 0.5


@pytest.mark.slow
def test_slivers_and_specks_are_scored(detector: NudeNetDetector) -> None:
    sizes = [(2, 2), (1, 1), (1920, 16), (16, 1920), (640, 360)]
    frames = [np.full((h, w, 3), 90, np.uint8) for w, h in sizes]
    answer = detector.score(frames)
    assert answer.failure is None
    assert [frame["nsfw"] for frame in answer.scores] == [0.0] * len(sizes)


def test_a_view_into_a_larger_array_is_fine(detector: NudeNetDetector) -> None:
    frame = np.zeros((200, 300, 3), np.uint8)[10:150, 20:200, ::-1]
    assert detector.score([frame]).scores == [{"nsfw": 0.0}]


def test_closing_twice_is_fine_and_scoring_after_is_not(detector: NudeNetDetector) -> None:
    mine = NudeNetDetector(threads=1)
    mine.close()
    mine.close()
    with pytest.raises(RuntimeError, match="closed"):
        mine.score([np.zeros((8, 8, 3), np.uint8)])
