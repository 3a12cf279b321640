"""What lies in `.guardian/`: its folders, and in an endpoint's folder its state, key and server.

The state file says what an endpoint should serve. guardian writes it, the endpoint's server
follows it.
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.files import make_private_folder, write_private
from guardian_cli.lifecycle.platform import State  # noqa: TC001 - pydantic reads it

FOLDER_NAME = ".guardian"
STATE_NAME = "endpoint.json"
KEY_NAME = "key"
SERVER_NAME = "server.json"
SERVER_LOCK = "server.lock"
LOG_FOLDER = "log"
HOST = "127.0.0.1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Layout:
    """The paths of one project's workspace; `project` is the folder that holds `.guardian/`."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.root = project / FOLDER_NAME
        # MLflow's: runs, metrics and the registry; the files of runs.
        self.database = self.root / "mlflow.db"
        self.artifacts = self.root / "artifacts"
        # A folder for each version of a model, and for each endpoint.
        self.models = self.root / "models"
        self.endpoints = self.root / "endpoints"
        # A file for each endpoint, there before the endpoint is.
        self.locks = self.root / "locks"
        self.folders = (self.root, self.artifacts, self.models, self.endpoints, self.locks)

    def endpoint(self, name: str) -> Path:
        """The folder of one endpoint. Raises UsageError for a name that is no file name."""
        return self.endpoints / checked_name(name)

    def lock(self, name: str) -> Path:
        """The lock file of one endpoint."""
        return self.locks / f"{checked_name(name)}.lock"

    def make_folders(self) -> None:
        """Make the folders, for their owner only, and keep them out of version control."""
        for folder in self.folders:
            make_private_folder(folder)
        ignore = self.root / ".gitignore"
        if not ignore.exists():
            ignore.write_text("# made by guardian\n*\n", encoding="utf-8")

    def hand_over(self) -> None:
        """Give what root made in somebody else's workspace to its owner, who could not open it."""
        owner = self.root.stat() if os.geteuid() == 0 and self.root.is_dir() else None
        if owner is None or owner.st_uid == 0:
            return
        # By descriptors: a folder that becomes a link meanwhile leads nowhere else.
        for _, folders, files, descriptor in os.fwalk(self.root):
            for name in (*folders, *files):
                # Others may be at work: a file may be gone by now.
                with suppress(FileNotFoundError):
                    found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                    if found.st_uid == 0:
                        ids = (owner.st_uid, owner.st_gid)
                        os.chown(name, *ids, dir_fd=descriptor, follow_symlinks=False)

    def require_access(self) -> None:
        """Raise PlatformError for a workspace that this user may not enter."""
        wanted = os.R_OK | os.X_OK
        if self.root.is_dir() and not os.access(self.root, wanted, effective_ids=True):
            owner = self.root.stat().st_uid
            raise PlatformError(
                f"the workspace {self.root} cannot be opened: it belongs to user number {owner}",
                hint=f"work as that user, or: sudo chown -R {os.geteuid()} {self.root}",
            )

    def require(self) -> None:
        """Raise PlatformError where there is no workspace."""
        if not all(folder.is_dir() for folder in self.folders):
            raise PlatformError(f"there is no workspace in {self.project}", hint="guardian setup")


def checked_name(name: str) -> str:
    """Return a name that is safe as a file name. Raises UsageError for any other."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name: letters, digits, '.', '_' and '-' make one")
    return name


_NO_OTHER_KEYS = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class LocalDeployment:
    """One version on an endpoint; a server loads it once its state is `ready`.

    `build` is new with every creation; `folder`, inside the endpoint's, holds the model.
    """

    __pydantic_config__ = _NO_OTHER_KEYS

    name: str
    model: str
    version: str
    build: str
    folder: str
    state: State = "updating"
    instance_type: str = ""
    instance_count: int = 1
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EndpointState:
    """All that is known of an endpoint but its key; `port` is 0 until a server has had one.

    `home` is the folder in which it had its port.
    """

    __pydantic_config__ = _NO_OTHER_KEYS

    name: str
    port: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    traffic: dict[str, int] = field(default_factory=dict)
    deployments: dict[str, LocalDeployment] = field(default_factory=dict)
    home: str = ""
    format: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class RunningServer:
    """What a server writes of itself: its process, its port, and the key of its controls."""

    pid: int
    port: int
    instance: str
    control: str


_STATE_FILE = TypeAdapter(EndpointState)


def write_state(folder: Path, state: EndpointState) -> None:
    """Write the state of the endpoint in a folder, whole or not at all."""
    write_private(folder / STATE_NAME, _STATE_FILE.dump_json(state, indent=2) + b"\n")


def read_state(folder: Path) -> EndpointState | None:
    """Read the state, None where there is no endpoint. Raises PlatformError for a damaged file."""
    path = folder / STATE_NAME
    try:
        return _STATE_FILE.validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise PlatformError(f"{path}: cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        reason = ": ".join([*map(str, first["loc"]), first["msg"]])
        raise PlatformError(f"{path}: is no endpoint of this guardian: {reason}") from error


def require_state(folder: Path) -> EndpointState:
    """Read the state of an endpoint that must be there. Raises PlatformError."""
    state = read_state(folder)
    if state is None:
        raise PlatformError(f"there is no endpoint {folder.name}")
    return state


def own_port(folder: Path, state: EndpointState) -> int:
    """The port of the endpoint in a folder, 0 where it has none yet.

    A project that was moved keeps its ports. One that was copied does not: the endpoint that it
    was copied from is still there, and has them.
    """
    home = Path(state.home)
    if not state.home or home == folder:
        return state.port
    try:
        # The same folder may have another name, as it is seen through a mount.
        copied = not (home / STATE_NAME).samefile(folder / STATE_NAME)
        original = read_state(home) if copied else None
    except (OSError, PlatformError):
        original = None
    return 0 if original is not None and original.port == state.port else state.port


def write_new_key(folder: Path) -> None:
    """Give the endpoint in a folder a new key."""
    write_private(folder / KEY_NAME, secrets.token_urlsafe(32).encode())


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
