"""A detector of another package: named in the settings, seen in the verdict and in every report."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from guardian_cli.detectors.registry import BUILT_IN, GROUP, known_detectors, report_order
from guardian_cli.errors import ConfigError, UsageError
from guardian_cli.settings import load_settings
from tests.guardian_process import guardian

if TYPE_CHECKING:
    from pathlib import Path

DETECTOR = """
from guardian_cli.detectors.base import Answer, DetectorInfo, DetectorSpec

INFO = DetectorInfo("bright", None, "mean-1")


class Bright:
    info, categories, short_side_px, batch_size, concurrency = INFO, ("nsfw",), 8, 8, 1

    def score(self, images):
        return Answer([{"nsfw": float(image.mean()) / 255} for image in images])

    score_fp32 = score

    def summary(self):
        return None

    def close(self):
        pass


def make_specs(settings, options):
    return [DetectorSpec(INFO, Bright.categories, Bright.short_side_px, Bright)]
"""


def install(folder: Path, name: str, module: str = "bright_package") -> Path:
    """Lay a package with one detector into a folder, as pip would."""
    folder.mkdir(exist_ok=True)
    (folder / f"{module}.py").write_text(DETECTOR)
    facts = folder / f"{module}-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {module}:make_specs\n")
    return folder


@pytest.mark.slow
def test_a_detector_of_another_package_scores_under_its_own_name(tmp_path: Path) -> None:
    packages = install(tmp_path / "packages", "bright")
    text = "scan: {detectors: [bright, opennsfw]}\ncategories: {violence: off}\n"
    (tmp_path / "guardian.yaml").write_text(text)
    for name, value in (("black", 0), ("white", 255)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((40, 40, 3), value, np.uint8))
    environ = str(packages)
    run = guardian(
        *("scan", "black.png", "white.png", "--json", "--frames"),
        folder=tmp_path,
        PYTHONPATH=environ,
    )
    assert run.code == 11, run.err
    black, white = run.document["scans"]
    assert (black["verdict"], white["verdict"]) == ("allow", "block")
    assert [one["name"] for one in white["detectors"]] == ["opennsfw", "bright"]
    assert white["detectors"][1]["frames"] == 1
    scores = white["frames"][0]["scores"]["nsfw"]
    assert 0 < scores.pop("opennsfw") < 0.5
    assert scores == {"fused": 1.0, "clip": None, "custom": 1.0, "bright": 1.0}
    doctor = guardian("doctor", folder=tmp_path, PYTHONPATH=environ).out
    assert re.search(r"^ok +bright +mean-1 for nsfw$", doctor, re.MULTILINE), doctor
    without = guardian("scan", "black.png", folder=tmp_path)
    assert without.code == 2
    known = "clip, endpoint, model, opennsfw, nudenet"
    said = f"scan.detectors.0: unknown detector bright; there are {known}"
    assert said in without.err


@pytest.mark.parametrize("name", ["fused", "custom", "clip"])
def test_a_name_that_is_taken_is_an_error(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(install(tmp_path, name))
    with pytest.raises(UsageError, match=f"can't be a detector named {name}"):
        known_detectors()


def test_two_packages_cannot_share_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(install(tmp_path / "one", "bright", "one_package"))
    monkeypatch.syspath_prepend(install(tmp_path / "two", "bright", "two_package"))
    with pytest.raises(UsageError, match="bright"):
        known_detectors()


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "guardian.yaml").write_text("scan: {detectors: [clip, yolo]}\n")
    with pytest.raises(ConfigError, match="unknown detector yolo; there are clip, endpoint"):
        load_settings(environ={}, folder=tmp_path)


def test_guardians_own_are_there_and_come_first() -> None:
    known = known_detectors()
    assert list(known)[: len(BUILT_IN)] == list(BUILT_IN)
    assert all(callable(known[name].load()) for name in BUILT_IN)
    names = ["zeta", "nudenet", "alpha", "clip"]
    assert sorted(names, key=report_order) == ["clip", "nudenet", "alpha", "zeta"]
