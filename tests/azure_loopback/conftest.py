"""What the stand-in's own tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.azure_loopback.caller import Caller
from tests.azure_loopback.sdk import Sdk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.azure_loopback.azure import LoopbackAzure

SCORE = """\
import json, os
def init():
    print("the model has", sorted(os.listdir(os.environ["AZUREML_MODEL_DIR"])))
def run(raw):
    return [0.25] * len(json.loads(raw)["input_data"]["data"])
"""
BROKEN = """\
def init():
    raise RuntimeError("no weights here")
"""


@pytest.fixture
def caller(azure: LoopbackAzure) -> Iterator[Caller]:
    """A signed-in client of a stand-in that has a workspace."""
    azure.add_workspace()
    with Caller(azure) as caller:
        yield caller


@pytest.fixture(scope="session")
def sdk() -> Iterator[Sdk]:
    """The real SDK in a process of its own."""
    sdk = Sdk()
    yield sdk
    sdk.close()


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A folder with a scoring script that answers a quarter for each row."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "score.py").write_text(SCORE, encoding="utf-8")
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that stands for a model."""
    folder = tmp_path / "model"
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")
    (folder / "data" / "weights").write_bytes(b"w" * 1000)
    return folder
