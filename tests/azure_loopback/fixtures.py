"""Fixtures over the stand-in: conftest.py takes them in."""

from __future__ import annotations

import fcntl
import os
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
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    # To install it takes a while: whichever worker comes first does it for all.
    with (shared / "inference.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        outcome = shared / "inference.outcome"
        if not outcome.exists():
            outcome.write_text(_install(shared / "inference", needed), encoding="utf-8")
    if problem := outcome.read_text(encoding="utf-8"):
        pytest.skip(problem)
    return shared / "inference" / "bin" / "python"


def _install(folder: Path, needed: list[str]) -> str:
    """Make the environment; what went wrong, "" when nothing did."""
    try:
        make_interpreter(folder, needed)
    except InstallError as error:
        return str(error)
    return ""


@pytest.fixture
def azure(tmp_path: Path) -> Iterator[LoopbackAzure]:
    """An Azure without a workspace; what no real service would take fails the test at its end."""
    with LoopbackAzure(tmp_path / "azure") as azure:
        yield azure
