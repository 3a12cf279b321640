"""Endpoints on this machine, each by its folder: its state file, and the server that follows it.

The state file is the truth. Every change is one write of it, then a request to the server to load
it; when guardian is killed before it can ask, the server notices the file by itself. Whoever
changes something holds the endpoint's lock.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from guardian_cli.errors import PlatformError
from guardian_cli.files import make_private_folder
from guardian_cli.lifecycle.local import server_control
from guardian_cli.lifecycle.local.server_control import RunningServer, find_server
from guardian_cli.lifecycle.local.workspace import (
    KEY_NAME,
    EndpointState,
    own_port,
    require_state,
    write_new_key,
    write_state,
)
from guardian_cli.lifecycle.platform import Deployment, Endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


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
        uri=f"http://{server_control.HOST}:{port}/score" if port else "",
        state="stopped" if server is None else "updating" if busy else "ready",
        deployments=deployments,
        tags=state.tags,
    )


def create(folder: Path, tags: Mapping[str, str]) -> None:
    """Make an endpoint, without starting its server."""
    make_private_folder(folder)
    # The key first: there is an endpoint once its state is written.
    if not (folder / KEY_NAME).exists():
        write_new_key(folder)
    write_state(folder, EndpointState(folder.name, tags=dict(tags)))


def start(folder: Path) -> RunningServer:
    """Make sure that the server runs and answers, on the port it has always had."""
    state = require_state(folder)
    if not (folder / KEY_NAME).exists():
        write_new_key(folder)
    server = server_control.ensure_server(folder)
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
        healthy = server_control.is_healthy(server)
        server_control.reload_server(server if healthy else start(folder))


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
