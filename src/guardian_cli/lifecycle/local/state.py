"""An endpoint's state as a file: what should be served, written whole, read by the server."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.local.files import write_private

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardian_cli.lifecycle.platform import State

STATE_NAME = "endpoint.json"
KEY_NAME = "key"
SERVER_NAME = "server.json"
SERVER_LOCK = "server.lock"
LOG_FOLDER = "log"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class LocalDeployment:
    """One version on an endpoint; a server loads it once its state is `ready`.

    `build` is new with every creation; `folder`, inside the endpoint's, holds the model.
    """

    name: str
    model: str
    version: str
    build: str
    folder: str
    state: State = "updating"
    instance_type: str = ""
    instance_count: int = 1
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EndpointState:
    """All that is known of an endpoint but its key; `port` is 0 until a server has had one.

    `home` is the folder in which it had its port.
    """

    name: str
    port: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    traffic: Mapping[str, int] = field(default_factory=dict)
    deployments: Mapping[str, LocalDeployment] = field(default_factory=dict)
    home: str = ""


def write_state(folder: Path, state: EndpointState) -> None:
    """Write the state of the endpoint in a folder, whole or not at all."""
    document = {"format": FORMAT, **dataclasses.asdict(state)}
    text = json.dumps(document, indent=2, sort_keys=True) + "\n"
    write_private(folder / STATE_NAME, text.encode())


def read_state(folder: Path) -> EndpointState | None:
    """Read the state, None where there is no endpoint. Raises PlatformError for a damaged file."""
    path = folder / STATE_NAME
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise PlatformError(f"{path}: cannot be read: {error}") from error
    try:
        return _parse(document)
    except (TypeError, KeyError, AttributeError) as error:
        raise PlatformError(f"{path}: is no endpoint of this guardian: {error!r}") from error


def own_port(folder: Path, state: EndpointState) -> int:
    """The port of the endpoint in a folder, 0 where it has none yet.

    A project that was moved keeps its ports. One that was copied does not: the endpoint that it
    was copied from is still there, and has them.
    """
    home = Path(state.home)
    if not state.home or home == folder:
        return state.port
    try:
        copied = not (home / STATE_NAME).samefile(folder / STATE_NAME)
        original = read_state(home) if copied else None
    except (OSError, PlatformError):
        original = None
    return 0 if original is not None and original.port == state.port else state.port


def _parse(document: dict[str, Any]) -> EndpointState:
    if document.pop("format") != FORMAT:
        raise KeyError("format")
    deployments = {
        name: LocalDeployment(**one) for name, one in document.pop("deployments").items()
    }
    return EndpointState(**document, deployments=deployments)


def read_key(folder: Path) -> str:
    """Read the key of the endpoint in a folder. Raises PlatformError."""
    path = folder / KEY_NAME
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise PlatformError(
            f"{path}: the endpoint's key cannot be read",
            hint="guardian endpoints --rotate-key MODEL makes a new one",
        ) from error
