"""The local platform keeps the contract."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from guardian_cli.lifecycle.local.platform import LocalPlatform
from guardian_cli.lifecycle.local.workspace import FOLDER_NAME
from tests.contracts.platform_contract import (
    ENDPOINT,
    MODEL,
    OPTIONS,
    TIMEOUT_S,
    PlatformContract,
    World,
    spec_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lifecycle.conftest import Templates

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, templates: Templates) -> Path:
    """A workspace with version 1 at 100%, made by the platform itself, its server stopped."""
    project = tmp_path_factory.mktemp("deployed")
    platform = LocalPlatform(project)
    shutil.copytree(templates.workspace, project / FOLDER_NAME)
    platform.create_workspace(OPTIONS)
    platform.registry.register(MODEL, templates.good_model, {"data": "simulated"})
    platform.create_endpoint(ENDPOINT, {"guardian.model": MODEL})
    platform.create_deployment(ENDPOINT, spec_of("1"), timeout_s=TIMEOUT_S)
    platform.update_endpoint(ENDPOINT, traffic={"version-1": 100})
    platform.stop(ENDPOINT)
    return project / FOLDER_NAME


class TestLocalPlatform(PlatformContract):
    @pytest.fixture
    def world(self, project: Path, templates: Templates) -> World:
        return World(
            platform=LocalPlatform(project),
            good_model=templates.good_model,
            broken_model=templates.broken_model,
            reopen=lambda: LocalPlatform(project),
        )

    @pytest.fixture
    def ready(self, world: World, project: Path, deployed: Path) -> World:
        shutil.copytree(deployed, project / FOLDER_NAME)
        LocalPlatform(project).start(ENDPOINT)
        return world
