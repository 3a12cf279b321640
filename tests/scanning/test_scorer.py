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
from guardian_cli.scanning.frame_queue import Origin
from guardian_cli.scanning.fusing import Fusing
from guardian_cli.scanning.scorer import FRAMES_UNDER_WAY, Scorer, ScoringStopped
from guardian_cli.verdict.category import Limits
from tests.fakes import (
    FakeDetector,
    FakeEndpoint,
    RoughDetector,
    brightness,
    number_in,
    picture_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def picture(value: int) -> np.ndarray:
    return np.full((4, 4, 3), value, np.uint8)


def test_every_frame_gets_its_own_score_from_every_detector() -> None:
    endpoint = FakeDetector(
        info=DetectorInfo("endpoint", "nsfw", None), function=lambda image: 0.25, concurrency=3
    )
    with Scorer([FakeDetector(), endpoint]) as scorer:
        tickets = [scorer.submit(picture(value)) for value in range(0, 250, 5)]
        for value, ticket in zip(range(0, 250, 5), tickets, strict=True):
            ticket.wait()
            assert ticket.scores[0]["nsfw"] == pytest.approx(value / 255)
            assert ticket.scores[1]["nsfw"] == 0.25
            assert ticket.image is None


def test_frames_of_several_sources_share_a_batch() -> None:
    gate = threading.Event()
    detector = FakeDetector(gate=gate, batch_size=16)
    with Scorer([detector]) as scorer:
        tickets = [scorer.submit(picture(1)) for _ in range(17)]
        gate.set()
        for ticket in tickets:
            ticket.wait()
    assert sum(detector.batches) == 17
    assert max(detector.batches) >= 8


def test_a_failed_call_leaves_the_other_detector_alone() -> None:
    failing = FakeDetector(failure="401 Unauthorized")
    with Scorer([FakeDetector(), failing]) as scorer:
        ticket = scorer.submit(picture(255))
        ticket.wait()
    assert ticket.scores[0] == {"nsfw": 1.0}
    assert ticket.failures == {1: "401 Unauthorized"}


def test_a_crash_reaches_whoever_waits() -> None:
    with Scorer([FakeDetector(crash=ZeroDivisionError("no"))]) as scorer:
        ticket = scorer.submit(picture(1))
        with pytest.raises(ZeroDivisionError):
            ticket.wait()


@dataclass
class Numbers(FakeDetector):
    """Says which frame it was shown; dies of the ones in `crashes`."""

    categories: Sequence[str] = ("number",)
    function: Callable[[np.ndarray], float] = number_in
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
    with Scorer([held, crashing]) as scorer:
        tickets = [scorer.submit(picture_of(number)) for number in range(60)]
        for number in sorted(crashing.crashes):
            assert tickets[number].done.wait(timeout=30)
        gate.set()
        crashed = 0
        for number, ticket in enumerate(tickets):
            try:
                ticket.wait()
            except ZeroDivisionError:
                crashed += 1
            else:
                assert ticket.scores == {0: {"number": number}, 1: {"number": number}}
            assert all(scores["number"] == number for scores in ticket.scores.values())
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

    with Scorer() as scorer:
        tickets = [scorer.submit(picture_of(number)) for number in range(2)]
        scorer.start([Miscounts()])
        for ticket in tickets:
            with pytest.raises(RuntimeError, match="each of 2 frames"):
                ticket.wait()
            assert ticket.scores == {}


def test_every_source_is_scored_by_one_deployment_whatever_comes_together() -> None:
    endpoint = FakeEndpoint(concurrency=3)
    with Scorer([FakeDetector(), endpoint]) as scorer:

        def scan(_: int) -> set[str]:
            origin = Origin(more=True)
            tickets = [scorer.submit(picture_of(number), origin) for number in range(40)]
            scorer.end(origin)
            for ticket in tickets:
                ticket.wait()
            return {ticket.deployments[1] for ticket in tickets}

        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(scan, range(20)))
    assert all(len(names) == 1 for names in found)
    assert Counter(name for names in found for name in names) == {"version-1": 10, "version-2": 10}
    named = sum(len(frames) for deployment, frames in endpoint.asked if deployment is not None)
    assert named >= 20 * (40 - endpoint.batch_size)


def test_no_more_frames_are_under_way_than_allowed() -> None:
    gate = threading.Event()
    entered = threading.Event()

    def submit_all(scorer: Scorer) -> None:
        for number in range(FRAMES_UNDER_WAY * 2):
            scorer.submit(picture(1))
            if number == FRAMES_UNDER_WAY - 1:
                entered.set()

    with Scorer([FakeDetector(gate=gate, batch_size=4)]) as scorer:
        thread = threading.Thread(target=submit_all, args=(scorer,), daemon=True)
        thread.start()
        assert entered.wait(timeout=10)
        assert thread.is_alive()
        gate.set()
        thread.join(timeout=30)
        assert not thread.is_alive()


def test_stopping_frees_everyone() -> None:
    gate = threading.Event()
    detector = FakeDetector(gate=gate)
    scorer = Scorer([detector])
    tickets = [scorer.submit(picture(1)) for _ in range(30)]
    scorer.stop()
    gate.set()
    stopped = 0
    for ticket in tickets:
        try:
            ticket.wait()
        except ScoringStopped:
            stopped += 1
    assert stopped >= 30 - detector.batch_size
    assert detector.closed
    with pytest.raises(ScoringStopped):
        scorer.submit(picture(1))


FUSING = Fusing({"nsfw": Limits(review=0.5, block=0.8)}, FusionSection())


def close_to(fused: float) -> np.ndarray:
    """A picture whose exact score, by CLIP alone, makes about `fused`."""
    return picture(round(fused / FUSING.weights.clip_only * 255))


def test_only_what_an_error_could_decide_is_scored_exactly() -> None:
    detector = RoughDetector()
    pictures = [close_to(fused) for fused in (0.1, 0.48, 0.6, 0.39, 0.79, 0.2)]
    with Scorer([detector], FUSING) as scorer:
        tickets = [scorer.submit(one) for one in pictures]
        for ticket in tickets:
            ticket.wait()
    assert [ticket.exactly for ticket in tickets] == [False, True, False, True, True, False]
    for one, ticket in zip(pictures, tickets, strict=True):
        off_by = 0.0 if ticket.exactly else detector.off_by
        assert ticket.scores[0]["nsfw"] == pytest.approx(one.mean() / 255 + off_by)
        assert ticket.image is None
    assert sum(detector.exact_batches) == 3
    assert 0 not in detector.exact_batches


def test_beside_a_custom_model_an_error_counts_as_much_as_the_score() -> None:
    """0.3 of CLIP's error: the fused score, 0.7 * 0.6 + 0.3 * clip, is off by 0.015."""
    endpoint = FakeDetector(info=DetectorInfo("endpoint", "nsfw", None), function=lambda image: 0.6)
    with Scorer([RoughDetector(), endpoint], FUSING) as scorer:
        far, near = scorer.submit(picture(40)), scorer.submit(picture(62))
        far.wait()
        near.wait()
    assert (far.exactly, near.exactly) == (False, True)
    assert near.scores[0]["nsfw"] == pytest.approx(62 / 255)
    assert near.scores[1]["nsfw"] == 0.6


def test_what_cannot_be_scored_exactly_is_not_scored() -> None:
    detector = RoughDetector(exact_failure="the weights are gone")
    with Scorer([detector], FUSING) as scorer:
        near, far = scorer.submit(close_to(0.49)), scorer.submit(close_to(0.1))
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

    scorer = Scorer([RoughDetector(function=hold)], FUSING)
    ticket = scorer.submit(close_to(0.49))
    assert asked.wait(timeout=30)
    scorer.stop()
    gate.set()
    assert ticket.done.wait(timeout=30)
    with pytest.raises(ScoringStopped):
        ticket.wait()


def test_frames_scored_again_are_bounded_as_all_others_are() -> None:
    detector = RoughDetector(batch_size=4)
    with Scorer([detector], FUSING) as scorer:
        tickets = [scorer.submit(close_to(0.49)) for _ in range(3 * FRAMES_UNDER_WAY)]
        for ticket in tickets:
            ticket.wait()
    assert sum(detector.exact_batches) == 3 * FRAMES_UNDER_WAY
    assert all(ticket.image is None for ticket in tickets)
