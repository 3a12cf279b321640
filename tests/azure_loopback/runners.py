"""What runs a deployment: the uploaded script with the uploaded model, in a process of its own."""

from __future__ import annotations

import atexit
import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tests.azure_loopback.messages import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

READY_S = 120


class InitFailedError(Exception):
    """The script's init() failed, or the process ended before it was ready."""


@dataclass(frozen=True)
class Container:
    """What a deployment is made of: folders that hold what was uploaded."""

    script: Path
    model_folder: Path
    log: Path
    environment: Mapping[str, str]


class Runner(Protocol):
    """A deployment that is up."""

    def score(self, body: bytes, content_type: str, timeout_s: float) -> Response:
        """POST /score; the answer as the script gave it."""

    def read_log(self) -> str:
        """All that the process printed."""

    def stop(self) -> None:
        """End it."""


class Hosting(Protocol):
    """Something that brings deployments up."""

    def start(self, container: Container) -> Runner:
        """Block until it is ready; raises InitFailedError."""


def post(port: int, body: bytes, content_type: str, timeout_s: float) -> Response:
    """POST to /score of a server on this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("POST", "/score", body, {"Content-Type": content_type})
        got = connection.getresponse()
        headers = {name.lower(): value for name, value in got.getheaders()}
        return Response(got.status, got.read(), headers)
    finally:
        connection.close()


class ForkServerHosting:
    """One process of ours that forks: a deployment is up in some 50 ms. Thread-safe."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("fork_server.py")
        # Nothing of this repository may be found by a script: it must bring its own code.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(script)],
            stdin=subprocess.PIPE,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
        self._guard = threading.Lock()

    def start(self, container: Container) -> Runner:
        """Fork, and wait for the call back."""
        container.log.touch()
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(READY_S)
            self._order(container, int(server.getsockname()[1]))
            caller, _ = server.accept()
        caller.settimeout(READY_S)
        line = b""
        while not line.endswith(b"\n"):
            received = caller.recv(1024)
            if not received:
                caller.close()
                raise InitFailedError
            line += received
        return ForkRunner(caller, int(json.loads(line)["port"]), container.log)

    def _order(self, container: Container, caller: int) -> None:
        order = {
            "id": str(container.log),
            "script": str(container.script),
            "log": str(container.log),
            "caller": caller,
            "environment": dict(container.environment),
        }
        with self._guard:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()

    def close(self) -> None:
        """End it; what it forked ends with the sockets."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.terminate()
        self._process.wait()


@dataclass(frozen=True)
class ForkRunner:
    """A process that the fork server has forked."""

    caller: socket.socket
    port: int
    log: Path

    def score(self, body: bytes, content_type: str, timeout_s: float) -> Response:
        """POST /score."""
        return post(self.port, body, content_type, timeout_s)

    def read_log(self) -> str:
        """All that it printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        """It ends itself when this socket closes."""
        self.caller.close()


@cache
def shared_hosting() -> ForkServerHosting:
    """The one of this process: importing torch once is enough for all tests."""
    hosting = ForkServerHosting()
    atexit.register(hosting.close)
    return hosting
