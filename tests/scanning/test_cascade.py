"""Cheap first: what a free detector is sure of is not sent to one that bills."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.config import CascadeSection, FusionSection
from guardian_cli.detectors.base import Answer, DetectorInfo, DetectorSpec
from guardian_cli.detectors.endpoint.detector import EndpointDetector
from guardian_cli.media.frames import Frame
from guardian_cli.reports.document import dumps, to_line
from guardian_cli.reports.schemas import load_schema
from guardian_cli.scanning.cascade import Gate, make_gates, without_effect
from guardian_cli.scanning.decoder_pool import DecoderPool
from guardian_cli.scanning.frame_queue import Origin
from guardian_cli.scanning.samples import SampleCollector
from guardian_cli.scanning.scorer import Scorer, ScoringStopped
from tests.fakes import (
    BilledEndpoint,
    FakeDecoder,
    FakeDetector,
    FakeEndpoint,
    number_in,
    picture_of,
)
from tests.scanning.harness import BOTH, NSFW, scan_context, scan_one
from tests.scoring_server import ScoringServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardian_cli.detectors.base import Detector
    from guardian_cli.verdict.timeline import Sample
    from tests.fakes import Image

CASCADE = {"nsfw": CascadeSection(below=0.1)}
UNIT = st.floats(0, 1)
LEVELS = list(enumerate((10, 11, 200, 201, 12, 13)))


def offline(**more: object) -> FakeDetector:
    """An offline detector: the score is the number in the picture, in hundredths."""
    settings: dict[str, object] = {"function": lambda image: number_in(image) / 100, **more}
    return FakeDetector(info=DetectorInfo("offline", "nsfw", "fake"), **settings)  # type: ignore[arg-type]


def endpoint(**more: object) -> BilledEndpoint:
    """An endpoint with one deployment, which scores 0.5 whatever it sees."""
    settings: dict[str, object] = {
        "function": lambda image: 0.5,
        "deployments": ("version-1",),
        **more,
    }
    return BilledEndpoint(**settings)  # type: ignore[arg-type]


def asked(billed: FakeEndpoint) -> set[int]:
    return {number for _, numbers in billed.asked for number in numbers}


def scan(
    *detectors: Detector, numbers: Sequence[int] = range(20)
) -> tuple[SampleCollector, list[Sample]]:
    """Score a source of these frames by a scorer with a cascade."""
    scorer = Scorer(BOTH, FusionSection(), CASCADE)
    with scorer:
        scorer.start(detectors)
        collector = SampleCollector(scorer, lambda time_s: None)
        frames = (Frame(float(at), picture_of(n)) for at, n in enumerate(numbers))
        return collector, collector.collect(frames)


def test_only_what_is_not_sure_is_sent() -> None:
    billed = endpoint()
    collector, samples = scan(billed, offline(), FakeDetector(function=lambda image: 0.2))
    assert asked(billed) == set(range(10, 20))
    assert (billed.not_sent, collector.not_sent[0], collector.scored[0]) == (10, 10, 10)
    assert collector.not_sent[1] == collector.not_sent[2] == 0
    for number, sample in enumerate(samples):
        score = sample.scores["nsfw"]
        assert sample.not_sent == (("nsfw",) if number < 10 else ())
        assert score.custom == (number / 100 if number < 10 else 0.5)
        assert score.fused == pytest.approx(0.7 * score.custom + 0.3 * 0.2)


@pytest.mark.parametrize(
    "first",
    [
        offline(failure="out of memory"),
        offline(function=lambda image: float("nan")),
        offline(categories=("violence",)),
        FakeDetector(function=lambda image: 0.0),
    ],
    ids=["it fails", "it answers nonsense", "it scores another category", "it is CLIP"],
)
def test_who_cannot_say_holds_nothing_back(first: FakeDetector) -> None:
    billed = endpoint()
    collector, _ = scan(first, billed)
    assert asked(billed) == set(range(20))
    assert (billed.not_sent, collector.not_sent.total()) == (0, 0)


def test_all_that_can_judge_have_to_be_sure() -> None:
    billed = endpoint()
    scan(offline(), offline(function=lambda image: number_in(image) % 2), billed)
    assert asked(billed) == set(range(1, 20, 2)) | set(range(10, 20))


def test_another_category_and_a_detector_that_is_free_are_asked_as_ever() -> None:
    other = endpoint(info=DetectorInfo("endpoint", "violence", "fake"), categories=("violence",))
    free = FakeEndpoint(deployments=("version-1",))
    scan(other, free, offline())
    assert asked(other) == asked(free) == set(range(20))


def test_a_picture_that_is_repeated_is_counted_as_often_as_it_is_seen() -> None:
    billed = endpoint()
    collector, _ = scan(billed, offline(), numbers=[3, 3, 3, 50, 50])
    assert (billed.not_sent, collector.not_sent[0], collector.scored[0]) == (1, 3, 2)


def test_a_crash_of_who_is_asked_first_reaches_the_source() -> None:
    with pytest.raises(ZeroDivisionError):
        scan(offline(crash=ZeroDivisionError("no")), endpoint())


def test_a_stop_while_frames_are_held_leaves_nobody_waiting() -> None:
    gate, entered = threading.Event(), threading.Event()

    @dataclass
    class Slow(FakeDetector):
        def score(self, images: Sequence[Image]) -> Answer:
            entered.set()
            gate.wait(timeout=30)
            return Answer([{"nsfw": 0.9} for _ in images])

    scorer = Scorer(BOTH, FusionSection(), CASCADE)
    scorer.start([Slow(info=DetectorInfo("offline", "nsfw", "fake"), batch_size=2), endpoint()])
    frames = [scorer.submit(picture_of(number), Origin()) for number in range(6)]
    assert entered.wait(timeout=30)
    scorer.stop()
    gate.set()
    for frame in frames:
        with pytest.raises(ScoringStopped):
            frame.wait()


def test_it_is_counted_where_the_endpoint_is_reported() -> None:
    """A real endpoint on loopback: what it got, its line on stderr, and the document."""
    frames = [Frame(float(at), np.full((8, 8, 3), level, np.uint8)) for at, level in LEVELS]
    first = FakeDetector(info=DetectorInfo("offline", "nsfw", "fake"))
    pool = DecoderPool(1, lambda: FakeDecoder(frames))
    scorer = Scorer(NSFW, FusionSection(), {"nsfw": CascadeSection(below=0.5)})
    with ScoringServer(lambda image: 0.25) as server, closing(pool), scorer:
        billed = EndpointDetector("nsfw", server.uri)
        scorer.start([billed, first])
        context = scan_context(scorer, thresholds=NSFW, keep_frames=True)
        element = json.loads(dumps(to_line(scan_one(context, pool, "video.mp4"))))
        assert billed.summary() is not None
        assert (billed.summary() or "").endswith(", 4 not sent (scan.cascade)")
        assert sum(len(request.jpegs) for request in server.requests) == 2
    del element["made"]
    jsonschema.validate(element, load_schema("scan"))
    counts = {one["name"]: (one["frames"], one["not_sent"]) for one in element["detectors"]}
    assert counts == {"endpoint": (2, 4), "offline": (6, 0)}
    dark = [frame for frame in element["frames"] if frame.get("not_sent") == ["nsfw"]]
    assert [frame["time_s"] for frame in dark] == [0.0, 1.0, 4.0, 5.0]


def test_an_endpoint_that_was_spared_everything_says_so() -> None:
    billed = EndpointDetector("nsfw", "http://127.0.0.1:1/score")
    assert billed.summary() is None
    billed.note_not_sent(12)
    said = "Model endpoint nsfw: http://127.0.0.1:1/score not asked, 12 not sent (scan.cascade)"
    assert billed.summary() == said


@given(st.lists(UNIT, min_size=1, max_size=3), UNIT, st.floats(0.01, 1))
def test_a_gate_is_sure_just_where_every_score_is_below(
    scores: list[float], error: float, below: float
) -> None:
    gate = Gate("nsfw", below, tuple(range(len(scores))))
    answers = {index: {"nsfw": score} for index, score in enumerate(scores)}
    errors = {0: {"nsfw": error}}
    assert gate.is_sure(answers, {}) == (max(scores) < below)
    assert gate.is_sure(answers, errors) == (max(scores[0] + error, *scores) < below)
    assert gate.is_sure({**answers, 0: {}}, {}) is False
    del answers[0]
    assert gate.is_sure(answers, {}) is None


def test_a_cascade_that_changes_nothing_is_said() -> None:
    def spec(name: str, category: str | None, *categories: str) -> DetectorSpec:
        return DetectorSpec(DetectorInfo(name, category, None), categories, 64, FakeDetector)

    specs = [spec("clip", None, "nsfw"), spec("endpoint", "nsfw", "nsfw")]
    (said,) = without_effect(CASCADE, specs)
    assert said.startswith("scan.cascade.nsfw has no effect")
    assert not list(without_effect(CASCADE, [*specs, spec("opennsfw", "nsfw", "nsfw")]))
    assert not list(without_effect(CASCADE, specs[:1]))
    named = [*specs, spec("opennsfw", "nsfw", "nsfw")]
    assert list(without_effect(CASCADE, named, {"opennsfw"})) == [said]
    assert not make_gates({}, [endpoint(), offline()])


def test_who_only_stands_in_for_clip_holds_nothing_back() -> None:
    judge, billed = offline(), endpoint()
    assert make_gates(CASCADE, [billed, judge])
    assert not make_gates(CASCADE, [billed, judge], {judge.info.name})
