"""`guardian doctor`: what it finds, what it says to type, how it ends."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from guardian_cli.detectors.clip.architecture import DEFAULT_HUB_ENTRY
from guardian_cli.detectors.clip.hub import Hub
from guardian_cli.doctor import (
    Check,
    Diagnosis,
    check_configuration,
    check_disks,
    check_endpoint,
    check_libraries,
    check_weights,
    fetch_weights,
    installed_versions,
)
from guardian_cli.errors import MissingError
from guardian_cli.reports.doctor import doctor_document, doctor_text
from guardian_cli.reports.schemas import load_schema
from guardian_cli.settings import load_settings
from tests.guardian_process import guardian
from tests.scoring_server import ScoringServer, Step

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from guardian_cli.settings import Settings

WEIGHTS = b"w" * 1000
HINT = "guardian doctor --fetch-weights"


def settings(folder: Path, text: str = "", **environ: str) -> Settings:
    (folder / "guardian.yaml").write_text(text, encoding="utf-8")
    return load_settings(folder=folder, environ=environ)


@contextmanager
def model_hub() -> Iterator[str]:
    """A hub on loopback that has the default's weights."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("ETag", '"tag"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str(len(WEIGHTS)))
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(WEIGHTS)

        def log_message(self, *args: Any) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_fetched_weights_are_there_for_a_machine_without_a_network(tmp_path: Path) -> None:
    ours, cache, told = settings(tmp_path), tmp_path / "cache", list[str]()
    before = check_weights(ours, Hub(cache_dir=cache))
    assert (before.state, before.hint) == ("missing", HINT)
    assert str(cache) in before.detail
    with model_hub() as address:
        path = fetch_weights(ours, told.append, Hub(address, cache))
    assert path.read_bytes() == WEIGHTS
    assert DEFAULT_HUB_ENTRY.strip("/").replace("/", "--") in str(path)
    assert told[0] == f"downloading ViT-B-32/laion2b_s34b_b79k from {address}"
    assert check_weights(ours, Hub(cache_dir=cache)).state == "ok"


def test_a_hub_that_is_not_there_is_one_line_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="connection refused") as caught:
        fetch_weights(settings(tmp_path), lambda _: None, Hub("http://127.0.0.1:9", tmp_path))
    assert HINT in str(caught.value.hint)
    assert str(tmp_path) in str(caught.value.hint)


@pytest.mark.parametrize(
    ("step", "state", "said"),
    [
        (Step(), "ok", "ms"),
        (Step(status=401), "missing", "wrong key"),
        (Step(status=403), "missing", "not allowed"),
        (Step(status=404), "missing", "no such endpoint"),
        (Step(body=b"[2.5]"), "missing", ""),
        (Step(body=b"<html>"), "missing", ""),
    ],
)
def test_each_endpoint_scores_one_picture(
    tmp_path: Path, step: Step, state: str, said: str
) -> None:
    with ScoringServer(script=[step]) as server:
        ours = settings(tmp_path, NSFW_MODEL_ENDPOINT=server.uri, MODEL_ENDPOINT_KEY="S3CRET")
        check = check_endpoint("nsfw", ours.endpoints["nsfw"])
        assert len(server.requests) == 1
        assert len(server.requests[0].jpegs) == 1
    assert check.state == state
    assert said in check.detail
    assert (check.hint is None) == (state == "ok")
    assert "S3CRET" not in f"{check}"


def test_an_endpoint_that_nobody_runs(tmp_path: Path) -> None:
    ours = settings(tmp_path, NSFW_MODEL_ENDPOINT="http://127.0.0.1:9/score?sig=S3CRET")
    check = check_endpoint("nsfw", ours.endpoints["nsfw"])
    assert check.state == "missing"
    assert "connection refused" in check.detail
    assert "S3CRET" not in f"{check}"


def test_warnings_of_the_configuration_are_told(tmp_path: Path) -> None:
    states = [one.state for one in check_configuration(settings(tmp_path, "categories: {x: }\n"))]
    assert states == ["ok", "warning"]


def test_a_library_that_is_gone_is_named() -> None:
    versions = installed_versions()
    assert versions["torch"]
    assert check_libraries(versions).state == "ok"
    check = check_libraries({**versions, "torch": ""})
    assert (check.state, "torch" in check.detail) == ("missing", True)


def test_room_is_looked_for_where_the_folder_will_be(tmp_path: Path) -> None:
    # A name that is too long fails as a home that is another user's does, also for root.
    for folder in (tmp_path / "not" / "yet", tmp_path / ("x" * 300) / "hub"):
        (check,) = check_disks({"weights": folder})
        assert "GB free for weights" in check.detail


def test_what_it_shows_has_the_hints_and_its_schema() -> None:
    checks = (Check("disk", "ok", "much"), Check("weights", "missing", "not here", HINT))
    diagnosis = Diagnosis(checks, {"guardian": "1", "torch": ""})
    assert doctor_text(diagnosis).splitlines() == [
        "ok       disk     much",
        "missing  weights  not here",
        f"                  type: {HINT}",
    ]
    document = json.loads(doctor_document(diagnosis))
    Draft202012Validator(load_schema("doctor")).validate(document)
    assert (document["ready"], document["versions"]["torch"]) == (False, None)
    with pytest.raises(MissingError, match="not ready: weights"):
        diagnosis.raise_for_missing()
    Diagnosis(checks[:1], {}).raise_for_missing()


@pytest.mark.slow
def test_the_verb_is_exit_5_with_one_document(tmp_path: Path) -> None:
    run = guardian("doctor", "--json", folder=tmp_path, HF_HUB_OFFLINE="0")
    document = json.loads(run.out)
    Draft202012Validator(load_schema("doctor")).validate(document)
    assert (run.code, document["ready"]) == (5, False)
    assert run.err.splitlines() == ["error: not ready: weights", f"hint: {HINT}"]
    (tmp_path / "guardian.yaml").write_text("scan: {detectors: [endpoint]}\n")
    assert guardian("doctor", folder=tmp_path).code == 0
    (tmp_path / "guardian.yaml").write_text("scan: {evry: 1}\n")
    assert guardian("doctor", folder=tmp_path).code == 2


def test_help_lists_the_verbs_in_groups(tmp_path: Path) -> None:
    text = guardian("--help", folder=tmp_path).out
    groups = dict(re.findall(r"^([A-Z].*):\n((?:  \S.*\n?)+)", text, re.MULTILINE))
    verbs = {title: re.findall(r"^  (\w+)", lines, re.MULTILINE) for title, lines in groups.items()}
    assert verbs["The main job"] == ["scan", "setup", "train", "deploy", "endpoints", "rollback"]
    assert verbs["Evidence, and decisions that can be looked at again"] == (
        ["evaluate", "replay", "compare", "report"]
    )
    assert verbs["Watching models, and renewing them"] == ["monitor", "retrain"]
    assert verbs["More than one machine"] == ["merge"]
    assert verbs["When something is missing"] == ["doctor"]


def test_the_example_is_in_the_package(tmp_path: Path) -> None:
    run = guardian("--example-config", folder=tmp_path)
    assert (run.code, "categories:" in run.out) == (0, True)
    (tmp_path / "wrong.yaml").write_text("scan: {evry: 1}\n")
    run = guardian("scan", "x", "--config", "wrong.yaml", folder=tmp_path)
    assert run.err.splitlines()[-1] == "hint: guardian --example-config shows every key"
