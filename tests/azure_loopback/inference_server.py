"""Azure's own inference server as the container of deployments, in an environment of its own."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import time
import venv
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

from tests.azure_loopback.runners import READY_S, InitFailedError, post

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.azure_loopback.messages import Response
    from tests.azure_loopback.runners import Container

PACKAGE = "azureml-inference-server-http==1.5.1"


class InstallError(Exception):
    """The server could not be installed: there is no package index, for instance."""


def make_interpreter(folder: Path, needed: Sequence[str]) -> Path:
    """Make an environment with the server and its own pydantic, and after them what is needed.

    needed: names of distributions; they are borrowed from here, with all that they need themselves.
    Raises InstallError.
    """
    venv.create(folder, with_pip=True, symlinks=True)
    python = folder / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*install, PACKAGE], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise InstallError(f"{PACKAGE} could not be installed: {last}")
    own = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    # Torch is gigabytes: it is borrowed, and found only after what the server brought.
    borrowed = folder / "borrowed"
    borrow(borrowed, needed)
    (Path(own) / "borrowed.pth").write_text(f"{borrowed}\n", encoding="utf-8")
    return python


def borrow(folder: Path, needed: Sequence[str]) -> None:
    """Link distributions, with all that they need themselves, into a folder."""
    folder.mkdir()
    wanted, seen = list(needed), set()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        for file in found.files or ():
            top, target = file.parts[0], Path(str(found.locate_file(file.parts[0])))
            if top not in {"..", "__pycache__"} and not (folder / top).exists():
                (folder / top).symlink_to(target.resolve())
        needs = [one for one in found.requires or () if "extra ==" not in one]
        wanted += [re.split(r"[^A-Za-z0-9._-]", one)[0] for one in needs]


@dataclass(frozen=True)
class InferenceServerHosting:
    """Starts a server for each deployment. `python` is of `make_interpreter`."""

    python: Path

    def start(self, container: Container) -> ServerRunner:
        """Block until it answers; raises InitFailedError when it ended before that."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
        command = [
            *(str(self.python), "-m", "azureml_inference_server_http.amlserver"),
            *("--port", str(port), "--entry_script", str(container.script)),
            *("--model_dir", str(container.model_folder)),
        ]
        environment = {**os.environ, **container.environment}
        # The code beside the script must do: nothing of this repository may be found.
        environment.pop("PYTHONPATH", None)
        with container.log.open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=container.script.parent, env=environment, start_new_session=True,
            )  # fmt: skip
        runner = ServerRunner(process, port, container.log)
        runner.wait_until_ready()
        return runner


@dataclass(frozen=True)
class ServerRunner:
    """One server."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def wait_until_ready(self) -> None:
        """Block until it answers; raises InitFailedError when it ended before that."""
        until = time.monotonic() + READY_S
        while time.monotonic() < until and self.process.poll() is None:
            if self._is_live():
                return
            # Its end wakes us at once; while it starts, we look again soon.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)
        self.stop()
        raise InitFailedError

    def _is_live(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def score(self, body: bytes, content_type: str, timeout_s: float) -> Response:
        """POST /score."""
        return post(self.port, body, content_type, timeout_s)

    def read_log(self) -> str:
        """All that it printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        """End it and its workers."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
