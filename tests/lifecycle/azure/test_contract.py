"""The azure platform keeps the contract, on a loopback Azure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from guardian_cli.lifecycle.azure.client import WorkspaceAddress
from guardian_cli.lifecycle.azure.platform import AzurePlatform
from tests.contracts.platform_contract import PlatformContract, World, make_ready
from tests.lifecycle.fake_platform import FakeReporter

if TYPE_CHECKING:
    from tests.azure_loopback.azure import LoopbackAzure
    from tests.lifecycle.conftest import Templates

pytestmark = pytest.mark.slow


class TestAzurePlatform(PlatformContract):
    @pytest.fixture
    def world(
        self, azure: LoopbackAzure, templates: Templates, monkeypatch: pytest.MonkeyPatch
    ) -> World:
        for name, value in azure.environment().items():
            monkeypatch.setenv(name, value)
        address = WorkspaceAddress(azure.subscription_id, azure.resource_group, azure.workspace)

        def connect() -> AzurePlatform:
            return AzurePlatform(address, FakeReporter())

        return World(connect(), templates.good_model, templates.broken_model, connect)

    @pytest.fixture
    def ready(self, world: World, azure: LoopbackAzure) -> World:
        # To make one takes the SDK 5 s.
        azure.add_workspace()
        return make_ready(world)
