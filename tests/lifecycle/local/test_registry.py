"""The registry, on SQLite in the workspace and on a server."""

from __future__ import annotations

import http.client
import importlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from mlflow.tracking import MlflowClient

from guardian_cli.cli import run
from guardian_cli.errors import MissingError, PlatformError, UsageError
from guardian_cli.lifecycle.local.platform import LocalPlatform
from guardian_cli.lifecycle.local.registry import LocalRegistry, keep_model
from guardian_cli.lifecycle.local.workspace import FOLDER_NAME, Layout
from guardian_cli.lifecycle.platform import WorkspaceOptions
from guardian_cli.lifecycle.quiet_mlflow import quiet_mlflow
from guardian_cli.serving.format import find_artifact
from guardian_cli.training.run.publishing import RunLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lifecycle.conftest import Templates

pytestmark = pytest.mark.slow

MODEL = "nsfw-detector"


def test_versions_are_kept_in_order_and_fetched_whole(layout: Layout, templates: Templates) -> None:
    registry = LocalRegistry(layout)
    for number in range(11):
        registry.register(MODEL, templates.good_model, {"number": str(number)})
    versions = registry.versions(MODEL)
    assert [one.version for one in versions] == [str(number) for number in range(1, 12)]
    assert versions[10].tags["number"] == "10"
    assert versions[0].created is not None
    registry.fetch(MODEL, "11", layout.root / "copy")
    assert find_artifact(layout.root / "copy").is_dir()


def test_a_project_may_be_moved(layout: Layout, templates: Templates, tmp_path: Path) -> None:
    LocalRegistry(layout).register(MODEL, templates.good_model, {})
    moved = tmp_path / "elsewhere"
    shutil.move(layout.project, moved)
    registry = LocalRegistry(Layout(moved))
    registry.fetch(MODEL, "1", tmp_path / "copy")
    assert find_artifact(tmp_path / "copy").is_dir()


def test_runs_of_a_project_that_was_moved_keep_their_files_in_it(
    layout: Layout, tmp_path: Path
) -> None:
    def place_of(registry: LocalRegistry, training: str) -> str:
        run = RunLog(registry.tracking(), MODEL, training).run_id
        return str(MlflowClient(registry.tracking().uri).get_run(run).info.artifact_uri)

    assert place_of(LocalRegistry(layout), "a").startswith(layout.artifacts.as_uri())
    moved = Layout(tmp_path / "elsewhere")
    shutil.move(layout.project, moved.project)
    registry = LocalRegistry(moved)
    assert {place_of(registry, name).partition("/artifacts/")[0] for name in "bc"} == {
        moved.root.as_uri()
    }
    assert place_of(registry, "b") == place_of(registry, "b")
    experiments = MlflowClient(registry.tracking().uri).search_experiments()
    # The template's, which was made elsewhere, the one before the move, and the one since.
    assert sum(one.name.startswith("guardian") for one in experiments) == 3


@pytest.mark.parametrize("name", ["what?", "100%25"])
def test_a_folder_in_which_mlflow_keeps_no_database_is_refused_before_anything_is_made(
    tmp_path: Path, name: str
) -> None:
    project = tmp_path / name
    project.mkdir()
    with pytest.raises(UsageError, match="database in a folder with") as caught:
        LocalPlatform(project).create_workspace(WorkspaceOptions())
    assert caught.value.hint
    assert list(tmp_path.rglob("*")) == [project]


def test_a_folder_with_both_kinds_of_quotes_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = tmp_path / 'it\'s "so"'
    project.mkdir()
    monkeypatch.chdir(project)
    assert run(["setup"]) == 2
    target, creating, error, hint = capsys.readouterr().err.splitlines()
    assert target.startswith("target: local")
    assert creating.startswith("creating ")
    assert "both kinds of quotes" in error
    assert hint.startswith("hint: ")
    assert list(project.iterdir()) == []


def test_what_mlflow_raises_it_does_not_print_as_well(
    layout: Layout, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        with quiet_mlflow("it failed", None):
            logging.getLogger("mlflow.store.db.utils").error("a traceback")
            raise OSError("no room")

    with pytest.raises(PlatformError, match="no room"):
        fail()
    assert capfd.readouterr() == ("", "")


def test_a_server_whose_driver_is_not_installed_is_no_bug() -> None:
    def fail() -> None:
        with quiet_mlflow("no answer", "postgresql://me:secret@127.0.0.1:1/db"):
            importlib.import_module("no_such_driver")

    with pytest.raises(
        MissingError, match=r"127\.0\.0\.1:1/db: that needs no_such_driver, "
    ) as missing:
        fail()
    assert missing.value.hint == "pip install no_such_driver"


def test_files_that_are_gone_and_versions_that_never_were_are_platform_errors(
    layout: Layout, templates: Templates, tmp_path: Path
) -> None:
    registry = LocalRegistry(layout)
    registry.register(MODEL, templates.good_model, {})
    shutil.rmtree(layout.models / MODEL)
    with pytest.raises(PlatformError, match="gone"):
        registry.fetch(MODEL, "1", tmp_path / "copy")
    with pytest.raises(PlatformError, match="version 7"):
        registry.fetch(MODEL, "7", tmp_path / "copy")


def test_a_damaged_database_is_a_platform_error(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.make_folders()
    layout.database.write_bytes(b"this is no database" * 100)
    with pytest.raises(PlatformError, match="listed"):
        LocalRegistry(layout).versions(MODEL)


def test_a_copy_that_was_interrupted_is_swept(layout: Layout, templates: Templates) -> None:
    left_over = layout.models / MODEL / ".dead.part"
    left_over.mkdir(parents=True)
    LocalRegistry(layout).register(MODEL, templates.good_model, {})
    assert not left_over.exists()


def test_trainings_that_register_at_once_leave_each_other_alone(
    layout: Layout, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for number in range(200):
        (folder / str(number)).write_bytes(b"x")
    with ThreadPoolExecutor(4) as pool:
        kept = list(pool.map(lambda _: keep_model(folder, layout.models / MODEL), range(8)))
    assert [len(list(one.iterdir())) for one in kept] == [200] * 8
    assert set((layout.models / MODEL).iterdir()) == set(kept)


def test_mlflow_says_nothing_on_stdout(
    layout: Layout, templates: Templates, capfd: pytest.CaptureFixture[str]
) -> None:
    registry = LocalRegistry(layout)
    registry.register(MODEL, templates.good_model, {})
    registry.versions(MODEL)
    assert capfd.readouterr().out == ""


def test_making_the_database_is_quiet_and_once(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from guardian_cli.lifecycle.local.platform import LocalPlatform\n"
        "from guardian_cli.lifecycle.platform import WorkspaceOptions\n"
        f"platform = LocalPlatform(Path({str(tmp_path)!r}))\n"
        "platform.create_workspace(WorkspaceOptions())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")
    root = tmp_path / FOLDER_NAME
    assert (root / "mlflow.db").stat().st_mode & 0o777 == 0o600
    assert not list(root.glob(".mlflow*"))


@pytest.fixture
def server_uri(tmp_path: Path) -> Iterator[str]:
    """A real tracking server on SQLite."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--workers", "1"),
        *("--artifacts-destination", str(tmp_path / "server-artifacts")),
    ]
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        until = time.monotonic() + 120
        while not _answers(port):
            assert server.poll() is None, (tmp_path / "server.log").read_text()
            assert time.monotonic() < until
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/version")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def test_a_tracking_server_is_a_registry_too(
    tmp_path: Path, templates: Templates, server_uri: str, capfd: pytest.CaptureFixture[str]
) -> None:
    layout = Layout(tmp_path)
    layout.make_folders()
    registry = LocalRegistry(layout, server_uri)
    registry.create()
    assert registry.versions(MODEL) == []
    made = registry.register(MODEL, templates.good_model, {"data": "simulated"})
    assert registry.get(MODEL, made.version) == made
    registry.fetch(MODEL, made.version, tmp_path / "copy")
    assert find_artifact(tmp_path / "copy").is_dir()
    assert not layout.database.exists()
    assert capfd.readouterr() == ("", "")


def test_a_server_that_is_not_there_is_said_soon_and_without_its_password(tmp_path: Path) -> None:
    registry = LocalRegistry(Layout(tmp_path), "http://me:secret@127.0.0.1:9")
    begun = time.monotonic()
    with pytest.raises(PlatformError, match="tracking server") as caught:
        registry.create()
    assert time.monotonic() - begun < 30
    assert "secret" not in str(caught.value)
