"""The fake keeps the contract that real platforms keep: else its tests would prove nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contracts.platform_contract import PlatformContract, World
from tests.lifecycle.fake_platform import BROKEN_NAME, FakePlatform, FakeWorld

if TYPE_CHECKING:
    from pathlib import Path


class TestFakePlatform(PlatformContract):
    @pytest.fixture
    def world(self, tmp_path: Path) -> World:
        shared = FakeWorld()
        return World(
            platform=FakePlatform(shared),
            good_model=tmp_path / "good",
            broken_model=tmp_path / BROKEN_NAME,
            reopen=lambda: FakePlatform(shared),
        )
