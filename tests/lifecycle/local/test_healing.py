"""Servers that were killed, ports that were taken, pids that mean somebody else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from guardian_cli.errors import PlatformError
from guardian_cli.files import is_locked
from guardian_cli.lifecycle.local.endpoints import (
    describe,
    find_server,
    is_healthy,
    start,
    stop_server,
)
from guardian_cli.lifecycle.local.server import candidate_ports
from guardian_cli.lifecycle.local.workspace import SERVER_LOCK, read_key, read_state
from tests.lifecycle.local.endpoints import HEADER, Caller, make_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from guardian_cli.lifecycle.local.workspace import RunningServer

pytestmark = pytest.mark.slow


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[Path]:
    made = make_endpoint(tmp_path / "e", {"version-1": 100})
    yield made
    stop_server(made)


def wait_until_gone(endpoint: Path) -> None:
    while is_locked(endpoint / SERVER_LOCK):
        os.sched_yield()


def kill(endpoint: Path, running: RunningServer) -> None:
    os.kill(running.pid, signal.SIGKILL)
    wait_until_gone(endpoint)


def ask(endpoint: Path) -> int:
    caller = Caller(endpoint)
    status, _, _ = caller.post()
    caller.close()
    return status


def test_a_killed_server_comes_back_with_its_uri_and_key_whoever_has_its_pid(
    endpoint: Path,
) -> None:
    first = start(endpoint)
    before, key = describe(endpoint), read_key(endpoint)
    kill(endpoint, first)
    stopped = describe(endpoint)
    assert stopped.state == "stopped"
    # The pid in the file is somebody else's now, who must not be signalled.
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    path = endpoint / "server.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "pid": bystander.pid}))
    assert find_server(endpoint) is None
    assert stop_server(endpoint) is False
    second = start(endpoint)
    assert second.pid != bystander.pid
    assert bystander.poll() is None
    bystander.communicate(b"\n", timeout=30)
    assert (second.port, second.pid != first.pid) == (first.port, True)
    assert describe(endpoint) == before
    assert read_key(endpoint) == key
    assert ask(endpoint) == 200


def test_a_server_is_started_once_remembers_its_port_and_leaves_the_terminals_session(
    endpoint: Path,
) -> None:
    running = start(endpoint)
    assert start(endpoint) == running
    state = read_state(endpoint)
    assert state is not None
    assert state.port == running.port
    assert os.getsid(running.pid) == running.pid != os.getsid(0)
    assert os.getpgid(running.pid) != os.getpgid(0)


def test_a_server_that_hangs_is_replaced(endpoint: Path) -> None:
    first = start(endpoint)
    os.kill(first.pid, signal.SIGSTOP)
    second = start(endpoint)
    assert second.pid != first.pid
    assert ask(endpoint) == 200


def test_a_port_that_another_took_is_a_clear_error_and_is_had_back_and_a_lost_key_is_made_anew(
    endpoint: Path,
) -> None:
    first = start(endpoint)
    assert stop_server(endpoint)
    (endpoint / "key").unlink()
    with socket.create_server(("127.0.0.1", first.port)):
        with pytest.raises(PlatformError, match=rf"port {first.port} .* in use"):
            start(endpoint)
        assert find_server(endpoint) is None
    assert start(endpoint).port == first.port
    assert ask(endpoint) == 200
    assert (endpoint / "key").stat().st_mode & 0o777 == 0o600


def test_a_new_endpoint_takes_the_next_port_when_its_first_is_in_use(
    endpoint: Path,
) -> None:
    wanted = candidate_ports(endpoint)[0]
    with socket.create_server(("127.0.0.1", wanted)):
        running = start(endpoint)
    assert running.port in candidate_ports(endpoint)[1:]
    assert is_healthy(running)


def test_the_server_ends_when_its_folder_does(endpoint: Path) -> None:
    start(endpoint)
    lock = endpoint / SERVER_LOCK
    kept = lock.open()
    shutil.rmtree(endpoint)
    import fcntl

    fcntl.flock(kept, fcntl.LOCK_EX)
    kept.close()
    endpoint.mkdir()


def test_two_projects_do_not_meet(tmp_path: Path) -> None:
    folders = [tmp_path / name / ".guardian" / "endpoints" / "same" for name in ("a", "b")]
    endpoints = [make_endpoint(folder, {"version-1": 100}, logit=3.0) for folder in folders]
    first, second = (start(one) for one in endpoints)
    assert first.port != second.port
    keys = [read_key(folder) for folder in folders]
    assert keys[0] != keys[1]
    caller = Caller(folders[0])
    assert caller.post(key=keys[1])[0] == 401
    caller.close()
    assert stop_server(endpoints[0])
    assert ask(endpoints[1]) == 200
    assert stop_server(endpoints[1])


def test_a_model_that_cannot_be_loaded_any_more_leaves_the_others_served(tmp_path: Path) -> None:
    endpoint = make_endpoint(tmp_path / "e", {"version-1": 50, "version-2": 50})
    shutil.rmtree(endpoint / "models" / "version-2")
    start(endpoint)
    caller = Caller(endpoint)
    assert caller.post(headers={HEADER: "version-1"})[0] == 200
    status, answer, _ = caller.post(headers={HEADER: "version-2"})
    assert status == 424
    assert "not loaded" in answer["message"]
    caller.close()
    assert stop_server(endpoint)
