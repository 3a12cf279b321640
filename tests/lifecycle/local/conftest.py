"""Project folders for the local platform."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from guardian_cli.lifecycle.local.platform import LocalPlatform
from guardian_cli.lifecycle.local.workspace import FOLDER_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from guardian_cli.lifecycle.local.workspace import Layout
    from tests.lifecycle.conftest import Templates


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A folder for a project; every server that is started in it is stopped in the end."""
    folder = tmp_path / "project"
    folder.mkdir()
    yield folder
    platform = LocalPlatform(folder)
    for endpoint in (folder / FOLDER_NAME / "endpoints").glob("*"):
        platform.stop(endpoint.name)


@pytest.fixture
def workspace(project: Path, templates: Templates) -> Path:
    """A project folder that has a workspace."""
    shutil.copytree(templates.workspace, project / FOLDER_NAME)
    return project


@pytest.fixture
def layout(workspace: Path) -> Layout:
    from guardian_cli.lifecycle.local.workspace import Layout

    return Layout(workspace)
