"""Sources through a real endpoint whose traffic is split: each by one deployment, or it is said."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from guardian_cli.detectors.endpoint import EndpointDetector
from guardian_cli.media.frames import Frame
from guardian_cli.scanning.samples import SampleCollector
from tests.fakes import picture_of
from tests.scanning.harness import running_scorer
from tests.scoring_server import HEADER, ScoringServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardian_cli.scanning.scorer import Scorer
    from guardian_cli.verdict.timeline import Sample

FRAMES = 31
SPLIT = {"version-1": lambda _: 0.1, "version-2": lambda _: 0.9}


def frames(count: int = FRAMES) -> Iterator[Frame]:
    for number in range(count):
        yield Frame(float(number), picture_of(number))


def scan(scorer: Scorer, found: Iterator[Frame]) -> tuple[SampleCollector, list[Sample]]:
    collector = SampleCollector(scorer, lambda _: None)
    return collector, collector.collect(found)


def open_scorer(stack: ExitStack, server: ScoringServer) -> Scorer:
    detector = stack.enter_context(closing(EndpointDetector("nsfw", server.uri)))
    return stack.enter_context(running_scorer([detector]))


@pytest.mark.slow
def test_a_split_of_traffic_is_a_split_of_sources() -> None:
    with ScoringServer(deployments=SPLIT) as server, ExitStack() as stack:
        scorer = open_scorer(stack, server)
        with ThreadPoolExecutor(4) as threads:
            scans = list(threads.map(lambda _: scan(scorer, frames()), range(12)))
        requests = len(server.requests)
    names: Counter[str] = Counter()
    for collector, samples in scans:
        ((name, count),) = collector.deployments[0].items()
        assert count == FRAMES
        names[name] += 1
        custom = {sample.scores["nsfw"].custom for sample in samples}
        assert custom == {0.1 if name == "version-1" else 0.9}
        assert not collector.failures
    assert names == {"version-1": 6, "version-2": 6}
    assert requests <= 12 * 8


def test_frames_that_come_slowly_are_sent_together() -> None:
    """Each comes once the endpoint has answered the one before, or has nothing to answer."""
    with ScoringServer() as server, ExitStack() as stack:
        scan(open_scorer(stack, server), frames())
        assert [len(request.jpegs) for request in server.requests[1:-1]] == [8] * (
            len(server.requests) - 2
        )
        assert len(server.requests) <= 6
        assert server.frames == FRAMES


def test_a_deployment_that_goes_away_in_mid_source_degrades_it_and_no_other() -> None:
    with ScoringServer(deployments=SPLIT) as server, ExitStack() as stack:
        scorer = open_scorer(stack, server)

        def until_it_is_gone() -> Iterator[Frame]:
            for frame in frames():
                if frame.time_s == 20.0:
                    server.wait_for(2)
                    del server.deployments["version-1"]
                yield frame

        collector, samples = scan(scorer, until_it_is_gone())
        other, _ = scan(scorer, frames())
    custom = [sample.scores["nsfw"].custom for sample in samples]
    assert set(custom) == {0.1, None}
    assert custom[-1] is None
    assert collector.failures == {0: "404 Not Found (no deployment version-1)"}
    assert not collector.misconfigured
    assert collector.deployments[0] == {"version-1": custom.count(0.1)}
    assert (other.failures, other.deployments[0]) == ({}, {"version-2": FRAMES})
    assert {request.headers.get(HEADER) for request in server.requests} == {
        None,
        "version-1",
        "version-2",
    }
