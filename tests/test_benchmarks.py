"""Every benchmark of the scan runs, at its quick size, and writes its numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from benchmarks import plot
from benchmarks.measuring import DECODING, MAIN, Usage, busy_line, stage_of

from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

DECODER = "python\0-P\0-m\0guardian_cli.media.worker.main\0"
# They start whole scans over and over; the others use the same parts, and show that those work.
ASKED_FOR = pytest.mark.skipif(
    "GUARDIAN_BENCHMARKS" not in os.environ, reason="takes long: GUARDIAN_BENCHMARKS=1 runs it"
)
SCRIPTS = (
    pytest.param("scan_long", marks=ASKED_FOR),
    pytest.param("scan_folder", marks=ASKED_FOR),
    pytest.param("scan_cold", marks=ASKED_FOR),
    "model_alone",
    "decoding_alone",
    pytest.param("memory", marks=ASKED_FOR),
    "categories",
    "replay",
    pytest.param("trained_head", marks=ASKED_FOR),
    pytest.param("cluster", marks=ASKED_FOR),
)


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


@pytest.mark.parametrize(
    ("command", "before", "stage"),
    [
        (DECODER, MAIN, DECODING),
        ("python\0-m\0guardian_cli\0scan\0", MAIN, MAIN),
        ("", DECODING, DECODING),
        ("", MAIN, MAIN),
    ],
    ids=[
        "a decoder, just after its exec",
        "the scan",
        "a decoder that has ended",
        "a scan that has",
    ],
)
def test_a_process_belongs_to_a_stage_to_its_very_end(
    command: str, before: str, stage: str
) -> None:
    assert stage_of(command, before) == stage


def test_stages_are_told_in_cores_out_of_all() -> None:
    line = busy_line(Usage(wall_s=10.0, cpu_s={MAIN: 15.0, DECODING: 2.5}))
    assert "decoding 0.25, model and main process 1.50; 1.75 of " in line


@pytest.mark.xdist_group("benchmarks")
def test_one_worker_has_a_whole_group(request: pytest.FixtureRequest) -> None:
    """What a group shares is made once; pytest and xdist have lost groups without a word."""
    is_grouped = "PYTEST_XDIST_WORKER" in os.environ and request.config.getoption("loadgroup")
    assert request.node.nodeid.endswith("@benchmarks") == bool(is_grouped)
