"""What is particular to this machine: locks, interrupted work, who, where."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import shutil
import signal
import stat
import tempfile
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.local.endpoints import checked_traffic
from guardian_cli.lifecycle.local.platform import LocalPlatform
from guardian_cli.lifecycle.local.workspace import (
    EndpointState,
    Layout,
    LocalDeployment,
    read_state,
    write_state,
)
from guardian_cli.lifecycle.platform import (
    EndpointBusyError,
    NameTakenError,
    Platform,
    Stoppable,
    WorkspaceOptions,
)
from guardian_cli.lifecycle.probe import read_answer
from tests.lifecycle.local.endpoints import Caller, make_endpoint, spec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.connection import Connection

    from tests.lifecycle.conftest import Templates

pytestmark = pytest.mark.slow


NAME = "nsfw-detector-endpoint"


def test_it_is_a_platform_that_can_be_stopped(workspace: Path) -> None:
    platform: Platform = LocalPlatform(workspace)
    assert isinstance(platform, Stoppable)
    assert platform.target == "local"
    assert platform.place == f".guardian/ in {workspace}"
    assert "@" in platform.who()


def test_without_a_workspace_nothing_is_made(tmp_path: Path) -> None:
    platform = LocalPlatform(tmp_path)
    with pytest.raises(PlatformError, match="no workspace") as caught:
        platform.create_endpoint(NAME, {})
    assert caught.value.hint == "guardian setup"
    assert platform.endpoint(NAME) is None
    assert list(tmp_path.iterdir()) == []


def test_another_guardian_is_kept_out_and_named_busy(workspace: Path) -> None:
    first, second = LocalPlatform(workspace), LocalPlatform(workspace)
    with first.lock(NAME), pytest.raises(EndpointBusyError), second.lock(NAME):
        pass
    with second.lock(NAME):
        pass


def hold(workspace: Path, told: Connection) -> None:
    with LocalPlatform(workspace).lock(NAME):
        told.send("held")
        signal.pause()


def test_a_killed_guardian_leaves_no_lock_behind(workspace: Path) -> None:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    other = context.Process(target=hold, args=(workspace, there))
    other.start()
    there.close()
    assert here.recv() == "held"
    platform = LocalPlatform(workspace)
    with pytest.raises(EndpointBusyError), platform.lock(NAME):
        pass
    assert other.pid is not None
    os.kill(other.pid, signal.SIGKILL)
    other.join(30)
    with platform.lock(NAME):
        pass
    for one in (here, other):
        one.close()


def test_a_deployment_whose_guardian_was_killed_reads_as_failed(layout: Layout) -> None:
    folder = layout.endpoint(NAME)
    make_endpoint(folder, {"version-1": 100})
    state = read_state(folder)
    assert state is not None
    half = LocalDeployment("version-2", "m", "2", "b", "models/b")
    write_state(
        folder, dataclasses.replace(state, deployments={**state.deployments, "version-2": half})
    )
    mine, others = LocalPlatform(layout.project), LocalPlatform(layout.project)

    def seen_by(platform: LocalPlatform) -> str:
        found = platform.endpoint(NAME)
        assert found is not None
        deployment = found.deployment("version-2")
        assert deployment is not None
        return deployment.state

    assert seen_by(mine) == "failed"
    with mine.lock(NAME):
        assert seen_by(others) == "updating"
        assert seen_by(mine) == "failed"


def test_what_was_left_half_done_is_done_anew_and_swept(
    layout: Layout, templates: Templates
) -> None:
    platform = LocalPlatform(layout.project)
    platform.registry.register("nsfw-detector", templates.good_model, {})
    platform.create_endpoint(NAME, {})
    folder = layout.endpoint(NAME)
    state = read_state(folder)
    assert state is not None
    half = LocalDeployment("version-1", "nsfw-detector", "1", "old", "models/old")
    (folder / "models" / "old").mkdir(parents=True)
    write_state(folder, dataclasses.replace(state, deployments={"version-1": half}))
    platform.create_deployment(NAME, spec("version-1"), timeout_s=60)
    assert platform.probe(NAME, "version-1").good
    assert not (folder / "models" / "old").exists()
    with pytest.raises(NameTakenError):
        platform.create_endpoint(NAME, {})


def test_no_request_is_dropped_while_a_deployment_comes_and_goes(
    layout: Layout, templates: Templates
) -> None:
    platform = LocalPlatform(layout.project)
    for _ in range(2):
        platform.registry.register("nsfw-detector", templates.good_model, {})
    platform.create_endpoint(NAME, {})
    platform.create_deployment(NAME, spec("version-1"), timeout_s=60)
    platform.update_endpoint(NAME, traffic={"version-1": 100})
    done = threading.Event()

    def ask() -> Counter[int]:
        caller = Caller(layout.endpoint(NAME))
        counts: Counter[int] = Counter()
        while not done.is_set():
            counts[caller.post()[0]] += 1
        caller.close()
        return counts

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask) for _ in range(3)]
        platform.create_deployment(NAME, spec("version-2", "2"), timeout_s=60)
        platform.update_endpoint(NAME, traffic={"version-1": 50, "version-2": 50})
        platform.update_endpoint(NAME, traffic={"version-2": 100})
        platform.delete_deployment(NAME, "version-1")
        done.set()
        total = sum((one.result() for one in asking), Counter())
    assert set(total) == {200}


def test_a_copied_project_gets_ports_of_its_own(layout: Layout, tmp_path: Path) -> None:
    platform = LocalPlatform(layout.project)
    before = platform.create_endpoint(NAME, {})
    shutil.copytree(layout.project, tmp_path / "copy")
    copy = LocalPlatform(tmp_path / "copy")
    try:
        # Not the other's address, which a .env would then be given.
        seen = copy.endpoint(NAME)
        assert seen is not None
        assert (seen.state, seen.uri) == ("stopped", "")
        started = copy.start(NAME)
        assert started.uri not in {"", before.uri}
        assert platform.endpoint(NAME) == before
        copy.stop(NAME)
        assert copy.start(NAME) == started
    finally:
        copy.stop(NAME)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for somebody else")
def test_what_root_makes_in_a_workspace_of_somebody_else_is_theirs(
    layout: Layout, templates: Templates
) -> None:
    for path in (layout.root, *layout.root.rglob("*")):
        os.chown(path, 1000, 1001)
    platform = LocalPlatform(layout.project)
    platform.registry.register("nsfw-detector", templates.good_model, {})
    platform.create_endpoint(NAME, {})
    platform.create_deployment(NAME, spec("version-1"), timeout_s=60)
    platform.stop(NAME)
    made = [path for path in layout.root.rglob("*") if path.exists()]
    assert layout.endpoint(NAME) / "log" / "version-1.log" in made
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(1000, 1001)}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_workspace_of_somebody_else_is_no_bug_of_guardians() -> None:
    # Not under tmp_path, which nobody else may enter.
    with tempfile.TemporaryDirectory() as name:
        project = Path(name).resolve()
        project.chmod(0o755)
        Layout(project).make_folders()
        os.seteuid(1000)
        try:
            with pytest.raises(
                PlatformError, match=r"cannot be opened: .* user number 0"
            ) as caught:
                LocalPlatform(project)
        finally:
            os.seteuid(0)
    assert "sudo chown -R 1000" in str(caught.value.hint)


def test_files_with_keys_and_states_are_their_owners_alone(layout: Layout) -> None:
    folder = layout.endpoint(NAME)
    make_endpoint(folder, {"version-1": 100})
    for name in ("key", "endpoint.json"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def state_with(**states: Any) -> EndpointState:
    deployments = {
        name: LocalDeployment(name, "m", "1", "b", "f", state) for name, state in states.items()
    }
    return EndpointState("e", deployments=deployments)


@pytest.mark.parametrize(
    ("traffic", "word"),
    [
        ({"a": 50}, "sums"),
        ({"a": 150, "b": -50}, "share"),
        ({"c": 100}, "failed"),
        ({"x": 100}, "no deployment"),
    ],
)
def test_traffic_that_cannot_be_is_refused(traffic: Mapping[str, int], word: str) -> None:
    with pytest.raises(PlatformError, match=word):
        checked_traffic(state_with(a="ready", b="ready", c="failed"), traffic)


def test_traffic_of_a_failed_deployment_may_be_zero() -> None:
    state = state_with(a="ready", c="failed")
    assert checked_traffic(state, {"a": 100, "c": 0}) == {"a": 100}
    assert checked_traffic(state, {}) == {}


@pytest.mark.parametrize(
    ("status", "answer", "good"),
    [
        (200, [0.0], True),
        (200, [1], True),
        (200, [1.5], False),
        (200, [float("nan")], False),
        (200, [0.1, 0.2], False),
        (200, {"scores": []}, False),
        (200, ["0.5"], False),
        (424, {"message": "the model failed"}, False),
        (502, None, False),
    ],
)
def test_only_one_score_in_0_to_1_is_a_good_answer(status: int, answer: Any, good: bool) -> None:
    probe = read_answer(status, answer, 1.0)
    assert probe.good is good
    assert good or probe.problem


def test_looking_changes_nothing(tmp_path: Path) -> None:
    found = LocalPlatform(tmp_path).look_at_workspace(WorkspaceOptions())
    assert len(found.missing) == 2
    assert list(tmp_path.iterdir()) == []
