"""From a registered model to a verdict: the real inference server behind the scoring gateway."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import cv2
import pytest

from tests.azure_loopback.azure import LoopbackAzure
from tests.azure_loopback.inference_server import InferenceServerHosting
from tests.guardian_process import guardian, tiny_options, write_settings
from tests.lifecycle.azure.conftest import ENDPOINT, MODEL, Harness
from tests.serving.models import write_constant_model
from tests.tiny_clip import draw_frame

if TYPE_CHECKING:
    from pathlib import Path

    from tests.tiny_clip import TinyClip

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tiny-clip")]
# The logit of the constant model, and the score that it stands for.
LOGIT, SCORE = 1.0, 0.7311


def test_a_scan_fuses_the_score_of_a_deployed_version(
    tmp_path: Path, inference_python: Path, tiny_clip: TinyClip
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    with LoopbackAzure(tmp_path, hosting=InferenceServerHosting(inference_python)) as azure:
        azure.add_workspace()
        azure.add_model(MODEL, write_constant_model(tmp_path / "model", LOGIT))
        harness = Harness(project, azure)
        released = harness.document("deploy", MODEL, schema="release")
        assert [row["traffic"] for row in released["after"]] == [100]
        log = azure.endpoints[ENDPOINT].deployments["version-1"].read_log()
        assert f"loaded {MODEL}" in log
        assert "AzureML Inference Server" in log or "azureml_inference_server_http" in log
        harness.type("endpoints", "--check", "--write-env")
        write_settings(project, tiny_clip)
        cv2.imwrite(str(project / "picture.png"), draw_frame(("red", "star")))
        way = {k: v for k, v in azure.environment().items() if not k.startswith("AZURE_")}
        options = [*tiny_options(tiny_clip), "--frames", "--json", "--fail-on", "never"]
        run = guardian("scan", "picture.png", *options, folder=project, **way)
        assert run.code == 0, run.err
        scores = json.loads(run.out)["scans"][0]["frames"][0]["scores"]["nsfw"]
    assert scores["custom"] == pytest.approx(SCORE, abs=1e-3)
    assert scores["clip"] is not None
    assert scores["fused"] == pytest.approx(0.7 * scores["custom"] + 0.3 * scores["clip"], abs=1e-5)
