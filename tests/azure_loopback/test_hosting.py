"""guardian's own scoring code behind the scoring gateway, in both kinds of containers."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from guardian_cli.serving.packaging import write_scoring_folder
from tests.azure_loopback.azure import LoopbackAzure
from tests.azure_loopback.caller import Caller
from tests.azure_loopback.inference_server import InferenceServerHosting
from tests.serving.models import draw_jpeg, write_constant_model

if TYPE_CHECKING:
    from pathlib import Path

# One worker installs the inference server, and no other waits for it.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("inference-server")]


def frames(*pictures: bytes) -> dict[str, Any]:
    rows = [[base64.b64encode(one).decode()] for one in pictures]
    return {"input_data": {"columns": ["image"], "index": [*range(len(rows))], "data": rows}}


@pytest.fixture(params=["light", "real"])
def hosted(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """An Azure whose deployments run in our fork, or in Azure's own inference server."""
    if request.param == "light":
        return LoopbackAzure(tmp_path / "azure")
    python = request.getfixturevalue("inference_python")
    return LoopbackAzure(tmp_path / "azure", hosting=InferenceServerHosting(python))


def test_guardians_own_code_scores(hosted: LoopbackAzure, tmp_path: Path) -> None:
    write_scoring_folder(tmp_path / "code")
    model = write_constant_model(tmp_path / "model")
    with hosted as azure:
        azure.add_workspace()
        endpoint = azure.add_endpoint("live", traffic={"one": 100})
        path = azure.add_model("nsfw-detector", model)
        made = azure.add_deployment("live", "one", code=tmp_path / "code", model=path)
        assert made.state == "Succeeded", made.read_log()
        with Caller(azure) as caller:
            key = endpoint.primary_key
            scored = caller.score(endpoint.scoring_uri, key, frames(draw_jpeg(0), draw_jpeg(255)))
            assert (scored.status_code, scored.json()) == (200, pytest.approx([0.5, 0.5]))
            bad = caller.score(endpoint.scoring_uri, key, {"wrong": 1})
            assert bad.status_code == 424
            assert bad.headers["ms-azureml-model-error-statuscode"] == "400"
            assert bad.json()["message"]
        assert "loaded nsfw-detector" in made.read_log()


def test_code_that_cannot_start_ends_failed_with_its_log(
    hosted: LoopbackAzure, tmp_path: Path
) -> None:
    write_scoring_folder(tmp_path / "code")
    model = write_constant_model(tmp_path / "model")
    for weights in model.rglob("*.safetensors"):
        weights.write_bytes(b"no weights")
    with hosted as azure:
        azure.add_workspace()
        azure.add_endpoint("live")
        path = azure.add_model("nsfw-detector", model)
        made = azure.add_deployment("live", "one", code=tmp_path / "code", model=path)
        assert made.state == "Failed"
        assert "Traceback" in made.read_log()
