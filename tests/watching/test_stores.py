"""`guardian monitor` on stores that a scan with a real CLIP has filled."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from tests.guardian_process import guardian, tiny_options, write_settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.tiny_clip import TinyClip


def draw_pictures(folder: Path, *, seed: int, colour: tuple[int, int, int]) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for number in range(60):
        picture = rng.integers(0, 120, (64, 64, 3)).astype(np.uint8)
        picture[10:40, 10:40] = colour
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    return folder


@pytest.mark.slow
@pytest.mark.xdist_group("tiny-clip")
def test_a_store_of_other_pictures_drifts_and_itself_does_not(
    tmp_path: Path, tiny_clip: TinyClip
) -> None:
    write_settings(tmp_path, tiny_clip)
    for name, seed, colour in (
        ("spring", 1, (40, 40, 40)), ("autumn", 3, (30, 30, 230)),
    ):  # fmt: skip
        pictures = draw_pictures(tmp_path / name, seed=seed, colour=colour)
        options = [*tiny_options(tiny_clip), "--fail-on", "never", "--store", f"{name}.store"]
        assert guardian("scan", pictures, *options, folder=tmp_path).code == 0
    states = {}
    for name, code in (("spring", 0), ("autumn", 12)):
        arguments = [f"{name}.store", "--reference", "spring.store", "--json"]
        run = guardian("monitor", *arguments, folder=tmp_path)
        assert run.code == code, run.err
        states[name] = {one["name"]: one["state"] for one in json.loads(run.out)["figures"]}
    assert states["spring"]["feature_drift"] == "ok"
    assert states["autumn"]["feature_drift"] == "alert"
    assert guardian("monitor", "autumn", "--reference", "spring.store", folder=tmp_path).code == 2
