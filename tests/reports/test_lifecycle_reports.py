"""The life cycle's documents keep their schemas, and its tables show what they say."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import guardian_cli
from guardian_cli.console import Console
from guardian_cli.lifecycle.endpoints import EndpointsResult, EndpointStatus
from guardian_cli.lifecycle.platform import Probe, Workspace
from guardian_cli.lifecycle.release.execute import Release
from guardian_cli.lifecycle.release.history import Change
from guardian_cli.lifecycle.release.plan import Row
from guardian_cli.lifecycle.setup import Setup
from guardian_cli.reports.lifecycle import (
    show_endpoints,
    show_history,
    show_releases,
    show_setup,
)

SCHEMAS = Path(guardian_cli.__file__).parent / "reports" / "schemas"
ROWS = (Row("version-2", "2", "champion", 90, "ready"), Row("blue", None, None, 10, "failed"))
ENDPOINT = EndpointStatus("m", "nsfw", "m-endpoint", "https://h/score", "ready", ROWS)
RELEASE = Release("m", "m-endpoint", "promote", (), ROWS, ("probe version-2",), False, ("prune",))


class Screen:
    """A console that remembers."""

    def __init__(self) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.console = Console(out=self.out, err=self.err)

    def document(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out.getvalue())
        schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
        Draft202012Validator.check_schema(schema)
        Draft202012Validator(schema).validate(found)
        assert found["schema"] == f"guardian.{name}/1"
        return found


@pytest.fixture
def screen() -> Screen:
    return Screen()


def test_a_release(screen: Screen) -> None:
    show_releases(screen.console, [RELEASE], as_json=True, named=True)
    found = screen.document("release")
    assert found["after"][0] == {
        "name": "version-2",
        "version": "2",
        "role": "champion",
        "traffic": 90,
        "state": "ready",
    }
    assert "hint: prune" in screen.err.getvalue()


def test_releases_of_all_models(screen: Screen) -> None:
    show_releases(screen.console, [RELEASE], as_json=True, named=False)
    assert screen.document("release")["releases"][0]["model"] == "m"


def test_a_release_as_a_table(screen: Screen) -> None:
    show_releases(screen.console, [RELEASE], as_json=False, named=True)
    assert "version-2" in screen.out.getvalue()
    assert "90%" in screen.out.getvalue()


def test_a_history(screen: Screen) -> None:
    change = Change("2026-11-23T09:00:00Z", "ann", "promote", None, "2", "bet\x1bter")
    show_history(screen.console, "m", [change], as_json=True)
    assert screen.document("history")["changes"][0]["to"] == "2"
    table = Screen()
    show_history(table.console, "m", [change], as_json=False)
    assert "\x1b" not in table.out.getvalue()


def test_endpoints_with_checks_keys_and_a_plan(screen: Screen) -> None:
    probes = {"m-endpoint": {"version-2": Probe(score=0.5, latency_ms=1.23456)}}
    result = EndpointsResult([ENDPOINT], probes, {"m-endpoint": "secret"}, ["set A in .env"])
    show_endpoints(screen.console, "local", result, as_json=True)
    found = screen.document("endpoints")
    [endpoint] = found["endpoints"]
    assert endpoint["check"]["latency_ms"] == 1.235
    assert endpoint["deployments"][0]["check"] == endpoint["check"]
    assert found["plan"] == ["set A in .env"]
    table = Screen()
    show_endpoints(table.console, "local", result, as_json=False)
    for part in ("https://h/score", "secret", "would set A", "champion", "score 0.500"):
        assert part in table.out.getvalue()


def test_endpoints_show_no_key_unless_asked(screen: Screen) -> None:
    probes = {"m-endpoint": {"blue": Probe(problem="HTTP 424")}}
    result = EndpointsResult([ENDPOINT], probes)
    show_endpoints(screen.console, "local", result, as_json=True)
    [endpoint] = screen.document("endpoints")["endpoints"]
    assert "key" not in endpoint
    assert endpoint["check"]["problem"] == "blue: HTTP 424"
    table = Screen()
    show_endpoints(table.console, "local", result, as_json=False)
    assert "HTTP 424" in table.out.getvalue()
    show_endpoints(table.console, "local", EndpointsResult([]), as_json=False)


def test_a_setup(screen: Screen) -> None:
    workspace = Workspace("w", existing=("folder",), missing=("registry",))
    show_setup(
        screen.console, "local", Setup(workspace, ("registry",), True), as_json=True, check=False
    )
    assert screen.document("setup")["created"] == ["registry"]
    table = Screen()
    show_setup(
        table.console, "local", Setup(workspace, ("registry",), True), as_json=False, check=True
    )
    assert "missing" in table.out.getvalue()
    assert "USD" not in table.out.getvalue()


def test_a_model_without_an_endpoint_is_listed(screen: Screen) -> None:
    result = EndpointsResult([EndpointStatus("m", "nsfw", "m-endpoint", "", "not deployed", ())])
    show_endpoints(screen.console, "local", result, as_json=True)
    assert screen.document("endpoints")["endpoints"][0]["state"] == "not deployed"
    table = Screen()
    show_endpoints(table.console, "local", result, as_json=False)
    assert table.out.getvalue().split() == ["m", "not", "deployed"]


def test_addresses_and_keys_are_whole_however_long(screen: Screen) -> None:
    endpoint = EndpointStatus("m", "nsfw", "m-endpoint", "https://h/" + "x" * 300, "ready", ROWS)
    result = EndpointsResult([endpoint], keys={"m-endpoint": "k" * 300})
    show_endpoints(screen.console, "local", result, as_json=False)
    lines = [line.strip() for line in screen.out.getvalue().splitlines()]
    assert endpoint.uri in lines
    assert "key " + "k" * 300 in lines
