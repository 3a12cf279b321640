"""Endpoints on this machine: their state files, and the server that follows them.

The state file is the truth. Every change is one write of it, then a request to the server to load
it; when guardian is killed before it can ask, the server notices the file by itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from guardian_cli.errors import PlatformError
from guardian_cli.files import make_private_folder
from guardian_cli.lifecycle.local.server_control import (
    HOST,
    RunningServer,
    ensure_server,
    find_server,
    is_healthy,
    reload_server,
    stop_server,
)
from guardian_cli.lifecycle.local.workspace import (
    KEY_NAME,
    EndpointState,
    own_port,
    read_state,
    require_state,
    write_new_key,
    write_state,
)
from guardian_cli.lifecycle.platform import Deployment, Endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class EndpointFolder:
    """One endpoint, by its folder. Changes are for whoever holds the endpoint's lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def describe(self, *, busy: bool) -> Endpoint | None:
        """The endpoint as it is, None where there is none; `busy` while another guardian has it."""
        state = read_state(self.folder)
        if state is None:
            return None
        server = find_server(self.folder)
        port = own_port(self.folder, state) or (server.port if server else 0)
        deployments = tuple(
            Deployment(
                name=one.name,
                traffic=state.traffic.get(one.name, 0),
                # Whoever was at work on it was killed.
                state="failed" if one.state == "updating" and not busy else one.state,
                model=one.model,
                version=one.version,
                instance_type=one.instance_type,
                instance_count=one.instance_count,
                tags=one.tags,
            )
            for one in sorted(state.deployments.values(), key=lambda one: one.name)
        )
        return Endpoint(
            name=state.name,
            uri=f"http://{HOST}:{port}/score" if port else "",
            state="stopped" if server is None else "updating" if busy else "ready",
            deployments=deployments,
            tags=state.tags,
        )

    def create(self, tags: Mapping[str, str]) -> None:
        """Make the endpoint, without starting its server."""
        make_private_folder(self.folder)
        # The key first: there is an endpoint once its state is written.
        if not (self.folder / KEY_NAME).exists():
            write_new_key(self.folder)
        write_state(self.folder, EndpointState(self.folder.name, tags=dict(tags)))

    def start(self) -> RunningServer:
        """Make sure that the server runs and answers, on the port it has always had."""
        state = require_state(self.folder)
        if not (self.folder / KEY_NAME).exists():
            write_new_key(self.folder)
        server = ensure_server(self.folder)
        home = str(self.folder)
        if (state.port, state.home) != (server.port, home):
            write_state(self.folder, replace(state, port=server.port, home=home))
        return server

    def stop(self) -> bool:
        """Stop the server; False when it was not running."""
        return stop_server(self.folder)

    def change(
        self, traffic: Mapping[str, int] | None, tags: Mapping[str, str | None] | None
    ) -> None:
        """Change traffic and tags in one write. Raises PlatformError for traffic that cannot be."""
        state = require_state(self.folder)
        if traffic is not None:
            state = replace(state, traffic=checked_traffic(state, traffic))
        if tags is not None:
            merged = {**state.tags, **tags}
            kept = {name: value for name, value in merged.items() if value is not None}
            state = replace(state, tags=kept)
        write_state(self.folder, state)
        if traffic is not None:
            # The server has no use for tags.
            self.reload()

    def rotate_key(self) -> None:
        """Replace the key; once this returns, the old one opens nothing."""
        require_state(self.folder)
        write_new_key(self.folder)
        self.reload()

    def reload(self) -> None:
        """Let a server that runs follow the files now."""
        server = find_server(self.folder)
        if server is not None:
            # One that does not answer is replaced: what starts anew follows the files anyway.
            reload_server(server if is_healthy(server) else self.start())


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
