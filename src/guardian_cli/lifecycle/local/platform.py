"""The embedded platform: implements `lifecycle.platform` on this machine."""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from pydantic import SecretStr

from guardian_cli.files import LockHeldError, hold_lock, is_locked, make_private_folder
from guardian_cli.http import DEPLOYMENT_HEADER
from guardian_cli.lifecycle.local import deployments, endpoints
from guardian_cli.lifecycle.local.registry import LocalRegistry
from guardian_cli.lifecycle.local.workspace import (
    FOLDER_NAME,
    KEY_NAME,
    STATE_NAME,
    EndpointState,
    Layout,
    read_key,
    read_state,
    write_new_key,
    write_state,
)
from guardian_cli.lifecycle.platform import (
    DeploymentSpec,
    Endpoint,
    EndpointBusyError,
    NameTakenError,
    Probe,
    Workspace,
    WorkspaceOptions,
    check_unchanged,
)
from guardian_cli.lifecycle.probe import PROBE_TIMEOUT_S, probe_body, read_answer
from guardian_cli.settings import user_and_machine
from guardian_cli.urls import mask_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from guardian_cli.lifecycle.cost import Footprint

BUSY_WAIT_S = 30.0


class LocalPlatform:
    """Models, endpoints and servers of one project folder. Not for several threads at once."""

    target = "local"

    def __init__(self, project: Path, tracking_uri: str | None = None) -> None:
        self._layout = Layout(project.resolve())
        self._layout.require_access()
        self._tracking_uri = tracking_uri
        self.registry = LocalRegistry(self._layout, tracking_uri)
        self._held: set[str] = set()

    @property
    def place(self) -> str:
        """Where the workspace is."""
        return f"{FOLDER_NAME}/ in {self._layout.project}"

    def who(self) -> str:
        """The user and the machine."""
        return user_and_machine()

    @contextmanager
    def lock(self, endpoint: str) -> Iterator[None]:
        """Keep other guardians from an endpoint. Raises EndpointBusyError at once, or nearly."""
        # Whoever only asks whether it is held, holds it for an instant.
        with self._exclusive(endpoint, wait_s=0.5):
            yield

    def look_at_workspace(self, options: WorkspaceOptions) -> Workspace:  # noqa: ARG002 - nothing here has a location or a price
        """Look, change nothing."""
        layout = self._layout
        parts = {f"workspace {layout.root}": all(one.is_dir() for one in layout.folders)}
        if self._tracking_uri is None:
            parts[f"registry {layout.database.name}"] = layout.database.exists()
        else:
            self.registry.create()
            parts[f"registry {mask_url(self._tracking_uri)}"] = True
        return Workspace(
            name=str(layout.root),
            existing=tuple(name for name, there in parts.items() if there),
            missing=tuple(name for name, there in parts.items() if not there),
        )

    def create_workspace(self, options: WorkspaceOptions) -> Workspace:
        """Make what is missing; nothing twice."""
        # Before any folder is made: whether the registry can be here at all.
        self.registry.tracking()
        self._layout.make_folders()
        self.registry.create()
        self._layout.hand_over()
        return self.look_at_workspace(options)

    def endpoint(self, name: str) -> Endpoint | None:
        """An endpoint with its deployments, or None."""
        folder = self._layout.endpoint(name)
        if not (folder / STATE_NAME).exists():
            return None
        busy = name not in self._held and is_locked(self._layout.lock(name))
        return endpoints.describe(folder, busy=busy)

    def create_endpoint(self, name: str, tags: Mapping[str, str]) -> Endpoint:
        """Make an endpoint and start its server."""
        with self._exclusive(name) as folder:
            if read_state(folder) is not None:
                raise NameTakenError(f"there is an endpoint {name} already")
            make_private_folder(folder)
            # The key first: there is an endpoint once its state is written.
            if not (folder / KEY_NAME).exists():
                write_new_key(folder)
            write_state(folder, EndpointState(name, tags=dict(tags)))
            return self.start(name)

    def update_endpoint(
        self,
        name: str,
        *,
        traffic: Mapping[str, int] | None = None,
        tags: Mapping[str, str | None] | None = None,
        expected: Endpoint | None = None,
    ) -> Endpoint:
        """Change traffic and tags, both or neither."""
        with self._exclusive(name) as folder:
            if expected is not None:
                check_unchanged(expected, endpoints.describe(folder))
            endpoints.change(folder, traffic, tags)
            return endpoints.describe(folder)

    def create_deployment(self, endpoint: str, spec: DeploymentSpec, *, timeout_s: float) -> None:
        """Bring a registered version up on an endpoint, without traffic."""
        fetch = partial(self.registry.fetch, spec.model, spec.version)
        with self._exclusive(endpoint) as folder:
            deployments.create_deployment(folder, spec, fetch, timeout_s=timeout_s)

    def delete_deployment(self, endpoint: str, name: str) -> None:
        """Remove a deployment that has no traffic."""
        with self._exclusive(endpoint) as folder:
            deployments.delete_deployment(folder, name)

    def logs(self, endpoint: str, deployment: str, *, lines: int = 200) -> str:
        """The newest lines of a deployment's log."""
        return deployments.read_log(self._layout.endpoint(endpoint), deployment, lines)

    def key(self, endpoint: str) -> SecretStr:
        """The key that opens the endpoint."""
        return SecretStr(read_key(self._layout.endpoint(endpoint)))

    def rotate_key(self, endpoint: str) -> SecretStr:
        """Replace the key at once."""
        with self._exclusive(endpoint) as folder:
            endpoints.rotate_key(folder)
            return self.key(endpoint)

    def probe(self, endpoint: str, deployment: str | None = None) -> Probe:
        """Score one picture through the scoring URI."""
        found = self.endpoint(endpoint)
        if found is None or found.state == "stopped":
            return Probe(problem="the server is not running")
        port = int(found.uri.rpartition(":")[2].partition("/")[0])
        headers = {"Content-Type": "application/json"}
        if deployment is not None:
            headers[DEPLOYMENT_HEADER] = deployment
        key, body = self.key(endpoint).get_secret_value(), probe_body()
        begun = time.perf_counter()
        try:
            status, answer = endpoints.call(
                port, "/score", key=key, headers=headers, body=body, timeout_s=PROBE_TIMEOUT_S
            )
        except OSError as error:
            return Probe(problem=f"no answer: {error}")
        return read_answer(status, answer, (time.perf_counter() - begun) * 1000)

    def start(self, endpoint: str) -> Endpoint:
        """Start the server, or replace one that does not answer."""
        with self._exclusive(endpoint) as folder:
            endpoints.start(folder)
            return endpoints.describe(folder)

    def stop(self, endpoint: str) -> bool:
        """Stop the server, keep everything."""
        with self._exclusive(endpoint) as folder:
            return endpoints.stop_server(folder)

    def footprint(self, endpoint: str) -> Footprint:
        """The server's memory, and the disk of each deployment's model."""
        return endpoints.footprint(self._layout.endpoint(endpoint))

    @contextmanager
    def _exclusive(self, name: str, wait_s: float = BUSY_WAIT_S) -> Iterator[Path]:
        """Hold the endpoint's lock, unless the use-case above holds it already; give its folder."""
        folder = self._layout.endpoint(name)
        if name in self._held:
            yield folder
            return
        self._layout.require()
        try:
            with hold_lock(self._layout.lock(name), wait_s):
                self._held.add(name)
                try:
                    yield folder
                finally:
                    self._held.discard(name)
                    self._layout.hand_over()
        except LockHeldError as error:
            raise EndpointBusyError(f"another guardian is at work on {name}") from error
