"""Frames of many sources through detectors side by side."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from guardian_cli.detectors.base import DetectorInfo
from guardian_cli.scanning.scorer import FRAMES_UNDER_WAY, Scorer, ScoringStopped
from tests.fakes import FakeDetector


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
