"""Frames may come before the detectors do: they wait, bounded, and are scored or let go."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from guardian_cli.scanning.scorer import FRAMES_UNDER_WAY, Scorer, ScoringStopped
from tests.fakes import FakeDetector

PICTURE = np.full((4, 4, 3), 51, np.uint8)


def test_early_frames_are_scored_when_the_detectors_come() -> None:
    with Scorer() as scorer:
        early = [scorer.submit(PICTURE) for _ in range(10)]
        assert not any(ticket.done.is_set() for ticket in early)
        scorer.start([FakeDetector(), FakeDetector()])
        late = scorer.submit(PICTURE)
        for ticket in (*early, late):
            ticket.wait()
            assert [scores["nsfw"] for scores in ticket.scores.values()] == [0.2, 0.2]


def test_early_frames_are_done_at_once_where_nobody_scores() -> None:
    with Scorer() as scorer:
        ticket = scorer.submit(PICTURE)
        scorer.start([])
        ticket.wait()
        assert not ticket.scores


def test_no_more_than_a_bounded_number_waits() -> None:
    with Scorer() as scorer:
        for _ in range(FRAMES_UNDER_WAY):
            scorer.submit(PICTURE)
        through = threading.Event()

        def hand_in_one_more() -> None:
            scorer.submit(PICTURE)
            through.set()

        more = threading.Thread(target=hand_in_one_more)
        more.start()
        assert not through.wait(timeout=0.1)
        scorer.start([FakeDetector()])
        assert through.wait(timeout=30)
        more.join()


def test_what_waits_is_let_go_when_there_will_be_no_detectors() -> None:
    scorer = Scorer()
    ticket = scorer.submit(PICTURE)
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
        ticket.wait()
    with pytest.raises(ScoringStopped):
        scorer.submit(PICTURE)
