"""The whole detector against a real scoring server on loopback."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from guardian_cli.detectors.endpoint import EndpointDetector
from guardian_cli.errors import UsageError
from tests.scoring_server import HEADER, ScoringServer, Step, redness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from guardian_cli.detectors.base import Answer, Detector

KEY = "s3cret-key"


def red_of(share: float, height: int = 60, width: int = 80) -> NDArray[np.uint8]:
    """A frame with a redness of about `share`."""
    colour = np.array([255 * (1 - share), 0, 255 * share], np.uint8)
    return np.broadcast_to(colour, (height, width, 3)).copy()


@contextmanager
def detector(uri: str, **options: Any) -> Iterator[EndpointDetector]:
    options = {"first_pause_s": 0.001, **options}
    with closing(EndpointDetector("nsfw", uri, KEY, **options)) as opened:
        yield opened


def values(answer: Answer) -> list[float]:
    assert answer.failure is None
    return [scores["nsfw"] for scores in answer.scores]


def line(subject: EndpointDetector, hint: str | None = None) -> str:
    summary = subject.summary()
    assert summary is not None
    assert KEY not in summary
    first, *hints = summary.split("\n")
    assert hints == ([f"hint: {hint}"] if hint else [])
    assert first.isprintable()
    return first


def test_it_is_a_detector() -> None:
    with detector("https://me:pass@host/score?code=token") as subject:
        follows: Detector = subject
        assert follows.categories == ("nsfw",)
        assert follows.info.name == "endpoint"
        assert follows.info.category == "nsfw"
        assert follows.info.model == "https://host/score?…"
        assert follows.short_side_px == 336
        assert KEY not in repr(subject)
        assert subject.summary() is None


def test_scores_come_back_in_the_order_of_the_frames() -> None:
    shares = [0.0, 0.25, 0.5, 0.75, 1.0]
    with ScoringServer(key=KEY) as server, detector(server.uri) as subject:
        scores = values(subject.score([red_of(share) for share in shares]))
        assert scores == pytest.approx(shares, abs=0.02)
        assert [len(request.jpegs) for request in server.requests] == [5]
        shown = re.escape(server.uri)
        assert re.fullmatch(
            rf"Model endpoint nsfw: {shown} ok, 5 frames, p50 \d+ ms", line(subject)
        )


def test_exactly_zero_is_an_answer() -> None:
    with ScoringServer(lambda image: 0) as server, detector(server.uri) as subject:
        assert values(subject.score([red_of(0.5)])) == [0.0]
        assert " ok, 1 frame, " in line(subject)


def test_no_frames_are_no_request() -> None:
    with ScoringServer() as server, detector(server.uri) as subject:
        assert values(subject.score([])) == []
        assert server.requests == []


def test_the_whole_frame_is_sent_with_336_px_at_most() -> None:
    frame = np.zeros((720, 1280, 3), np.uint8)
    frame[:, :20] = (0, 0, 255)
    frame[:, -20:] = (0, 255, 0)
    with ScoringServer() as server, detector(server.uri) as subject:
        subject.score([frame])
        (sent,) = server.requests[0].images
        assert sent.shape == (336, 597, 3)
        assert sent[168, 2].tolist() == pytest.approx([0, 0, 255], abs=12)
        assert sent[168, -3].tolist() == pytest.approx([0, 255, 0], abs=12)


def test_more_frames_than_a_batch_travel_in_several_requests() -> None:
    with ScoringServer() as server, detector(server.uri, batch_size=4) as subject:
        assert len(values(subject.score([red_of(0.5)] * 10))) == 10
        assert [len(request.jpegs) for request in server.requests] == [4, 4, 2]


def test_a_request_stays_under_what_an_endpoint_takes() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 700, 3), np.uint8)
    with ScoringServer() as server, detector(server.uri) as subject:
        assert len(values(subject.score([noise] * 8))) == 8
        sizes = [int(request.headers["Content-Length"]) for request in server.requests]
        assert len(sizes) > 1
        assert max(sizes) < 1_500_000


def test_requests_under_way_are_bounded() -> None:
    with (
        ScoringServer(usual=Step(hang=True)) as server,
        detector(server.uri, concurrency=3) as subject,
        ThreadPoolExecutor(9) as threads,
    ):
        answers = [threads.submit(subject.score, [red_of(0.5)]) for _ in range(9)]
        server.wait_for(3)
        server.release()
        assert all(values(answer.result()) for answer in answers)
        assert server.most_at_once == 3


def test_a_busy_endpoint_is_waited_for() -> None:
    script = [Step(429, headers={"Retry-After": "0.05"}), Step(503)]
    with ScoringServer(script=script) as server, detector(server.uri) as subject:
        assert values(subject.score([red_of(1.0)])) == pytest.approx([1.0], abs=0.02)
        first, second = server.requests[:2]
        assert second.at_s - first.at_s >= 0.05
        assert " ok, 1 frame, " in line(subject)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (Step(408), "408 Request Timeout (the model took too long)"),
        (Step(424), "424 Failed Dependency (the model itself failed)"),
        (Step(429), "429 Too Many Requests"),
        (Step(500), "500 Internal Server Error"),
        (Step(503), "503 Service Unavailable"),
        (Step(body=b"[0.1, 0.2]"), "an answer that makes no sense: 2 scores for 3 frames"),
        (Step(body=b"[0.1, NaN, 0.3]"), "an answer that makes no sense: a score is NaN"),
        (Step(body=b"<html>"), "an answer that makes no sense: the answer is not JSON"),
        (Step(drop=True), "connection lost"),
    ],
)
def test_a_failure_is_one_line_and_no_score(step: Step, reason: str) -> None:
    with ScoringServer(usual=step) as server, detector(server.uri) as subject:
        answer = subject.score([red_of(0.5)] * 3)
        assert answer.failure == reason
        assert list(answer.scores) == [{}, {}, {}]
        assert line(subject) == (
            f"Model endpoint nsfw: {server.uri} failed: {reason}, 0 of 3 frames"
        )


SET_KEY = "set NSFW_KEY to the key of this endpoint"
SET_ADDRESS = "set NSFW to the address that guardian endpoints shows"
NAMES = {"named_by": "NSFW", "key_named_by": "NSFW_KEY"}


@pytest.mark.parametrize(
    ("step", "reason", "hint"),
    [
        (Step(401), "401 Unauthorized (wrong key?)", SET_KEY),
        (Step(403), "403 Forbidden (the key is not allowed here)", SET_KEY),
        (
            Step(404),
            "404 Not Found (no such endpoint, or no deployment with traffic)",
            SET_ADDRESS,
        ),
        (
            Step(400),
            "400 Bad Request",
            "what NSFW leads to must take MLflow's input_data with JPEGs in base64",
        ),
    ],
)
def test_what_the_user_has_to_mend_says_how(step: Step, reason: str, hint: str) -> None:
    with ScoringServer(usual=step) as server, detector(server.uri, **NAMES) as subject:
        answer = subject.score([red_of(0.5)] * 3)
        assert (answer.failure, answer.misconfigured) == (f"{reason}: {hint}", True)
        assert list(answer.scores) == [{}, {}, {}]
        assert line(subject, hint) == (
            f"Model endpoint nsfw: {server.uri} failed: {reason}, 0 of 3 frames"
        )


def test_a_source_stays_with_who_answered_first() -> None:
    server = ScoringServer(deployments={"version-1": lambda image: 0.1, "version-2": redness})
    with server, detector(server.uri, batch_size=2) as subject:
        answer = subject.score_by(None, [red_of(1.0)] * 6)
        assert (answer.deployment, values(answer)) == ("version-1", [0.1] * 6)
        answer = subject.score_by("version-1", [red_of(1.0)])
        assert (answer.deployment, values(answer)) == ("version-1", [0.1])
        assert subject.score_by(None, [red_of(1.0)]).deployment == "version-2"


def test_halves_of_a_request_that_was_too_large_go_to_one_deployment() -> None:
    server = ScoringServer(deployments={"a": redness, "b": redness}, script=[Step(413)])
    with server, detector(server.uri) as subject:
        answer = subject.score_by(None, [red_of(1.0)] * 4)
        assert answer.deployment == "a"
        assert [request.headers.get(HEADER) for request in server.requests] == [None, None, "a"]


def test_one_that_went_away_is_an_outage_and_one_that_never_was_a_mistake() -> None:
    with ScoringServer(deployments={"version-2": redness}) as server:
        with detector(server.uri) as subject:
            answer = subject.score_by("version-1", [red_of(1.0)])
            assert answer.failure == "404 Not Found (no deployment version-1)"
            assert (answer.misconfigured, answer.scores) == (False, [{}])
        with detector(server.uri, deployment="version-1") as subject:
            answer = subject.score_by(None, [red_of(1.0)])
            assert answer.failure is not None
            assert answer.failure.endswith("lists the names that --deployment may have")
            assert answer.misconfigured


def test_a_dead_endpoint_is_left_alone_and_the_line_says_the_cause() -> None:
    with ScoringServer(usual=Step(401)) as server, detector(server.uri, **NAMES) as subject:
        answers = [subject.score([red_of(0.5)]) for _ in range(60)]
        assert len(server.requests) == 3
        last = f"circuit open: 401 Unauthorized (wrong key?): {SET_KEY}"
        assert (answers[-1].failure, answers[-1].misconfigured) == (last, True)
        assert line(subject, SET_KEY) == (
            f"Model endpoint nsfw: {server.uri} failed: 401 Unauthorized (wrong key?),"
            " 0 of 60 frames"
        )


def test_a_black_hole_costs_two_time_outs_at_most() -> None:
    timeout_s = 0.3
    with (
        ScoringServer(usual=Step(hang=True)) as server,
        detector(server.uri, timeout_s=timeout_s) as subject,
        ThreadPoolExecutor(2) as threads,
    ):
        begun_s = time.monotonic()
        answers = list(threads.map(subject.score, [[red_of(0.5)]] * 60))
        assert time.monotonic() - begun_s < 3 * timeout_s + 2
        assert all(answer.failure for answer in answers)
        assert len(server.requests) <= 4


def test_an_endpoint_that_breaks_half_way_is_degraded() -> None:
    server = ScoringServer(script=[Step()] * 4, usual=Step(403))
    with server, detector(server.uri, **NAMES) as subject:
        for _ in range(6):
            subject.score([red_of(0.5)] * 10)
        assert re.fullmatch(
            r"Model endpoint nsfw: \S+ degraded, 20 of 60 frames, p50 \d+ ms,"
            r" last error: 403 Forbidden \(the key is not allowed here\)",
            line(subject, SET_KEY),
        )


def test_a_request_that_is_too_large_is_halved_and_the_next_ones_too() -> None:
    script = [Step(413), Step(413), *[Step()] * 4]
    with ScoringServer(script=script) as server, detector(server.uri) as subject:
        assert len(values(subject.score([red_of(0.5)] * 8))) == 8
        assert [len(request.jpegs) for request in server.requests] == [8, 4, 2, 2, 4]
        values(subject.score([red_of(0.5)] * 4))
        assert [len(request.jpegs) for request in server.requests[5:]] == [2, 2]


def test_a_frame_that_is_too_large_alone_fails_alone() -> None:
    script = [Step(413), Step(413), Step()]
    with ScoringServer(script=script) as server, detector(server.uri) as subject:
        answer = subject.score([red_of(0.5)] * 2)
        assert answer.scores[0] == {}
        assert answer.scores[1]["nsfw"] == pytest.approx(0.5, abs=0.02)
        assert answer.failure is not None
        assert answer.failure.startswith("413 ")


def test_a_redirect_is_a_failure_that_names_the_host() -> None:
    with ScoringServer() as thief:
        step = Step(302, headers={"Location": f"{thief.uri}?token=secret"})
        with ScoringServer(usual=step) as server, detector(server.uri, **NAMES) as subject:
            failure = subject.score([red_of(0.5)]).failure
            reason = "302 Found, a redirect to 127.0.0.1: the key is not sent there"
            assert failure == f"{reason}: {SET_ADDRESS}"
        assert thief.requests == []


def test_closing_ends_what_is_under_way() -> None:
    with ScoringServer(usual=Step(hang=True)) as server, detector(server.uri) as subject:
        answers: list[Answer] = []
        thread = threading.Thread(target=lambda: answers.append(subject.score([red_of(0.5)])))
        thread.start()
        server.wait_for(1)
        subject.close()
        thread.join(5)
        assert not thread.is_alive()
        assert answers[0].failure == "the scan was ended"


def test_closing_ends_a_pause() -> None:
    step = Step(503, headers={"Retry-After": "25"})
    with ScoringServer(usual=step) as server, detector(server.uri) as subject:
        thread = threading.Thread(target=subject.score, args=([red_of(0.5)],))
        thread.start()
        server.wait_for(1)
        subject.close()
        thread.join(5)
        assert not thread.is_alive()


def test_an_address_that_is_none_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="not an http:// or https:// address"):
        EndpointDetector("nsfw", "host/score", KEY)
