"""`python -m guardian_cli.training.run.job`: from a request to a model and a report."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from guardian_cli.serving.model import load_model
from guardian_cli.training.evaluation.report import TrainReport
from guardian_cli.training.run.train import TrainRequest
from tests.guardian_process import environment

if TYPE_CHECKING:
    from pathlib import Path


def job(folder: Path, request: object, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the job's command in a folder, as a cluster does."""
    (folder / "request.json").write_text(json.dumps(request))
    return subprocess.run(
        [sys.executable, "-m", "guardian_cli.training.run.job", "request.json",
         "--model", "out/model", "--report", "out/report", *more],
        cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=240,
        check=False,
    )  # fmt: skip


def request(**more: object) -> dict[str, object]:
    wanted = dataclasses.asdict(
        TrainRequest("nsfw-detector", "nsfw", None, None, "tiny", epochs=1, seed=0)
    )
    del wanted["data"]
    return {**wanted, **more}


@pytest.mark.slow
def test_a_job_puts_model_report_and_tags_into_its_outputs(tmp_path: Path) -> None:
    done = job(tmp_path, request())
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    out = tmp_path / "out"
    report = TrainReport(**json.loads((out / "report" / "report.json").read_text()))
    tags = json.loads((out / "report" / "tags.json").read_text())
    assert tags["data"] == "simulated"
    assert float(tags["auc"]) == pytest.approx(report.metrics["auc"], abs=1e-3)
    assert (out / "model" / "MLmodel").is_file()
    assert load_model(out / "model") is not None
    refused = job(tmp_path, request(), "--data", "nowhere")
    assert refused.returncode == 2, refused.stderr
    assert "nowhere" in refused.stderr
    assert "hint" in refused.stderr
