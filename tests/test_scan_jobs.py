"""The examples for Kubernetes and Azure ML: valid where they go, and what their shards do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from guardian_cli.lifecycle.azure.client import quiet_sdk
from tests.conftest import REPOSITORY
from tests.guardian_process import environment, guardian
from tests.kubernetes import read_manifests
from tests.scoring_server import ScoringServer

KUBERNETES = REPOSITORY / "examples" / "kubernetes" / "scan-job.yaml"
AZURE = REPOSITORY / "examples" / "azure" / "scan-job.yml"
SHARDS = 2


def kubernetes_script() -> tuple[str, dict[str, str]]:
    """The script of the pod, and the environment that the manifest sets."""
    (job,) = read_manifests(KUBERNETES)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    shell, option, script = container["command"]
    assert (shell, option) == ("/bin/sh", "-c")
    return script, {one["name"]: one["value"] for one in container["env"]}


def azure_job() -> Any:
    """The job as Azure's own loader reads it, which checks it against the schema of its CLI."""
    with quiet_sdk():
        from azure.ai.ml import load_job

        return load_job(AZURE)


def run(script: str, folder: Path, **variables: str) -> int:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        cwd=folder,
        env=environment(folder, PATH=path, **variables),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == b""
    return done.returncode


def test_the_job_is_valid_and_knows_which_exit_codes_are_final() -> None:
    (job,) = read_manifests(KUBERNETES)
    _, variables = kubernetes_script()
    assert variables["SHARDS"] == str(job["spec"]["completions"])
    exits, disruption = job["spec"]["podFailurePolicy"]["rules"]
    assert (exits["action"], exits["onExitCodes"]["values"]) == ("FailJob", [2, 5])
    assert disruption["action"] == "Ignore"
    # Kubernetes refuses a policy with anything else.
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["kubernetes", "azure"])
def test_the_shards_of_a_job_are_one_batch(tmp_path: Path, platform: str) -> None:
    uploads, results = tmp_path / "uploads", tmp_path / "results"
    uploads.mkdir()
    results.mkdir()
    (uploads / "broken.mp4").write_bytes(b"no video")
    for level in (0, 128, 255):
        cv2.imwrite(str(uploads / f"{level}.png"), np.full((48, 64, 3), level, np.uint8))
    if platform == "kubernetes":
        script, variables = kubernetes_script()
        variables |= {"SHARDS": str(SHARDS), "UPLOADS": str(uploads), "RESULTS": str(results)}
        shards = [{**variables, "JOB_COMPLETION_INDEX": str(at)} for at in range(SHARDS)]
    else:
        job = azure_job()
        assert job.resources["instance_count"] > 1
        script = job.command.replace("${{inputs.uploads}}", str(uploads))
        script = script.replace("${{outputs.parts}}", str(results))
        assert "${{" not in script
        shards = [{"RANK": str(at), "WORLD_SIZE": str(SHARDS)} for at in range(SHARDS)]
    with ScoringServer(lambda image: float(image.mean()) / 255) as server:
        settings = {
            "scan": {"detectors": ["endpoint"]},
            "categories": {"nsfw": {"endpoint": server.uri}, "violence": False},
        }
        (tmp_path / "guardian.yaml").write_text(json.dumps(settings), encoding="utf-8")
        for shard in shards:
            assert run(script, tmp_path, **shard) == 0
    merged = guardian("merge", "results", "--json", folder=tmp_path)
    assert merged.code == 11
    assert "missing" not in merged.document
    verdicts = {Path(scan["source"]).name: scan["verdict"] for scan in merged.document["scans"]}
    expected = {"0.png": "allow", "128.png": "review", "255.png": "block", "broken.mp4": "error"}
    assert verdicts == expected
    (tmp_path / "guardian.yaml").write_text("scan: {evry: 1}\n", encoding="utf-8")
    assert run(script, tmp_path, **shards[0]) == 2
