"""Fixtures over the stand-in: conftest.py takes them in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from guardian_cli.serving.packaging import list_requirements
from tests.azure_loopback.azure import LoopbackAzure
from tests.azure_loopback.inference_server import InstallError, make_interpreter
from tests.serving.models import CARD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def inference_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has Azure's inference server, and what a tiny model needs."""
    needed = [line.split("==")[0] for line in list_requirements(CARD)]
    try:
        return make_interpreter(tmp_path_factory.mktemp("inference") / "venv", needed)
    except InstallError as error:
        pytest.skip(str(error))


@pytest.fixture
def azure(tmp_path: Path) -> Iterator[LoopbackAzure]:
    """An Azure without a workspace; what no real service would take fails the test at its end."""
    with LoopbackAzure(tmp_path / "azure") as azure:
        yield azure
