"""A workspace with an empty registry, made once and copied for each test."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from guardian_cli.lifecycle.local.platform import LocalPlatform
from guardian_cli.lifecycle.platform import WorkspaceOptions

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def empty_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with a fresh workspace; for copying only."""
    project = tmp_path_factory.mktemp("project")
    LocalPlatform(project).create_workspace(WorkspaceOptions())
    return project


@pytest.fixture
def project(empty_project: Path, tmp_path: Path) -> Path:
    """A project folder of the test's own."""
    return shutil.copytree(empty_project, tmp_path / "project")
