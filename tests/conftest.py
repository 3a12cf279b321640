"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from guardian_cli.settings import calm_threads
from tests.azure_loopback.fixtures import azure, inference_python  # noqa: F401 - fixtures
from tests.tiny_clip import tiny_clip  # noqa: F401 - a fixture

# Before torch is there, as guardian does: threads that spin cost half of the processor's time.
calm_threads()

# A machine that does other things too must not fail a test by being slow.
settings.register_profile("guardian", deadline=None)
settings.load_profile("guardian")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real videos, broken files and models; GUARDIAN_TEST_DATA names another."""
    folder = Path(os.environ.get("GUARDIAN_TEST_DATA", REPOSITORY / ".." / "shared")).resolve()
    if not (folder / "data").is_dir():
        pytest.skip(f"no test media in {folder}: set GUARDIAN_TEST_DATA")
    return folder
