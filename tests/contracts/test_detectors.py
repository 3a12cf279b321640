"""What every detector keeps to, whatever it asks: one suite over all of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from guardian_cli.detectors.base import DetectorOptions
from guardian_cli.detectors.clip import Prompts, load_clip
from guardian_cli.detectors.endpoint import EndpointDetector
from guardian_cli.detectors.model import load_model_detector
from guardian_cli.detectors.nudenet import NudeNetDetector
from guardian_cli.detectors.opennsfw import OpenNsfwDetector
from tests.detectors.heads import save_head
from tests.fakes import FakeDetector, RoughDetector
from tests.scoring_server import ScoringServer
from tests.tiny_clip import LABELS, draw_frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardian_cli.detectors.base import Answer, Detector
    from tests.tiny_clip import Picture, TinyClip

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tiny-clip")]

SUBJECTS = [
    "fake",
    "rough fake",
    "clip fp32",
    "clip bf16",
    "clip fp16",
    "endpoint",
    "model",
    "opennsfw",
    "nudenet",
]


@pytest.fixture(params=SUBJECTS, scope="module")
def detector(
    request: pytest.FixtureRequest,
    tiny_clip: TinyClip,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Detector]:
    name, _, precision = request.param.partition(" ")
    if name == "clip":
        prompts = {"nsfw": Prompts(tiny_clip.positive, tiny_clip.negative)}
        yield load_clip(
            tiny_clip.name,
            str(tiny_clip.checkpoint),
            prompts,
            model_config=tiny_clip.config,
            precision=precision,
            text_cache=None,
        )
    elif name == "endpoint":
        with ScoringServer() as server:
            yield EndpointDetector("nsfw", server.uri, "key")
    elif name == "nudenet":
        pytest.importorskip("nudenet", reason="the extra nudenet is not installed")
        yield NudeNetDetector(threads=1)
    elif name == "model":
        folder = tmp_path_factory.mktemp("model")
        save_head(folder, tiny_clip, hidden=8)
        yield load_model_detector("nsfw", str(folder), DetectorOptions())
    elif name == "opennsfw":
        yield OpenNsfwDetector(threads=1)
    else:
        yield {"fake": FakeDetector, "rough": RoughDetector}[name]()


def pictures() -> list[Picture]:
    """One shape each, of several sizes, the smallest a single pixel."""
    drawn = [draw_frame(label, size=(160, 90)) for label in LABELS]
    portrait = draw_frame(LABELS[0], size=(90, 200))
    return [*drawn, portrait, np.full((1, 1, 3), 200, np.uint8)]


def scores(answer: Answer, detector: Detector) -> list[dict[str, float]]:
    assert answer.failure is None
    for frame in answer.scores:
        assert set(frame) == set(detector.categories)
        assert all(math.isfinite(score) and 0 <= score <= 1 for score in frame.values())
    return [dict(frame) for frame in answer.scores]


def test_it_says_who_it_is_and_what_it_takes(detector: Detector) -> None:
    assert detector.info.name in {"clip", "endpoint", "model", "opennsfw", "nudenet"}
    assert detector.categories
    assert detector.info.category in {None, *detector.categories}
    assert detector.short_side_px > 0
    assert detector.batch_size >= 1
    assert detector.concurrency >= 1


def test_no_frames_have_no_scores(detector: Detector) -> None:
    assert list(detector.score([]).scores) == []
    assert list(detector.score_fp32([]).scores) == []


def test_every_frame_has_its_own_scores_in_order(detector: Detector) -> None:
    frames = pictures()
    together = scores(detector.score_fp32(frames), detector)
    backwards = scores(detector.score_fp32(frames[::-1]), detector)[::-1]
    alone = [scores(detector.score_fp32([frame]), detector)[0] for frame in frames]
    for one, other, single in zip(together, backwards, alone, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
        assert one == pytest.approx(single, abs=1e-4)


def test_a_score_is_off_by_no_more_than_it_says(detector: Detector) -> None:
    frames = pictures()
    rough, exact = detector.score(frames), detector.score_fp32(frames)
    assert not exact.errors
    errors = rough.errors or [dict.fromkeys(detector.categories, 0.0)] * len(frames)
    for frame, off_by, true in zip(rough.scores, errors, scores(exact, detector), strict=True):
        assert set(off_by) == set(frame)
        for category, score in frame.items():
            assert abs(score - true[category]) <= off_by[category] + 1e-4


def test_frames_are_left_as_they_were(detector: Detector) -> None:
    frames = pictures()
    before = [frame.copy() for frame in frames]
    detector.score(frames)
    for frame, kept in zip(frames, before, strict=True):
        assert np.array_equal(frame, kept)


def test_it_can_be_closed_twice(detector: Detector) -> None:
    """Last of all: the others share the detector."""
    detector.close()
    detector.close()
