"""A workspace with its database and models, made once: MLflow takes seconds for the first."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from guardian_cli.lifecycle.local.platform import LocalPlatform
from guardian_cli.lifecycle.local.workspace import FOLDER_NAME
from guardian_cli.lifecycle.platform import WorkspaceOptions
from guardian_cli.serving.format import WEIGHTS_NAME
from tests.serving.models import write_constant_model

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Templates:
    """Folders to copy from."""

    workspace: Path
    good_model: Path
    broken_model: Path


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    root = tmp_path_factory.mktemp("templates")
    good = write_constant_model(root / "good", 0.0)
    broken = root / "broken"
    shutil.copytree(good, broken)
    next(broken.rglob(WEIGHTS_NAME)).write_bytes(b"no weights")
    LocalPlatform(root).create_workspace(WorkspaceOptions())
    return Templates(root / FOLDER_NAME, good, broken)
