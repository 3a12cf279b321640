"""The server as its clients meet it."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from guardian_cli.detectors.endpoint import EndpointDetector
from guardian_cli.lifecycle.local.app import MAX_BODY_BYTES
from guardian_cli.lifecycle.local.deployments import read_log
from guardian_cli.lifecycle.local.endpoints import (
    call,
    change,
    find_server,
    rotate_key,
    start,
    stop_server,
)
from guardian_cli.lifecycle.local.loaded_models import LoadedModels, follow_state
from guardian_cli.lifecycle.local.workspace import SERVER_NAME, read_key, require_state
from guardian_cli.media.frames import Frame
from guardian_cli.scanning.samples import SampleCollector
from tests.fakes import picture_of
from tests.lifecycle.local.endpoints import HEADER, Caller, body_of, make_endpoint
from tests.scanning.harness import running_scorer
from tests.serving.models import save_constant_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from guardian_cli.verdict.timeline import Sample

pytestmark = pytest.mark.slow


SPLIT = {"version-1": 90, "version-2": 10}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    endpoint = make_endpoint(tmp_path_factory.mktemp("project") / "e", {**SPLIT, "broken": 0})
    save_constant_model(endpoint / "models" / "broken", float("nan"))
    start(endpoint)
    yield endpoint
    stop_server(endpoint)


@pytest.fixture
def caller(served: Path) -> Iterator[Caller]:
    change(served, SPLIT)
    caller = Caller(served)
    yield caller
    caller.close()


def test_a_batch_is_answered_with_a_score_a_frame(caller: Caller) -> None:
    headers = {HEADER: "version-2"}
    status, scores, answered = caller.post(body_of(3), headers=headers)
    assert status == 200
    assert scores == pytest.approx([0.7310586] * 3, abs=1e-6)
    assert answered[HEADER] == "version-2"


def test_ninety_ten_is_ninety_ten_over_2000_requests(caller: Caller) -> None:
    counts = Counter(caller.post()[2][HEADER] for _ in range(2000))
    assert counts == {"version-1": 1800, "version-2": 200}


def test_a_split_of_traffic_is_a_split_of_scanned_sources(served: Path, caller: Caller) -> None:
    change(served, {"version-1": 50, "version-2": 50})
    uri = f"http://127.0.0.1:{caller.connection.port}/score"
    frames = [Frame(float(number), picture_of(number)) for number in range(20)]
    counts: Counter[str] = Counter()
    scored: dict[str, list[list[Sample]]] = {"version-1": [], "version-2": []}
    with running_scorer([EndpointDetector("nsfw", uri, caller.key)]) as scorer:
        for _ in range(10):
            collector = SampleCollector(scorer, lambda _: None)
            samples = collector.collect(frames)
            ((name, count),) = collector.deployments[0].items()
            assert count == len(frames)
            counts[name] += 1
            scored[name].append(samples)
    assert counts == {"version-1": 5, "version-2": 5}
    for same in scored.values():
        assert same == [same[0]] * 5
    assert scored["version-1"][0] != scored["version-2"][0]


def test_whoever_answers_is_named_even_where_the_answer_is_no_score(caller: Caller) -> None:
    for body, expected in ((b"{}", 400), (body_of(), 200)):
        for headers in ({}, {HEADER: "version-2"}):
            status, _, answered = caller.post(body, headers=headers)
            assert status == expected
            assert answered[HEADER] in {headers.get(HEADER, name) for name in SPLIT}


@pytest.mark.parametrize("key", ["", "wrong", "ключ"])
def test_a_wrong_key_is_401_even_with_a_large_body(caller: Caller, key: str) -> None:
    sent = {"Authorization": f"Bearer {key}".encode()}
    caller.connection.request("POST", "/score", body=b"x" * 2_000_000, headers=sent)
    response = caller.connection.getresponse()
    assert response.status == 401
    assert b"key" in response.read()
    assert caller.post()[0] == 200


def test_the_key_must_come_as_bearer(caller: Caller) -> None:
    for value in (caller.key, f"Basic {caller.key}", f"Bearer {caller.key}x"):
        assert caller.post(headers={"Authorization": value})[0] == 401


def test_a_deployment_that_is_not_there_is_404(caller: Caller) -> None:
    assert caller.post(headers={HEADER: "version-9"})[0] == 404


def test_without_traffic_it_is_404_but_the_header_still_routes(
    served: Path, caller: Caller
) -> None:
    change(served, {})
    assert caller.post()[0] == 404
    assert caller.post(headers={HEADER: "version-1"})[0] == 200


@pytest.mark.parametrize("body", [b"", b"{}", b'{"input_data": ["AAAA"]}'])
def test_a_body_that_is_no_batch_is_400(caller: Caller, body: bytes) -> None:
    status, answer, _ = caller.post(body)
    assert status == 400
    assert answer["message"]


def test_a_body_that_is_too_large_is_413(caller: Caller) -> None:
    assert caller.post(b"x" * (MAX_BODY_BYTES + 1))[0] == 413


def test_a_model_that_fails_is_424_is_logged_and_takes_nobody_with_it(
    served: Path, caller: Caller
) -> None:
    status, answer, headers = caller.post(headers={HEADER: "broken"})
    assert (status, headers[HEADER]) == (424, "broken")
    assert "ModelFault" in answer["message"]
    assert "NaN" in read_log(served, "broken", 100)
    assert caller.post(headers={HEADER: "version-1"})[0] == 200


def test_health_needs_no_key_and_other_paths_and_methods_are_refused(caller: Caller) -> None:
    port = caller.connection.port
    status, document = call(port, "/health", timeout_s=10)
    assert (status, document["status"]) == (200, "ok")
    assert caller.post(path="/control/stop")[0] == 401
    assert caller.post(path="/control/reload")[0] == 401


def test_no_request_is_dropped_while_traffic_changes(served: Path) -> None:
    done = threading.Event()

    def ask() -> Counter[int]:
        caller = Caller(served)
        counts: Counter[int] = Counter()
        while not done.is_set():
            counts[caller.post()[0]] += 1
        caller.close()
        return counts

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        for number in range(40):
            share = 100 if number % 2 else 10
            change(served, {"version-1": share, "version-2": 100 - share})
        done.set()
        total = sum((one.result() for one in asking), Counter())
    assert set(total) == {200}
    assert total[200] > 40


def test_a_new_key_opens_and_the_old_one_does_not_and_nothing_restarts(
    served: Path, caller: Caller
) -> None:
    before = find_server(served)
    rotate_key(served)
    assert caller.post()[0] == 401
    assert caller.post(key=read_key(served))[0] == 200
    assert find_server(served) == before


def test_no_key_stands_in_a_log_or_in_the_state(served: Path, caller: Caller) -> None:
    caller.post(key="wrong-" + caller.key)
    running = find_server(served)
    assert running is not None
    for path in served.rglob("*"):
        if path.is_file() and path.name not in {"key", "server.json"}:
            assert caller.key.encode() not in path.read_bytes(), path.name
            assert running.control.encode() not in path.read_bytes(), path.name


def test_many_frames_go_in_one_request(caller: Caller) -> None:
    status, scores, _ = caller.post(body_of(200), headers={HEADER: "version-1"})
    assert status == 200
    assert len(scores) == 200


def test_a_server_whose_whereabouts_were_lost_says_them_again(served: Path) -> None:
    """Else nobody could stop it, and its port and its lock would stand in every other's way."""
    before = find_server(served)
    assert before is not None
    for content in (None, b"half a fi"):
        path = served / SERVER_NAME
        path.unlink() if content is None else path.write_bytes(content)
        assert find_server(served) is None
        assert start(served) == before


def test_a_deployment_that_is_made_anew_writes_to_its_new_log(tmp_path: Path) -> None:
    endpoint = make_endpoint(tmp_path / "e", {"version-1": 100})
    state = require_state(endpoint)
    first = follow_state(endpoint, state, LoadedModels())
    for gone_meanwhile in (True, False):
        (endpoint / "log" / "version-1.log").unlink()
        none_left = dataclasses.replace(state, deployments={}, traffic={})
        now = follow_state(endpoint, none_left, first) if gone_meanwhile else first
        again = dataclasses.replace(state.deployments["version-1"], build=str(gone_meanwhile))
        state = dataclasses.replace(state, deployments={"version-1": again})
        first = follow_state(endpoint, state, now)
        first.models["version-1"].log.warning("it is said here")
        assert "it is said here" in read_log(endpoint, "version-1", 10)


def test_the_server_notices_a_change_that_nobody_told_it(served: Path) -> None:
    """Whoever wrote the file may have been killed before it could tell."""
    path = served / "endpoint.json"
    document = json.loads(path.read_text())
    document["traffic"] = {"version-2": 100}
    caller = Caller(served)
    partial = path.with_name("new")
    partial.write_text(json.dumps(document))
    partial.replace(path)
    streak = 0
    for _ in range(20_000):
        # At 10% a few in a row are luck; so many are not.
        streak = streak + 1 if caller.post()[2][HEADER] == "version-2" else 0
        if streak == 20:
            break
    caller.close()
    assert streak == 20
