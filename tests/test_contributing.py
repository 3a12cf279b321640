"""Each worked example of CONTRIBUTING.md, run as it stands there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.guardian_process import environment, guardian

if TYPE_CHECKING:
    from pathlib import Path

    from tests.tiny_clip import TinyClip


def example(name: str) -> str:
    """The block that CONTRIBUTING.md says is this file."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (block,) = re.findall(rf"<!-- file: {name} -->\n```\w+\n(.*?)```", text, re.DOTALL)
    return str(block)


def install(folder: Path, name: str) -> str:
    """Lay the example's module and entry point into a folder, as pip would."""
    facts = folder / f"{name}-1.0.dist-info"
    facts.mkdir(parents=True)
    (folder / f"{name}.py").write_text(example(f"{name}.py"))
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (groups,) = tomllib.loads(example(f"{name}.toml"))["project"].values()
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {place}\n" for key, place in points.items())
        for group, points in groups.items()
    ]
    (facts / "entry_points.txt").write_text("".join(lines))
    return str(folder)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with a white and a black picture."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, value in (("black", 0), ("white", 255)):
        cv2.imwrite(str(folder / f"{name}.png"), np.full((40, 40, 3), value, np.uint8))
    return folder


@pytest.mark.slow
def test_a_detector_and_a_format_from_a_package_of_ones_own(tmp_path: Path, pictures: Path) -> None:
    packages = install(tmp_path / "packages", "bright")
    install(tmp_path / "packages", "tsv")
    config = "scan: {detectors: [bright]}\ncategories: {violence: off}\n"
    (tmp_path / "guardian.yaml").write_text(config)
    run = guardian(
        *("scan", "pictures", "--json", "--output", "tsv=out.tsv"),
        folder=tmp_path,
        PYTHONPATH=packages,
    )
    assert run.code == 11, run.err
    scores = [scan["categories"]["nsfw"]["score"] for scan in run.document["scans"]]
    assert scores == [0.0, 1.0]
    written = (tmp_path / "out.tsv").read_text()
    assert written == "allow\t'pictures/black.png'\nblock\t'pictures/white.png'\n"


@pytest.mark.slow
def test_a_platform_passes_the_contract(tmp_path: Path) -> None:
    (tmp_path / "test_billed.py").write_text(example("test_billed.py"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=REPOSITORY,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d\d passed", done.stdout)


@pytest.mark.slow
@pytest.mark.xdist_group("tiny-clip")
def test_a_category_of_ones_own(tmp_path: Path, pictures: Path, tiny_clip: TinyClip) -> None:
    (tmp_path / "guardian.yaml").write_text(example("guardian.yaml"))
    run = guardian(
        *("scan", "pictures", "--json", "--offline", "--fail-on", "never"),
        *("--model-config", str(tiny_clip.config), "--model", tiny_clip.name),
        *("--pretrained", str(tiny_clip.checkpoint)),
        folder=tmp_path,
    )
    assert run.code == 0, run.err
    for scan in run.document["scans"]:
        assert 0 <= scan["categories"]["fireworks"]["score"] <= 1
    thresholds = run.document["scans"][0]["made"]["thresholds"]
    assert json.loads(json.dumps(thresholds))["fireworks"] == {"review": 0.6, "block": 0.95}
