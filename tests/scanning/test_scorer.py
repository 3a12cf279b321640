"""Frames of many sources through detectors side by side."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from guardian_cli.config import FusionSection
from guardian_cli.detectors.base import Answer, DetectorInfo
from guardian_cli.scanning.frame_queue import Origin, PendingFrame
from guardian_cli.scanning.scorer import MAX_FRAMES_UNDER_WAY, Scorer, ScoringStopped
from guardian_cli.verdict.calibration import Calibration
from guardian_cli.verdict.thresholds import Thresholds
from tests.fakes import (
    FakeDetector,
    FakeEndpoint,
    RoughDetector,
    brightness,
    number_in,
    picture_of,
)
from tests.scanning.harness import idle_scorer, running_scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def submit(scorer: Scorer, image: np.ndarray) -> PendingFrame:
    """Hand in the only frame of a source."""
    return scorer.submit(image, Origin())


def picture(value: int) -> np.ndarray:
    return np.full((4, 4, 3), value, np.uint8)


def test_every_frame_gets_its_own_score_from_every_detector() -> None:
    endpoint = FakeDetector(
        info=DetectorInfo("endpoint", "nsfw", None), function=lambda image: 0.25, concurrency=3
    )
    with running_scorer([FakeDetector(), endpoint]) as scorer:
        frames = [submit(scorer, picture(value)) for value in range(0, 250, 5)]
        for value, frame in zip(range(0, 250, 5), frames, strict=True):
            frame.wait()
            assert frame.scores[0]["nsfw"] == pytest.approx(value / 255)
            assert frame.scores[1]["nsfw"] == 0.25
            assert frame.image is None


def test_frames_of_several_sources_share_a_batch() -> None:
    gate = threading.Event()
    detector = FakeDetector(gate=gate, batch_size=16)
    with running_scorer([detector]) as scorer:
        frames = [submit(scorer, picture(1)) for _ in range(17)]
        gate.set()
        for frame in frames:
            frame.wait()
    assert sum(detector.batches) == 17
    assert max(detector.batches) >= 8


def test_a_failed_call_leaves_the_other_detector_alone() -> None:
    failing = FakeDetector(failure="401 Unauthorized")
    with running_scorer([FakeDetector(), failing]) as scorer:
        frame = submit(scorer, picture(255))
        frame.wait()
    assert frame.scores[0] == {"nsfw": 1.0}
    assert frame.failures == {1: "401 Unauthorized"}


@pytest.mark.parametrize("score", [87.0, -0.5, float("nan")])
def test_a_score_that_is_none_is_a_failure_not_left_out(score: float) -> None:
    percent = FakeDetector(info=DetectorInfo("mine", None, None), function=lambda image: score)
    with running_scorer([FakeDetector(), percent]) as scorer:
        frame = submit(scorer, picture(255))
        frame.wait()
    assert frame.scores == {0: {"nsfw": 1.0}, 1: {}}
    assert frame.failures == {1: "mine answered with no number in 0..1"}


def test_detectors_of_one_name_speak_with_one_voice() -> None:
    mine = DetectorInfo("mine", None, None)
    low = FakeDetector(info=mine, function=lambda image: 0.2)
    with running_scorer([low, FakeDetector(info=mine), low]) as scorer:
        frame = submit(scorer, picture(255))
        frame.wait()
        assert scorer.fuse(frame.scores)["nsfw"].by_detector == {"mine": 1.0}


def test_a_crash_reaches_whoever_waits() -> None:
    with running_scorer([FakeDetector(crash=ZeroDivisionError("no"))]) as scorer:
        frame = submit(scorer, picture(1))
        with pytest.raises(ZeroDivisionError):
            frame.wait()


@dataclass
class Numbers(FakeDetector):
    """Says which frame it was shown; dies of the ones in `crashes`."""

    categories: Sequence[str] = ("number",)
    function: Callable[[np.ndarray], float] = lambda image: number_in(image) / 100
    crashes: frozenset[int] = frozenset()

    def score(self, images: Sequence[np.ndarray]) -> Answer:
        if self.crashes & {number_in(image) for image in images}:
            raise ZeroDivisionError
        return super().score(images)


def test_a_crash_puts_no_score_on_another_frame() -> None:
    """While one detector is held, the other dies of some of the frames that wait for the first."""
    gate = threading.Event()
    held = Numbers(gate=gate, batch_size=16)
    crashing = Numbers(crashes=frozenset(range(3, 60, 7)), batch_size=2)
    with running_scorer([held, crashing]) as scorer:
        frames = [submit(scorer, picture_of(number)) for number in range(60)]
        for number in sorted(crashing.crashes):
            assert frames[number].done.wait(timeout=30)
        gate.set()
        crashed = 0
        for number, frame in enumerate(frames):
            try:
                frame.wait()
            except ZeroDivisionError:
                crashed += 1
            else:
                assert frame.scores == {index: {"number": number / 100} for index in (0, 1)}
            assert all(scores["number"] == number / 100 for scores in frame.scores.values())
    assert len(crashing.crashes) <= crashed <= 2 * len(crashing.crashes)


@pytest.mark.parametrize(
    "answer",
    [
        Answer([{"nsfw": 0.1}]),
        Answer([{"nsfw": 0.1}] * 3),
        Answer([{"nsfw": 0.1}] * 2, errors=[{}]),
    ],
)
def test_an_answer_of_another_length_scores_nothing(answer: Answer) -> None:
    class Miscounts(FakeDetector):
        def score(self, images: Sequence[np.ndarray]) -> Answer:
            return answer

    with idle_scorer() as scorer:
        frames = [submit(scorer, picture_of(number)) for number in range(2)]
        scorer.start([Miscounts()])
        for frame in frames:
            with pytest.raises(RuntimeError, match="each of 2 frames"):
                frame.wait()
            assert frame.scores == {}


def test_every_source_is_scored_by_one_deployment_whatever_comes_together() -> None:
    endpoint = FakeEndpoint(concurrency=3)
    with running_scorer([FakeDetector(), endpoint]) as scorer:

        def scan(_: int) -> set[str]:
            origin = Origin(more=True)
            frames = [scorer.submit(picture_of(number), origin) for number in range(40)]
            scorer.end(origin)
            for frame in frames:
                frame.wait()
            return {frame.deployments[1] for frame in frames}

        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(scan, range(20)))
    assert all(len(names) == 1 for names in found)
    assert Counter(name for names in found for name in names) == {"version-1": 10, "version-2": 10}
    named = sum(len(frames) for deployment, frames in endpoint.asked if deployment is not None)
    assert named >= 20 * (40 - endpoint.batch_size)


def test_no_more_frames_are_under_way_than_allowed() -> None:
    """The detector has its first batch and keeps it: none of the frames can end before it does."""
    gate, through = threading.Event(), threading.Event()

    def hand_in_one_more(scorer: Scorer) -> None:
        submit(scorer, picture(1))
        through.set()

    with running_scorer([FakeDetector(gate=gate, batch_size=4)]) as scorer:
        for _ in range(MAX_FRAMES_UNDER_WAY):
            submit(scorer, picture(1))
        more = threading.Thread(target=hand_in_one_more, args=(scorer,))
        more.start()
        assert not through.wait(timeout=0.1)
        gate.set()
        assert through.wait(timeout=30)
        more.join()


def test_stopping_frees_everyone() -> None:
    gate = threading.Event()
    detector = FakeDetector(gate=gate)
    scorer = running_scorer([detector])
    frames = [submit(scorer, picture(1)) for _ in range(30)]
    scorer.stop()
    gate.set()
    stopped = 0
    for frame in frames:
        try:
            frame.wait()
        except ScoringStopped:
            stopped += 1
    assert stopped >= 30 - detector.batch_size
    assert detector.closed
    with pytest.raises(ScoringStopped):
        submit(scorer, picture(1))


def close_to(fused: float) -> np.ndarray:
    """A picture whose exact score, by CLIP alone, makes about `fused`."""
    return picture(round(fused / FusionSection().clip_only * 255))


def test_only_what_an_error_could_decide_is_scored_exactly() -> None:
    detector = RoughDetector()
    pictures = [close_to(fused) for fused in (0.1, 0.48, 0.6, 0.39, 0.79, 0.2)]
    with running_scorer([detector]) as scorer:
        frames = [submit(scorer, one) for one in pictures]
        for frame in frames:
            frame.wait()
    assert [frame.in_fp32 for frame in frames] == [False, True, False, True, True, False]
    for one, frame in zip(pictures, frames, strict=True):
        off_by = 0.0 if frame.in_fp32 else detector.off_by
        assert frame.scores[0]["nsfw"] == pytest.approx(one.mean() / 255 + off_by)
        assert frame.image is None
    assert sum(detector.exact_batches) == 3
    assert 0 not in detector.exact_batches


def test_beside_a_custom_model_an_error_counts_as_much_as_the_score() -> None:
    """0.3 of CLIP's error: the fused score, 0.7 * 0.6 + 0.3 * clip, is off by 0.015."""
    endpoint = FakeDetector(info=DetectorInfo("endpoint", "nsfw", None), function=lambda image: 0.6)
    with running_scorer([RoughDetector(), endpoint]) as scorer:
        far, near = submit(scorer, picture(40)), submit(scorer, picture(62))
        far.wait()
        near.wait()
    assert (far.in_fp32, near.in_fp32) == (False, True)
    assert near.scores[0]["nsfw"] == pytest.approx(62 / 255)
    assert near.scores[1]["nsfw"] == 0.6


def test_what_cannot_be_scored_exactly_is_not_scored() -> None:
    detector = RoughDetector(exact_failure="the weights are gone")
    with running_scorer([detector]) as scorer:
        near, far = submit(scorer, close_to(0.49)), submit(scorer, close_to(0.1))
        near.wait()
        far.wait()
    assert (near.scores[0], near.failures) == ({}, {0: "the weights are gone"})
    assert far.failures == {}
    assert far.scores[0]


def test_stopping_frees_a_frame_that_was_to_be_scored_again() -> None:
    asked, gate = threading.Event(), threading.Event()

    def hold(image: np.ndarray) -> float:
        asked.set()
        gate.wait(timeout=30)
        return brightness(image)

    scorer = running_scorer([RoughDetector(function=hold)])
    frame = submit(scorer, close_to(0.49))
    assert asked.wait(timeout=30)
    scorer.stop()
    gate.set()
    assert frame.done.wait(timeout=30)
    with pytest.raises(ScoringStopped):
        frame.wait()


def test_frames_scored_again_are_bounded_as_all_others_are() -> None:
    detector = RoughDetector(batch_size=4)
    with running_scorer([detector]) as scorer:
        frames = [submit(scorer, close_to(0.49)) for _ in range(3 * MAX_FRAMES_UNDER_WAY)]
        for frame in frames:
            frame.wait()
    assert sum(detector.exact_batches) == 3 * MAX_FRAMES_UNDER_WAY
    assert all(frame.image is None for frame in frames)


def test_early_frames_are_scored_when_the_detectors_come() -> None:
    with idle_scorer() as scorer:
        early = [submit(scorer, picture(51)) for _ in range(10)]
        assert not any(frame.done.is_set() for frame in early)
        scorer.start([FakeDetector(), FakeDetector()])
        late = submit(scorer, picture(51))
        for frame in (*early, late):
            frame.wait()
            assert [scores["nsfw"] for scores in frame.scores.values()] == [0.2, 0.2]


def test_early_frames_are_done_at_once_where_nobody_scores() -> None:
    with idle_scorer() as scorer:
        frame = submit(scorer, picture(51))
        scorer.start([])
        frame.wait()
        assert not frame.scores


def test_no_more_than_a_bounded_number_waits_for_the_detectors() -> None:
    with idle_scorer() as scorer:
        for _ in range(MAX_FRAMES_UNDER_WAY):
            submit(scorer, picture(51))
        through = threading.Event()

        def hand_in_one_more() -> None:
            submit(scorer, picture(51))
            through.set()

        more = threading.Thread(target=hand_in_one_more)
        more.start()
        assert not through.wait(timeout=0.1)
        scorer.start([FakeDetector()])
        assert through.wait(timeout=30)
        more.join()


def test_what_waits_is_let_go_when_there_will_be_no_detectors() -> None:
    scorer = idle_scorer()
    frame = submit(scorer, picture(51))
    told = threading.Event()

    def wait() -> None:
        with pytest.raises(ScoringStopped):
            scorer.wait_until_started()
        told.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    scorer.stop()
    waiting.join()
    assert told.is_set()
    with pytest.raises(ScoringStopped):
        frame.wait()
    with pytest.raises(ScoringStopped):
        submit(scorer, picture(51))


def test_fused_scores_are_on_the_calibrated_scale_and_those_beneath_are_not() -> None:
    points = ((0.0, 0.01), (0.5, 0.2), (1.0, 0.99))
    limits = {"nsfw": Thresholds(0.3, 0.8, calibration=Calibration(points))}
    with running_scorer([FakeDetector(function=lambda _: 0.5)], limits) as scorer:
        frame = submit(scorer, picture(1))
        frame.wait()
        score = scorer.fuse(frame.scores)["nsfw"]
    assert score.clip == 0.5
    assert score.fused == Calibration(points).apply(0.85 * 0.5)
