"""Endpoints on this machine: their state files, and the server that follows them.

The state file is the truth. Every change is one write of it, then word to the server; when that
word is never sent, because we were killed, the server notices the file by itself.
"""

from __future__ import annotations

import dataclasses
import secrets
import shutil
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.local.files import make_private_folder, write_private
from guardian_cli.lifecycle.local.process import (
    HOST,
    Running,
    end_server,
    ensure_server,
    find_server,
    is_healthy,
    reload_server,
)
from guardian_cli.lifecycle.local.state import (
    KEY_NAME,
    LOG_FOLDER,
    EndpointState,
    LocalDeployment,
    own_port,
    read_state,
    write_state,
)
from guardian_cli.lifecycle.platform import (
    Deployment,
    DeploymentFailedError,
    DeploymentSpec,
    Endpoint,
    OperationTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

LOG_TAIL_BYTES = 200_000
MODELS = "models"


class EndpointFolder:
    """One endpoint, by its folder. Changes are for whoever holds the endpoint's lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def look(self, *, busy: bool) -> Endpoint | None:
        """The endpoint as it is; `busy` when somebody else is at work on it."""
        state = read_state(self.folder)
        if state is None:
            return None
        state = dataclasses.replace(state, port=own_port(self.folder, state))
        return describe(state, find_server(self.folder), busy=busy)

    def state(self) -> EndpointState:
        """The endpoint's state. Raises PlatformError where there is none."""
        state = read_state(self.folder)
        if state is None:
            raise PlatformError(f"there is no endpoint {self.folder.name}")
        return state

    def create(self, tags: Mapping[str, str]) -> None:
        """Make the endpoint, its key first: there is an endpoint once its state is written."""
        make_private_folder(self.folder)
        self._ensure_key()
        write_state(self.folder, EndpointState(self.folder.name, tags=dict(tags)))

    def start(self) -> Running:
        """Make sure that the server runs and answers, on the port it has always had."""
        state = self.state()
        self._ensure_key()
        running = ensure_server(self.folder)
        home = str(self.folder)
        if (state.port, state.home) != (running.port, home):
            write_state(self.folder, dataclasses.replace(state, port=running.port, home=home))
        return running

    def stop(self) -> bool:
        """Stop the server; False when it was not running."""
        return end_server(self.folder)

    def change(
        self, traffic: Mapping[str, int] | None, tags: Mapping[str, str | None] | None
    ) -> None:
        """Change traffic and tags in one write."""
        state = self.state()
        if traffic is not None:
            state = dataclasses.replace(state, traffic=checked_traffic(state, traffic))
        if tags is not None:
            merged = {**state.tags, **tags}
            kept = {name: value for name, value in merged.items() if value is not None}
            state = dataclasses.replace(state, tags=kept)
        write_state(self.folder, state)
        if traffic is not None:
            # Of tags the server knows nothing.
            self._tell()

    def add(self, spec: DeploymentSpec, fetch: Callable[[Path], None], *, timeout_s: float) -> None:
        """Bring a deployment up with no traffic: fetched, tried alone, then loaded by the server.

        One that is ready is left as it is, one that is not is made anew.
        Raises DeploymentFailedError and OperationTimeoutError; what failed stays, as `failed`.
        """
        self.start()
        state = self.state()
        if (old := state.deployments.get(spec.name)) and old.state == "ready":
            return
        build = uuid.uuid4().hex[:12]
        new = LocalDeployment(
            name=spec.name,
            model=spec.model,
            version=spec.version,
            build=build,
            folder=f"{MODELS}/{build}",
            tags=dict(spec.tags),
            instance_type=spec.instance_type,
            instance_count=spec.instance_count,
        )
        self._put(new)
        self._sweep()
        try:
            (self.folder / MODELS).mkdir(exist_ok=True)
            fetch(self.folder / new.folder)
            self._try(new, timeout_s)
            self._put(dataclasses.replace(new, state="ready"))
            self._load(new.name)
        except BaseException:
            self._put(dataclasses.replace(new, state="failed"))
            raise

    def _load(self, name: str) -> None:
        fault = reload_server(self.start()).get(name, "the server does not know it")
        if fault is not None:
            message = f"{name} did not come up: {fault}"
            raise DeploymentFailedError(message, log=self.log(name, 200))

    def remove(self, name: str) -> None:
        """Remove a deployment that has no traffic; nothing to do when it is not there."""
        state = self.state()
        if name not in state.deployments:
            return
        if state.traffic.get(name):
            raise PlatformError(f"{name} has {state.traffic[name]}% of the traffic: not removed")
        left = {other: one for other, one in state.deployments.items() if other != name}
        shares = {other: share for other, share in state.traffic.items() if other != name}
        write_state(self.folder, dataclasses.replace(state, deployments=left, traffic=shares))
        self._tell()
        self._sweep()
        for log in (self.folder / LOG_FOLDER).glob(f"{name}.log*"):
            log.unlink(missing_ok=True)

    def rotate_key(self) -> None:
        """Replace the key; once this returns, the old one opens nothing."""
        self.state()
        write_private(self.folder / KEY_NAME, secrets.token_urlsafe(32).encode())
        self._tell()

    def log(self, name: str, lines: int) -> str:
        """The newest lines of a deployment's log."""
        path = self.folder / LOG_FOLDER / f"{name}.log"
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
                text = file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def _tell(self) -> None:
        running = find_server(self.folder)
        if running is None:
            return
        # One that does not answer is replaced: what starts anew follows the files anyway.
        reload_server(running if is_healthy(running) else self.start())

    def _put(self, one: LocalDeployment) -> None:
        state = self.state()
        deployments = {**state.deployments, one.name: one}
        write_state(self.folder, dataclasses.replace(state, deployments=deployments))

    def _ensure_key(self) -> None:
        if not (self.folder / KEY_NAME).exists():
            write_private(self.folder / KEY_NAME, secrets.token_urlsafe(32).encode())

    def _sweep(self) -> None:
        """Remove the model folders that no deployment names any more."""
        used = {one.folder for one in self.state().deployments.values()}
        for folder in (self.folder / MODELS).glob("*"):
            if f"{MODELS}/{folder.name}" not in used:
                shutil.rmtree(folder, ignore_errors=True)

    def _try(self, one: LocalDeployment, timeout_s: float) -> None:
        """Load and score in a process of its own; its words are the deployment's log."""
        path = self.folder / LOG_FOLDER / f"{one.name}.log"
        # What an earlier try had to say would only be taken for this one's.
        path.unlink(missing_ok=True)
        module = "guardian_cli.lifecycle.local.trial"
        command = [sys.executable, "-P", "-m", module, str(self.folder / one.folder)]
        with path.open("ab") as log:
            try:
                code = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    check=False,
                    timeout=timeout_s,
                ).returncode
            except subprocess.TimeoutExpired as error:
                raise OperationTimeoutError(
                    f"{one.name} did not come up within {timeout_s:.0f} s"
                ) from error
        if code:
            said = self.log(one.name, 200)
            how = last_words(said) if code > 0 else f"its trial was ended by signal {-code}"
            raise DeploymentFailedError(
                f"{one.name} did not come up: {how}",
                log=said,
                hint=f"train {one.model} anew, or deploy another version: guardian train "
                f"{one.model}",
            )


def last_words(log: str) -> str:
    """The line of a log that says what went wrong, without the place in our own code."""
    lines = [line for line in log.splitlines() if line.strip()]
    return lines[-1].removeprefix("guardian_cli.serving.format.") if lines else "it said nothing"


def describe(state: EndpointState, running: Running | None, *, busy: bool) -> Endpoint:
    """Say what an endpoint is, from its file and its server."""
    port = state.port or (running.port if running else 0)
    deployments = tuple(
        Deployment(
            name=one.name,
            traffic=state.traffic.get(one.name, 0),
            # Nobody is at work on it any more: whoever was, was killed.
            state="failed" if one.state == "updating" and not busy else one.state,
            model=one.model,
            version=one.version,
            instance_type=one.instance_type,
            instance_count=one.instance_count,
            tags=dict(one.tags),
        )
        for one in sorted(state.deployments.values(), key=lambda one: one.name)
    )
    return Endpoint(
        name=state.name,
        uri=f"http://{HOST}:{port}/score" if port else "",
        state="stopped" if running is None else "updating" if busy else "ready",
        deployments=deployments,
        tags=dict(state.tags),
    )


def checked_traffic(state: EndpointState, traffic: Mapping[str, int]) -> dict[str, int]:
    """Return the traffic without its zeros. Raises PlatformError for one that cannot be."""
    for name, share in traffic.items():
        one = state.deployments.get(name)
        if one is None:
            raise PlatformError(f"there is no deployment {name} to give traffic to")
        if share and one.state != "ready":
            raise PlatformError(f"{name} is {one.state}: it gets no traffic")
        if not 0 <= share <= 100:
            raise PlatformError(f"{share}% is no share of the traffic")
    if sum(traffic.values()) not in {0, 100}:
        raise PlatformError(f"the traffic sums to {sum(traffic.values())}%, not to 0 or 100")
    return {name: share for name, share in traffic.items() if share}
