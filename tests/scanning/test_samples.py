"""Still scenes are scored once, and nothing that changes is taken for still."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from guardian_cli.detectors.base import Answer
from guardian_cli.media.frames import Frame
from guardian_cli.scanning.frame_queue import Origin
from guardian_cli.scanning.samples import Picture, SampleCollector
from tests.fakes import FakeDetector, picture_of
from tests.scanning.harness import idle_scorer, running_scorer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guardian_cli.verdict.timeline import Sample


def scene(hot: bool = False) -> np.ndarray:
    """A still scene; hot is a single pixel, one level brighter than it was."""
    picture = np.random.default_rng(7).integers(20, 200, (224, 398, 3), np.uint8)
    if hot:
        picture[100, 200, 1] += 1
    return picture


def spot(image: np.ndarray) -> float:
    return 1.0 if image[100, 200, 1] == scene(hot=True)[100, 200, 1] else 0.0


def collect(detector: FakeDetector, pictures: Sequence[np.ndarray]) -> list[Sample]:
    with running_scorer([detector]) as scorer:
        collector = SampleCollector(scorer, lambda _: None)
        samples = collector.collect([Frame(float(at), one) for at, one in enumerate(pictures)])
        assert collector.scored[0] == (0 if detector.failure else len(pictures))
    return samples


def test_a_still_scene_is_scored_once_and_every_frame_has_its_score() -> None:
    detector = FakeDetector()
    samples = collect(detector, [scene() for _ in range(50)])
    assert sum(detector.batches) == 1
    assert [sample.time_s for sample in samples] == list(range(50))
    assert [sample.same_as_s for sample in samples] == [None, *[0.0] * 49]
    assert len({sample.scores["nsfw"].clip for sample in samples}) == 1


@pytest.mark.parametrize("at", [1, 25, 49])
def test_the_smallest_thing_in_a_still_scene_is_scored(at: int) -> None:
    detector = FakeDetector(function=spot)
    samples = collect(detector, [scene(hot=number == at) for number in range(50)])
    assert [sample.scores["nsfw"].clip for sample in samples] == [
        float(number == at) for number in range(50)
    ]
    assert samples[at].same_as_s is None
    assert sum(detector.batches) == (2 if at == 49 else 3)


def test_a_slow_fade_is_no_still_scene() -> None:
    detector = FakeDetector()
    samples = collect(detector, [np.full((8, 8, 3), level, np.uint8) for level in range(100)])
    assert sum(detector.batches) == 100
    assert all(sample.same_as_s is None for sample in samples)


def test_pictures_of_another_size_are_others() -> None:
    detector = FakeDetector()
    collect(detector, [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)])
    assert sum(detector.batches) == 2


@dataclass
class FailsAtFirst(FakeDetector):
    """Has no answer to its first calls."""

    fails: int = 1

    def score(self, images: Sequence[np.ndarray]) -> Answer:
        self.failure = "refused" if len(self.batches) < self.fails else None
        return super().score(images)


@pytest.mark.parametrize("fails", [1, 2])
def test_a_failure_that_comes_late_is_not_shared(fails: int) -> None:
    """The repeats come while the first one is under way; one more try is made for all of them."""
    detector = FailsAtFirst(fails=fails)
    with idle_scorer() as scorer:
        frames = [Frame(float(at), scene()) for at in range(6)]

        def handed_in() -> Iterator[Frame]:
            yield from frames
            scorer.start([detector])

        collector = SampleCollector(scorer, lambda _: None)
        samples = collector.collect(handed_in())
    scored = [sample.scores["nsfw"].clip is not None for sample in samples]
    assert detector.batches == [1, 1]
    assert scored == [False, *[fails == 1] * 5]
    assert collector.scored[0] == sum(scored)
    assert collector.failures == {0: "refused"}
    assert [sample.same_as_s for sample in samples] == [None, None, 1.0, 1.0, 1.0, 1.0]


def test_a_failure_that_is_known_is_not_shared() -> None:
    detector = FailsAtFirst(batch_size=1)
    with running_scorer([detector]) as scorer:
        scored = scorer.submit(scene(), Origin())
        scored.wait()
        assert not Picture(scene(), 0.0, scored).is_in(Frame(1.0, scene()))
        answered = scorer.submit(scene(), Origin())
        answered.wait()
        assert Picture(scene(), 1.0, answered).is_in(Frame(2.0, scene()))


def test_what_the_user_has_to_mend_is_told_before_what_passes() -> None:
    class Refuses(FakeDetector):
        def score(self, images: Sequence[np.ndarray]) -> Answer:
            wrong = not self.batches
            self.batches.append(len(images))
            return Answer([{} for _ in images], "401" if wrong else "503", misconfigured=wrong)

    with running_scorer([Refuses(batch_size=1)]) as scorer:
        collector = SampleCollector(scorer, lambda _: None)
        collector.collect([Frame(float(at), picture_of(at)) for at in range(3)])
    assert (collector.failures, collector.misconfigured) == ({0: "401"}, {0})
