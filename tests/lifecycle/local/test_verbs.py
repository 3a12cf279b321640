"""The verbs as a user types them, on the local platform."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pytest

from guardian_cli.cli import run
from guardian_cli.lifecycle.local.platform import LocalPlatform
from tests.kubernetes import read_manifests

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lifecycle.conftest import Templates

pytestmark = pytest.mark.slow
MODEL = "nsfw-detector"


class Terminal:
    """Types commands in a project folder."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capture = capture
        self.err = ""
        self.out = ""

    def type(self, *args: str) -> int:
        code = run(list(args))
        self.out, self.err = self.capture.readouterr()
        assert self.err.startswith("target: local (.guardian/ in ") or code == 2
        return code

    def document(self, *args: str) -> dict[str, Any]:
        assert self.type(*args, "--json") == 0, self.err
        found: dict[str, Any] = json.loads(self.out)
        return found

    def told(self) -> list[tuple[str, str | None, int]]:
        [endpoint] = self.document("endpoints", MODEL)["endpoints"]
        return [(d["name"], d["role"], d["traffic"]) for d in endpoint["deployments"]]


@pytest.fixture
def terminal(
    workspace: Path,
    templates: Templates,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Terminal:
    for folder in (templates.good_model, templates.good_model, templates.broken_model):
        LocalPlatform(workspace).registry.register(MODEL, folder, {"data": "simulated"})
    monkeypatch.chdir(workspace)
    capsys.readouterr()
    return Terminal(workspace, capsys)


def test_a_model_from_its_first_deploy_to_its_rollback(terminal: Terminal) -> None:
    assert terminal.document("setup")["created"] == []
    foretold = terminal.document("deploy", MODEL, "--version", "1", "--dry-run")
    assert foretold["dry_run"] is True
    first = terminal.document("deploy", MODEL, "--version", "1", "--why", "first")
    assert "simulated data" in terminal.err
    assert first["after"] == foretold["after"]
    assert terminal.document("deploy", MODEL, "--version", "2")["action"] == "deploy"
    assert terminal.told() == [("version-1", "champion", 90), ("version-2", "challenger", 10)]
    assert terminal.type("endpoints", "--check") == 0
    cost = terminal.document("endpoints", "--cost")
    assert cost["monthly_cost_usd"] == 0
    assert (cost["endpoints"][0]["memory_mb"] or 99) > 20
    assert all(one["disk_mb"] > 0 for one in cost["endpoints"][0]["deployments"])

    log = terminal.folder / f".guardian/endpoints/{MODEL}-endpoint/log/version-3.log"
    log.write_text("words of an earlier try\n")
    assert terminal.type("deploy", MODEL, "--promote") == 4
    assert "log of version-3" in terminal.err
    assert "earlier try" not in terminal.err
    error, hint = terminal.err.splitlines()[-2:]
    assert error.startswith("error: version-3 did not come up: FormatError: ")
    assert hint.startswith("hint: ")
    assert "version-3 is removed" in terminal.err
    assert terminal.out == ""
    assert terminal.told() == [("version-1", "champion", 90), ("version-2", "challenger", 10)]

    terminal.document("deploy", MODEL, "--version", "2", "--promote", "--why", "better")
    assert terminal.told() == [("version-1", "previous", 0), ("version-2", "champion", 100)]
    terminal.document("rollback", MODEL)
    assert terminal.told() == [("version-1", "champion", 100), ("version-2", "previous", 0)]
    terminal.document("rollback", MODEL)
    assert terminal.told() == [("version-1", "previous", 0), ("version-2", "champion", 100)]
    changes = terminal.document("rollback", MODEL, "--history")["changes"]
    assert [(c["action"], c["from"], c["to"]) for c in changes] == [
        ("rollback", "1", "2"),
        ("rollback", "2", "1"),
        ("promote", "1", "2"),
        ("deploy", "1", "2"),
        ("deploy", None, "1"),
    ]
    assert changes[2]["why"] == "better"


def test_addresses_and_keys_are_handed_out_and_never_shown(terminal: Terminal) -> None:
    terminal.document("deploy", MODEL, "--version", "1")
    env = terminal.folder / ".env"
    env.write_bytes(b"# mine\r\nA='1'\r\n")
    assert terminal.type("endpoints", "--write-env") == 0
    said = terminal.out + terminal.err
    lines = env.read_bytes().decode().split("\r\n")
    assert lines[:2] == ["# mine", "A='1'"]
    names = [line.partition("=")[0] for line in lines[2:-1]]
    assert names == [
        "NSFW_MODEL_ENDPOINT", "NSFW_MODEL_ENDPOINT_KEY", "NSFW_MODEL_ENDPOINT_KEY_FOR",
        "MODEL_ENDPOINT_KEY",
    ]  # fmt: skip
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    (endpoint,) = (terminal.folder / ".guardian" / "endpoints").glob("nsfw-*-endpoint")
    assert stat.S_IMODE(endpoint.stat().st_mode) == 0o700
    key = lines[3].partition("=")[2]
    assert key
    assert key not in said
    assert terminal.type("endpoints", "--rotate-key", MODEL, "--write-env", ".env") == 0
    assert key not in env.read_text()
    assert terminal.document("endpoints", "--show-keys")["endpoints"][0]["key"] in env.read_text()
    assert terminal.type("endpoints", "--check", MODEL, "--write-configmap", "k8s.yaml") == 0
    config, secret = read_manifests(terminal.folder / "k8s.yaml")
    assert list(config["data"]) == ["NSFW_MODEL_ENDPOINT"]
    assert set(secret["stringData"]) == {"NSFW_MODEL_ENDPOINT_KEY", "MODEL_ENDPOINT_KEY"}


def test_a_stopped_server_fails_its_check_and_comes_back_as_it_was(terminal: Terminal) -> None:
    for version in ("1", "2"):
        terminal.document("deploy", MODEL, "--version", version, "--promote")
    terminal.document("rollback", MODEL)
    before = terminal.document("endpoints", MODEL, "--show-keys")
    assert terminal.type("endpoints", "--stop", MODEL) == 0
    assert terminal.type("endpoints", "--check") == 4
    assert f"hint: guardian endpoints {MODEL} --start" in terminal.err
    assert terminal.type("endpoints", "--start", MODEL, "--check") == 0
    assert terminal.document("endpoints", MODEL, "--show-keys") == before


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("deploy", "nope"), 2, "no model 'nope'"),
        (("deploy", MODEL, "--version", "9"), 2, "no version '9'"),
        (("deploy", MODEL, "--traffic", "101"), 2, "--traffic"),
        (("deploy", MODEL, "--promote", "--traffic", "10"), 2, "--traffic does not go with it"),
        (("endpoints", "--start"), 4, "no endpoint"),
        (("endpoints", "--start", "--stop"), 2, "--stop goes with none"),
        (("deploy", MODEL, "--timeout", "soon"), 2, "no time"),
        (("rollback",), 2, "MODEL"),
        (("rollback", MODEL), 4, "nothing to roll back"),
        (("endpoints", MODEL), 4, "no endpoint"),
        (("endpoints", "--write-env"), 4, "no endpoint"),
        (("endpoints", "--write-env", MODEL), 2, "is a model, not a file"),
        (("endpoints", "--rotate-key", "violence-detector"), 4, "no endpoint"),
        (("setup", "--target", "moon"), 2, "--target"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_an_exit_code(
    terminal: Terminal, args: tuple[str, ...], code: int, message: str
) -> None:
    assert terminal.type(*args) == code
    assert message in terminal.err
    assert terminal.out == ""
    assert "Traceback" not in terminal.err


def test_a_folder_without_a_workspace(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    terminal = Terminal(project, capsys)
    assert terminal.type("setup", "--check") == 4
    assert terminal.type("setup", "--dry-run", "--json") == 0
    assert terminal.type("endpoints") == 0
    assert terminal.type("rollback", MODEL, "--history", "--json") == 0
    assert json.loads(terminal.out)["changes"] == []
    assert list(project.iterdir()) == []
