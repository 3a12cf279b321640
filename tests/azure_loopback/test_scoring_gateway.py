"""The scoring URI: keys, the split of traffic, and what a model's own troubles become."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.azure_loopback.azure import LoopbackAzure
    from tests.azure_loopback.caller import Caller

ROWS = {"input_data": {"columns": ["image"], "index": [0], "data": [["a"]]}}


def test_a_key_opens_and_another_does_not(azure: LoopbackAzure, caller: Caller) -> None:
    endpoint = azure.add_endpoint("live", traffic={"one": 100})
    endpoint.add_deployment("one")
    for key in (endpoint.primary_key, endpoint.secondary_key):
        scored = caller.score(endpoint.scoring_uri, key, ROWS)
        assert (scored.status_code, scored.json()) == (200, [0.5])
        assert scored.headers["azureml-model-deployment"] == "one"
    assert caller.score(endpoint.scoring_uri, "wrong", ROWS).status_code == 401
    assert caller.send("POST", endpoint.scoring_uri, json=ROWS).status_code == 401
    assert endpoint.deployments["one"].requests == 2


def test_traffic_is_split_and_the_header_picks(azure: LoopbackAzure, caller: Caller) -> None:
    endpoint = azure.add_endpoint("live", traffic={"one": 90, "two": 10})
    for name in ("one", "two", "three"):
        endpoint.add_deployment(name)
    key, uri = endpoint.primary_key, endpoint.scoring_uri
    served = [caller.score(uri, key, ROWS).headers["azureml-model-deployment"] for _ in range(100)]
    assert Counter(served) == {"one": 90, "two": 10}
    picked = caller.score(uri, key, ROWS, "three")
    assert picked.headers["azureml-model-deployment"] == "three"
    assert caller.score(uri, key, ROWS, "four").status_code == 404
    endpoint.deployments["three"].state = "Failed"
    assert caller.score(uri, key, ROWS, "three").status_code == 404
    endpoint.traffic = {}
    assert caller.score(uri, key, ROWS).status_code == 404
    assert caller.score(uri.replace("live", "gone"), key, ROWS).status_code == 404


def test_uploaded_code_runs_on_the_uploaded_model(
    azure: LoopbackAzure, caller: Caller, code: Path, model: Path
) -> None:
    endpoint = azure.add_endpoint("live", traffic={"one": 100})
    made = azure.add_deployment("live", "one", code=code, model=azure.add_model("nsfw", model))
    assert made.state == "Succeeded"
    scored = caller.score(endpoint.scoring_uri, endpoint.primary_key, ROWS)
    assert scored.json() == [0.25]
    assert scored.headers["x-ms-run-function-failed"] == "False"
    assert "the model has ['model']" in made.read_log()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("raise ValueError('no')", "500"),
        ("return AMLResponse({'message': 'bad'}, 400, json_str=True)", "400"),
    ],
)
def test_a_model_that_does_not_answer_200_is_424(
    azure: LoopbackAzure, caller: Caller, code: Path, model: Path, body: str, status: str
) -> None:
    (code / "score.py").write_text(
        "from azureml_inference_server_http.api.aml_response import AMLResponse\n"
        f"def init(): pass\ndef run(raw):\n    {body}\n",
        encoding="utf-8",
    )
    endpoint = azure.add_endpoint("live", traffic={"one": 100})
    azure.add_deployment("live", "one", code=code, model=azure.add_model("nsfw", model))
    scored = caller.score(endpoint.scoring_uri, endpoint.primary_key, ROWS)
    assert scored.status_code == 424
    assert scored.headers["ms-azureml-model-error-statuscode"] == status
    assert scored.headers["azureml-model-deployment"] == "one"


def test_a_model_that_takes_too_long_is_408_and_one_that_died_is_502(
    azure: LoopbackAzure, caller: Caller, code: Path, model: Path
) -> None:
    (code / "score.py").write_text(
        "import os, threading\ndef init(): pass\ndef run(raw):\n"
        "    os._exit(1) if 'die' in raw else threading.Event().wait(30)\n",
        encoding="utf-8",
    )
    endpoint = azure.add_endpoint("live", traffic={"one": 100})
    limits = {"requestSettings": {"requestTimeout": "PT0.2S"}}
    path = azure.add_model("nsfw", model)
    azure.add_deployment("live", "one", code=code, model=path, **limits)
    assert caller.score(endpoint.scoring_uri, endpoint.primary_key, ROWS).status_code == 408
    azure.add_deployment("live", "one", code=code, model=path)
    died = caller.score(endpoint.scoring_uri, endpoint.primary_key, {"die": 1})
    assert died.status_code == 502


def test_a_model_that_was_not_uploaded_cannot_be_mounted(
    azure: LoopbackAzure, caller: Caller, code: Path, model: Path
) -> None:
    azure.add_endpoint("live")
    path = azure.add_model("nsfw", model).replace("/versions/1", "/versions/9")
    made = azure.add_deployment("live", "one", code=code, model=path)
    assert made.state == "Failed"
    logs = f"{caller.ws}/onlineEndpoints/live/deployments/one/getLogs"
    body = {"containerType": "StorageInitializer", "tail": 10}
    assert "/versions/9" in caller.arm("POST", logs, body).json()["content"]
