"""The scoring script under Azure's own inference server, in an environment of its own."""

from __future__ import annotations

import base64
import http.client
import json
from typing import TYPE_CHECKING, Any

import pytest

from guardian_cli.serving.packaging import write_scoring_folder
from tests.azure_loopback.inference_server import InferenceServerHosting
from tests.azure_loopback.runners import Container
from tests.serving.models import draw_jpeg, save_constant_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("inference-server")]


@pytest.fixture(params=[0.0])
def port(request: pytest.FixtureRequest, tmp_path: Path, inference_python: Path) -> Iterator[int]:
    """The port of a server with a model whose logit is the parameter."""
    mounted = tmp_path / "mounted"
    save_constant_model(mounted / "1" / "model", request.param)
    script = write_scoring_folder(tmp_path / "code")
    container = Container(script, mounted, tmp_path / "log", {"AZUREML_MODEL_DIR": str(mounted)})
    runner = InferenceServerHosting(inference_python).start(container)
    yield runner.port
    runner.stop()


def call(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method, path, body=data, headers={"Content-Type": "application/json"})
    response = connection.getresponse()
    text = response.read()
    headers = {name.lower(): value for name, value in response.getheaders()}
    connection.close()
    is_json = headers.get("content-type", "").startswith("application/json")
    return response.status, json.loads(text) if is_json else text, headers


def frames(*pictures: bytes) -> dict[str, Any]:
    rows = [[base64.b64encode(one).decode()] for one in pictures]
    return {"input_data": {"columns": ["image"], "index": [*range(len(rows))], "data": rows}}


def test_frames_are_scored_and_bad_requests_are_400(port: int) -> None:
    status, scores, _ = call(port, "POST", "/score", frames(draw_jpeg(0), draw_jpeg(255)))
    assert (status, scores) == (200, pytest.approx([0.5, 0.5]))
    for bad in (b"not json", {"wrong": 1}, frames(b"no jpeg")):
        status, answer, headers = call(port, "POST", "/score", bad)
        assert status == 400
        assert answer["message"]
        assert headers["x-ms-run-function-failed"] == "False"
    assert call(port, "POST", "/score", frames())[:2] == (200, [])
    assert call(port, "POST", "/score", frames(draw_jpeg()))[0] == 200


@pytest.mark.parametrize("port", [float("nan")], indirect=True)
def test_a_model_that_fails_is_500_and_says_so_without_a_traceback(port: int) -> None:
    status, answer, headers = call(port, "POST", "/score", frames(draw_jpeg()))
    assert status == 500
    assert answer == {"message": "the model failed: ModelFaultError"}
    assert headers["x-ms-run-function-failed"] == "True"
    assert call(port, "GET", "/")[0] == 200
