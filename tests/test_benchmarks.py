"""Every benchmark of the scan runs, at its quick size, and writes its numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from benchmarks import plot

from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

SCRIPTS = ("scan_long", "scan_folder", "scan_cold", "model_alone", "decoding_alone", "memory")


@pytest.mark.slow
@pytest.mark.xdist_group("benchmarks")
@pytest.mark.parametrize("script", SCRIPTS)
def test_it_runs(script: str, tmp_path: Path) -> None:
    numbers_file = tmp_path / "out.json"
    done = subprocess.run(
        [
            sys.executable,
            f"benchmarks/{script}.py",
            "--quick",
            "--json",
            str(tmp_path / "out.json"),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "ratio" in done.stdout
    numbers = json.loads(numbers_file.read_text(encoding="utf-8"))
    assert numbers["machine"]["cores"] >= 1
    assert all(ratio > 0 for ratio in numbers["ratios"].values())
    if script in plot.SCRIPTS:
        picture = tmp_path / "plot.svg"
        panel = plot.panel_of(script, numbers)
        assert set(panel.own) & set(panel.bars)
        plot.draw([panel], numbers["machine"], picture)
        assert picture.stat().st_size > 5_000
