"""The server process as guardian sees it from outside: found, started, told, stopped."""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.local.files import is_locked
from guardian_cli.lifecycle.local.state import LOG_FOLDER, SERVER_LOCK, SERVER_NAME

if TYPE_CHECKING:
    from pathlib import Path

HOST = "127.0.0.1"
HEALTH_TIMEOUT_S = 5.0
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 15.0
CONTROL_TIMEOUT_S = 600.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs: its process, its port, and what guardian needs to command it."""

    pid: int
    port: int
    instance: str
    control: str


def find_server(folder: Path) -> Running | None:
    """Find the endpoint's server: it runs as long as it holds its lock, whatever pids say."""
    if not is_locked(folder / SERVER_LOCK):
        return None
    try:
        return Running(**json.loads((folder / SERVER_NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def is_healthy(running: Running) -> bool:
    """Whether it is this very server that answers on its port."""
    try:
        status, document = call(running.port, "GET", "/health", timeout_s=HEALTH_TIMEOUT_S)
    except (OSError, http.client.HTTPException, ValueError):
        return False
    return status == 200 and document.get("instance") == running.instance


def start_server(folder: Path) -> Running:
    """Start the endpoint's server and wait until it is ready. Raises PlatformError, with why."""
    crash_log = folder / LOG_FOLDER / "crash.log"
    crash_log.parent.mkdir(exist_ok=True)
    if crash_log.exists() and crash_log.stat().st_size:
        # The last words of a server that crashed outlive the one that replaces it.
        crash_log.replace(crash_log.with_name("crash.1.log"))
    hear, tell = os.pipe()
    try:
        _spawn(folder, crash_log, tell)
    finally:
        os.close(tell)
    message = _hear(hear, START_TIMEOUT_S)
    running = find_server(folder) if message == "ready" else None
    if running is not None:
        return running
    reason = message.removeprefix("error ") or _last_line(crash_log) or "it ended without a word"
    raise PlatformError(
        f"the server of {folder.name} did not start: {reason}",
        hint=f"its logs are in {folder / LOG_FOLDER}",
    )


def ensure_server(folder: Path) -> Running:
    """Find the server, or start it; one that runs but does not answer is replaced."""
    running = find_server(folder) or _wait_for_start(folder)
    if running is not None:
        if is_healthy(running):
            return running
        # It does not even say that it is well: asking it to end would only cost more time.
        _kill(folder, running)
    return start_server(folder)


def reload_server(running: Running) -> dict[str, str | None]:
    """Let the server follow its files now; what each deployment lacks, None where nothing."""
    try:
        status, document = call(
            running.port,
            "POST",
            "/control/reload",
            key=running.control,
            timeout_s=CONTROL_TIMEOUT_S,
        )
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise PlatformError(f"the local server does not answer: {error}") from error
    if status != 200:
        raise PlatformError(f"the local server could not follow its state: HTTP {status}")
    return {str(name): fault for name, fault in document.items()}


def end_server(folder: Path) -> bool:
    """Stop the server: it finishes what it is answering. False when it was not running."""
    running = find_server(folder)
    if running is None and not is_locked(folder / SERVER_LOCK):
        return False
    running = running or _wait_for_start(folder)
    if running is None:
        raise PlatformError(f"the server of {folder.name} is starting and does not come up")
    try:
        call(running.port, "POST", "/control/stop", key=running.control, timeout_s=5.0)
    except (OSError, http.client.HTTPException, ValueError):
        _signal(folder, running, signal.SIGTERM)
    if not _wait_for_end(folder, STOP_TIMEOUT_S):
        _kill(folder, running)
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
    """Call a server on this machine, past any proxy: the status and the JSON it answers."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_s)
    sent = dict(headers or {})
    if key is not None:
        sent["Authorization"] = f"Bearer {key}"
    try:
        connection.request(method, path, body=body, headers=sent)
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"null")
    finally:
        connection.close()


def _spawn(folder: Path, crash_log: Path, tell: int) -> None:
    command = [
        sys.executable,
        # Without -P a file in the project folder could stand in for a module of ours.
        "-P",
        "-m",
        "guardian_cli.lifecycle.local.daemon",
        str(folder),
        str(tell),
    ]
    with crash_log.open("wb") as log:
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(tell,),
            check=False,
            timeout=START_TIMEOUT_S,
        )


def _hear(descriptor: int, timeout_s: float) -> str:
    """Read the pipe until its last writer closes it, or the time is over."""
    heard, until = b"", time.monotonic() + timeout_s
    with os.fdopen(descriptor, "rb", buffering=0) as pipe:
        while (left_s := until - time.monotonic()) > 0:
            if not select.select([pipe], [], [], left_s)[0]:
                return f"error it was not ready within {timeout_s:.0f} s"
            part = pipe.read(4096)
            if not part:
                break
            heard += part
    return heard.decode("utf-8", "replace")


def _wait_for_start(folder: Path) -> Running | None:
    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until and is_locked(folder / SERVER_LOCK):
        if (running := find_server(folder)) is not None:
            return running
        time.sleep(_POLL_S)
    return None


def _wait_for_end(folder: Path, timeout_s: float) -> bool:
    until = time.monotonic() + timeout_s
    while is_locked(folder / SERVER_LOCK):
        if time.monotonic() > until:
            return False
        time.sleep(_POLL_S)
    return True


def _kill(folder: Path, running: Running) -> None:
    _signal(folder, running, signal.SIGKILL)
    if not _wait_for_end(folder, STOP_TIMEOUT_S):
        raise PlatformError(f"the server of {folder.name}, process {running.pid}, does not end")


def _signal(folder: Path, running: Running, number: signal.Signals) -> None:
    """Signal the process, if the server that wrote its pid is still the one that holds the lock."""
    if find_server(folder) == running:
        try:
            os.kill(running.pid, number)
        except ProcessLookupError:
            return


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""
