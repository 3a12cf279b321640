"""Where everything is in `.guardian/`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.lifecycle.local.files import make_private_folder

if TYPE_CHECKING:
    from pathlib import Path

FOLDER_NAME = ".guardian"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one project's workspace; `project` is the folder that holds `.guardian/`."""

    project: Path

    @property
    def root(self) -> Path:
        """The workspace itself."""
        return self.project / FOLDER_NAME

    @property
    def database(self) -> Path:
        """MLflow's SQLite file: runs, metrics, the registry."""
        return self.root / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        """Where MLflow puts the files of runs."""
        return self.root / "artifacts"

    @property
    def models(self) -> Path:
        """Where the registered model folders are."""
        return self.root / "models"

    @property
    def endpoints(self) -> Path:
        """One folder for each endpoint."""
        return self.root / "endpoints"

    @property
    def locks(self) -> Path:
        """One lock file for each endpoint, there before the endpoint is."""
        return self.root / "locks"

    @property
    def folders(self) -> tuple[Path, ...]:
        """Every folder of a workspace, the outermost first."""
        return (self.root, self.artifacts, self.models, self.endpoints, self.locks)

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

    def require(self) -> None:
        """Raise PlatformError where there is no workspace."""
        if not all(folder.is_dir() for folder in self.folders):
            raise PlatformError(f"there is no workspace in {self.project}", hint="guardian setup")


def checked_name(name: str) -> str:
    """Return a name that is safe as a file name. Raises UsageError for any other."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name: letters, digits, '.', '_' and '-' make one")
    return name
