"""Endpoints on this machine, each by its folder: its state file, and the server that follows it.

The state file is the truth. Every change is one write of it, then a request to the server to load
it; when guardian is killed before it can ask, the server notices the file by itself. Whoever
changes something holds the endpoint's lock.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import PlatformError
from guardian_cli.files import is_locked
from guardian_cli.lifecycle.cost import Footprint
from guardian_cli.lifecycle.local.workspace import (
    HOST,
    KEY_NAME,
    LOG_FOLDER,
    SERVER_LOCK,
    SERVER_NAME,
    EndpointState,
    RunningServer,
    own_port,
    require_state,
    write_new_key,
    write_state,
)
from guardian_cli.lifecycle.platform import Deployment, Endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

HEALTH_TIMEOUT_S = 5.0
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 15.0
RELOAD_TIMEOUT_S = 600.0
POLL_S = 0.02


def describe(folder: Path, *, busy: bool = False) -> Endpoint:
    """The endpoint as it is; `busy` while another guardian is at work on it. Raises PlatformError.

    A deployment that is `updating` while nobody is at work on it has failed: whoever was, was
    killed.
    """
    state, server = require_state(folder), find_server(folder)
    port = own_port(folder, state) or (server.port if server else 0)
    deployments = tuple(
        Deployment(
            name,
            traffic=state.traffic.get(name, 0),
            state="failed" if one.state == "updating" and not busy else one.state,
            model=one.model,
            version=one.version,
            instance_type=one.instance_type,
            instance_count=one.instance_count,
            tags=one.tags,
        )
        for name, one in sorted(state.deployments.items())
    )
    return Endpoint(
        name=state.name,
        uri=f"http://{HOST}:{port}/score" if port else "",
        state="stopped" if server is None else "updating" if busy else "ready",
        deployments=deployments,
        tags=state.tags,
    )


def footprint(folder: Path) -> Footprint:
    """What an endpoint takes: its server's resident memory, None where that can't be told, and
    the disk of each deployment's model. A version's files are shared with the registry by links.
    """
    state, server = require_state(folder), find_server(folder)
    memory_mb = None
    if server is not None:
        status = Path(f"/proc/{server.pid}/status")
        with suppress(OSError, StopIteration, ValueError):
            lines = status.read_text(encoding="ascii", errors="replace").splitlines()
            line = next(one for one in lines if one.startswith("VmRSS:"))
            memory_mb = int(line.split()[1]) / 1024
    disk_mb = {
        name: sum(file.stat().st_size for file in (folder / one.folder).rglob("*")) / 2**20
        for name, one in state.deployments.items()
    }
    return Footprint(memory_mb, disk_mb)


def start(folder: Path) -> RunningServer:
    """Make sure that the server runs and answers, on the port it has always had."""
    state = require_state(folder)
    if not (folder / KEY_NAME).exists():
        write_new_key(folder)
    server = find_server(folder, wait_s=START_TIMEOUT_S)
    if server is None or not is_healthy(server):
        if server is not None:
            # It does not even say that it is well: asking it to end would only cost more time.
            _kill(folder, server)
        server = start_server(folder)
    if (state.port, state.home) != (server.port, str(folder)):
        write_state(folder, replace(state, port=server.port, home=str(folder)))
    return server


def change(
    folder: Path, traffic: Mapping[str, int] | None, tags: Mapping[str, str | None] | None = None
) -> None:
    """Change traffic and tags in one write. Raises PlatformError for traffic that cannot be."""
    state = require_state(folder)
    if traffic is not None:
        state = replace(state, traffic=checked_traffic(state, traffic))
    if tags is not None:
        merged = {**state.tags, **tags}
        kept = {name: value for name, value in merged.items() if value is not None}
        state = replace(state, tags=kept)
    write_state(folder, state)
    if traffic is not None:
        # The server has no use for tags.
        reload(folder)


def rotate_key(folder: Path) -> None:
    """Replace the key; once this returns, the old one opens nothing."""
    require_state(folder)
    write_new_key(folder)
    reload(folder)


def reload(folder: Path) -> None:
    """Let the server, if it runs, follow the files now."""
    server = find_server(folder)
    if server is not None:
        # One that does not answer is replaced: what starts anew follows the files anyway.
        healthy = is_healthy(server)
        reload_server(server if healthy else start(folder))


def checked_traffic(state: EndpointState, traffic: Mapping[str, int]) -> dict[str, int]:
    """Return the traffic without its zeros. Raises PlatformError for one that cannot be."""
    for name, share in traffic.items():
        deployment = state.deployments.get(name)
        if deployment is None:
            raise PlatformError(f"there is no deployment {name} to give traffic to")
        if share and deployment.state != "ready":
            raise PlatformError(f"{name} is {deployment.state}: it gets no traffic")
        if not 0 <= share <= 100:
            raise PlatformError(f"{share}% is no share of the traffic")
    if sum(traffic.values()) not in {0, 100}:
        raise PlatformError(f"the traffic sums to {sum(traffic.values())}%, not to 0 or 100")
    return {name: share for name, share in traffic.items() if share}


def find_server(folder: Path, *, wait_s: float = 0.0) -> RunningServer | None:
    """Find the endpoint's server; one that is starting is waited for.

    It runs as long as it holds its lock, whatever pids say: a pid may be another process's by now.
    """
    until = time.monotonic() + wait_s
    while is_locked(folder / SERVER_LOCK):
        try:
            return RunningServer(**json.loads((folder / SERVER_NAME).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            if time.monotonic() >= until:
                return None
        time.sleep(POLL_S)
    return None


def is_healthy(server: RunningServer) -> bool:
    """Whether it is this very server that answers on its port."""
    try:
        status, document = call(server.port, "/health", timeout_s=HEALTH_TIMEOUT_S)
    except OSError:
        return False
    return status == 200 and document.get("instance") == server.instance


def start_server(folder: Path) -> RunningServer:
    """Start the endpoint's server and wait until it is ready. Raises PlatformError, with why."""
    crash_log = folder / LOG_FOLDER / "crash.log"
    crash_log.parent.mkdir(exist_ok=True)
    if crash_log.exists() and crash_log.stat().st_size:
        # What a server wrote when it crashed outlives the server that replaces it.
        crash_log.replace(crash_log.with_name("crash.1.log"))
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as ready_pipe:
        # Without -P a file in the project folder could stand in for a module of ours.
        command = [sys.executable, "-P", "-m", "guardian_cli.lifecycle.local.server"]
        try:
            with crash_log.open("wb") as log:
                # It forks and ends, so this takes no longer than its imports.
                subprocess.run(
                    [*command, str(folder), str(write_end)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(write_end,),
                    timeout=START_TIMEOUT_S,
                    check=False,
                )
        finally:
            # Only the server's end is left: that it dies ends what is read from the pipe.
            os.close(write_end)
        if select.select([ready_pipe], [], [], START_TIMEOUT_S)[0]:
            message = ready_pipe.read().decode("utf-8", "replace")
        else:
            message = f"error it was not ready within {START_TIMEOUT_S:.0f} s"
    if message == "ready" and (server := find_server(folder)) is not None:
        return server
    crash = crash_log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    reason = message.partition(" ")[2] or (crash[-1] if crash else "it ended without a word")
    raise PlatformError(
        f"the server of {folder.name} did not start: {reason}",
        hint=f"its logs are in {folder / LOG_FOLDER}",
    )


def reload_server(server: RunningServer) -> dict[str, str | None]:
    """Let the server follow its files now. Raises PlatformError.

    Returns why a deployment could not be loaded, by its name; None for one that was.
    """
    try:
        status, document = call(
            server.port, "/control/reload", key=server.control, timeout_s=RELOAD_TIMEOUT_S
        )
    except OSError as error:
        raise PlatformError(f"the local server does not answer: {error}") from error
    if status != 200:
        raise PlatformError(f"the local server could not follow its state: HTTP {status}")
    return {str(name): fault for name, fault in document.items()}


def stop_server(folder: Path) -> bool:
    """Stop the server: it finishes what it is answering. False when it was not running."""
    server = find_server(folder, wait_s=START_TIMEOUT_S)
    if server is None:
        if is_locked(folder / SERVER_LOCK):
            raise PlatformError(f"the server of {folder.name} is starting and does not come up")
        return False
    try:
        call(server.port, "/control/stop", key=server.control, timeout_s=5.0)
    except OSError:
        _signal(folder, server, signal.SIGTERM)
    if not _wait_for_end(folder):
        _kill(folder, server)
    return True


def call(
    port: int,
    path: str,
    *,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout_s: float,
) -> tuple[int, Any]:
    """Call a server on this machine, past any proxy: the status and the JSON it answers.

    With a key it is a POST, else a GET. Raises OSError, also where what answers speaks no HTTP or
    no JSON.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_s)
    method, sent = ("POST", {"Authorization": f"Bearer {key}"}) if key is not None else ("GET", {})
    try:
        connection.request(method, path, body=body, headers={**sent, **(headers or {})})
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"null")
    except (http.client.HTTPException, ValueError) as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()


def _signal(folder: Path, server: RunningServer, number: signal.Signals) -> None:
    # Only if the server that wrote its pid is still the one that holds the lock.
    if find_server(folder) == server:
        with suppress(ProcessLookupError):
            os.kill(server.pid, number)


def _wait_for_end(folder: Path) -> bool:
    until = time.monotonic() + STOP_TIMEOUT_S
    while is_locked(folder / SERVER_LOCK):
        if time.monotonic() > until:
            return False
        time.sleep(POLL_S)
    return True


def _kill(folder: Path, server: RunningServer) -> None:
    _signal(folder, server, signal.SIGKILL)
    if not _wait_for_end(folder):
        raise PlatformError(f"the server of {folder.name}, process {server.pid}, does not end")
