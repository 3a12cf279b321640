"""The server of an endpoint as guardian controls it: found, started, reloaded, stopped."""

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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import PlatformError
from guardian_cli.files import is_locked
from guardian_cli.lifecycle.local.workspace import LOG_FOLDER, SERVER_LOCK, SERVER_NAME

if TYPE_CHECKING:
    from pathlib import Path

HOST = "127.0.0.1"
HEALTH_TIMEOUT_S = 5.0
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 15.0
RELOAD_TIMEOUT_S = 600.0
POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class RunningServer:
    """What a server writes of itself: its process, its port, and the key of its controls."""

    pid: int
    port: int
    instance: str
    control: str


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
        status, document = call(server.port, "GET", "/health", timeout_s=HEALTH_TIMEOUT_S)
    except OSError:
        return False
    return status == 200 and document.get("instance") == server.instance


def ensure_server(folder: Path) -> RunningServer:
    """Find the server, or start it; one that runs but does not answer is replaced."""
    server = find_server(folder, wait_s=START_TIMEOUT_S)
    if server is not None:
        if is_healthy(server):
            return server
        # It does not even say that it is well: asking it to end would only cost more time.
        _kill(folder, server)
    return start_server(folder)


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
                subprocess.run(
                    [*command, str(folder), str(write_end)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(write_end,),
                    check=False,
                    timeout=START_TIMEOUT_S,
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
    lines = crash_log.read_text(encoding="utf-8", errors="replace").split("\n")
    last_line = next((line for line in reversed(lines) if line.strip()), "it ended without a word")
    reason = message.partition(" ")[2] or last_line
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
            server.port,
            "POST",
            "/control/reload",
            key=server.control,
            timeout_s=RELOAD_TIMEOUT_S,
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
        call(server.port, "POST", "/control/stop", key=server.control, timeout_s=5.0)
    except OSError:
        _signal(folder, server, signal.SIGTERM)
    if not _wait_for_end(folder):
        _kill(folder, server)
    return True


def call(
    port: int,
    method: str,
    path: str,
    *,
    key: str | None = None,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
    timeout_s: float,
) -> tuple[int, Any]:
    """Call a server on this machine, past any proxy: the status and the JSON it answers.

    Raises OSError, also where what answers speaks no HTTP or no JSON.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_s)
    sent = dict(headers or {})
    if key is not None:
        sent["Authorization"] = f"Bearer {key}"
    try:
        connection.request(method, path, body=body, headers=sent)
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
