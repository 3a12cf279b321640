"""The unmodified azure-ai-ml finds its way, by its environment only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.azure_loopback.conftest import BROKEN
from tests.azure_loopback.sdk import SdkError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.azure_loopback.azure import LoopbackAzure
    from tests.azure_loopback.caller import Caller
    from tests.azure_loopback.sdk import Sdk

pytestmark = pytest.mark.slow
ROWS = {"input_data": {"columns": ["image"], "index": [0, 1], "data": [["a"], ["b"]]}}


def test_a_workspace_is_made_only_after_it_was_missed(azure: LoopbackAzure, sdk: Sdk) -> None:
    with pytest.raises(SdkError) as missed:
        sdk.do(azure, "get_workspace")
    assert missed.value.status == 404
    assert sdk.do(azure, "create_workspace") == {"name": azure.workspace}
    tracking = sdk.do(azure, "get_workspace")["tracking"]
    assert tracking.startswith(f"azureml://{azure.location}.api.azureml.ms/mlflow/v")
    (submitted,) = azure.arm_deployments
    assert submitted.state == "Succeeded"
    assert submitted.parameters["applicationInsightsOption"] == "new"
    assert azure.workspaces[azure.workspace].properties["applicationInsights"]


def test_a_service_principal_signs_in_with_its_secret(azure: LoopbackAzure, sdk: Sdk) -> None:
    azure.add_workspace()
    environment = azure.environment_of_a_service_principal()
    assert sdk.do_as(environment, azure, "get_workspace")["name"] == azure.workspace
    wrong = {**environment, "AZURE_CLIENT_SECRET": "wrong"}
    with pytest.raises(SdkError, match="AADSTS7000215"):
        sdk.do_as(wrong, azure, "get_workspace")


def test_a_model_is_uploaded_once_and_registered_as_often_as_asked(
    azure: LoopbackAzure, sdk: Sdk, model: Path
) -> None:
    azure.add_workspace()
    first = sdk.do(azure, "register", name="nsfw", path=str(model), tags={"auc": "0.9"})
    second = sdk.do(azure, "register", name="nsfw", path=str(model), tags={})
    assert (first["version"], second["version"]) == ("1", "2")
    assert first["path"] == second["path"]
    assert len(azure.uploads) == 2, "two files, each once"
    sdk.do(azure, "archive", name="nsfw", version="2")
    assert sdk.do(azure, "list_models", name="nsfw") == [{"version": "1", "tags": {"auc": "0.9"}}]
    assert azure.models["nsfw"]["2"]["properties"]["isArchived"] is True


def test_a_deployment_from_upload_to_traffic(
    azure: LoopbackAzure, sdk: Sdk, caller: Caller, code: Path, model: Path
) -> None:
    sdk.do(azure, "register", name="nsfw", path=str(model), tags={})
    made = sdk.do(azure, "create_endpoint", name="nsfw-endpoint", tags={"a": "b"})
    assert made["state"] == "Succeeded"
    of = {"endpoint": "nsfw-endpoint", "model": "azureml:nsfw:1", "code": str(code)}
    for name in ("version-1", "version-2"):
        assert sdk.do(azure, "deploy", name=name, **of) == {"state": "Succeeded"}
    assert len([one for one in azure.uploads if one.blob.endswith("score.py")]) == 1
    assert sdk.do(azure, "get_endpoint", name="nsfw-endpoint")["traffic"] == {
        "version-1": 0, "version-2": 0,
    }  # fmt: skip
    key = sdk.do(azure, "get_keys", name="nsfw-endpoint")
    assert caller.score(made["uri"], key, ROWS).status_code == 404, "no traffic yet"
    probed = caller.score(made["uri"], key, ROWS, "version-2")
    assert probed.json() == [0.25, 0.25]
    assert probed.headers["azureml-model-deployment"] == "version-2"

    wanted = {"version-1": 90, "version-2": 10}
    changed = sdk.do(azure, "set_traffic", name="nsfw-endpoint", traffic=wanted)
    assert changed["traffic"] == wanted
    first = azure.sent("PUT", "/onlineEndpoints/nsfw-endpoint")[-1].response
    assert first is not None
    assert first.json["properties"]["traffic"] == {}, "the first answer shows the old traffic"
    assert caller.score(made["uri"], key, ROWS).json() == [0.25, 0.25]
    assert "the model has ['model']" in sdk.do(
        azure, "get_logs", endpoint="nsfw-endpoint", name="version-1"
    )
    with pytest.raises(SdkError, match="has traffic"):
        sdk.do(azure, "delete_deployment", endpoint="nsfw-endpoint", name="version-1")


def test_a_deployment_that_fails_says_why_in_its_log(
    azure: LoopbackAzure, sdk: Sdk, code: Path, model: Path
) -> None:
    azure.add_workspace()
    azure.add_endpoint("nsfw-endpoint")
    (code / "score.py").write_text(BROKEN, encoding="utf-8")
    sdk.do(azure, "register", name="nsfw", path=str(model), tags={})
    of = {"endpoint": "nsfw-endpoint", "name": "version-1"}
    with pytest.raises(SdkError, match="container has crashed"):
        sdk.do(azure, "deploy", model="azureml:nsfw:1", code=str(code), **of)
    assert azure.endpoints["nsfw-endpoint"].deployments["version-1"].state == "Failed"
    assert "RuntimeError: no weights here" in sdk.do(azure, "get_logs", **of)
    sdk.do(azure, "delete_deployment", **of)
    assert not azure.endpoints["nsfw-endpoint"].deployments


def test_the_sdk_sends_back_what_others_have_set(azure: LoopbackAzure, sdk: Sdk) -> None:
    azure.add_workspace()
    theirs = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/u/name"
    identity = {
        "type": "SystemAssigned,UserAssigned",
        "principalId": "p",
        "tenantId": "t",
        "userAssignedIdentities": {theirs: {"clientId": "c", "principalId": "q"}},
    }
    endpoint = azure.add_endpoint(
        "live", traffic={"one": 100}, mirror={"two": 10}, tags={"who": "them"},
        identity=identity, description="theirs", public="Disabled", properties={"a": "b"},
    )  # fmt: skip
    for name in ("one", "two", "three"):
        endpoint.add_deployment(name)
    wanted = {"one": 60, "three": 40}
    assert sdk.do(azure, "set_traffic", name="live", traffic=wanted)["traffic"] == wanted
    assert (endpoint.identity, endpoint.mirror) == (identity, {"two": 10})
    assert (endpoint.description, endpoint.public) == ("theirs", "Disabled")
    assert endpoint.tags == {"who": "them"}
    assert endpoint.properties["a"] == "b"


def test_keys_are_sent_back_by_the_sdk_when_they_should_be_new(
    azure: LoopbackAzure, sdk: Sdk
) -> None:
    azure.add_workspace()
    old = azure.add_endpoint("nsfw-endpoint").primary_key
    sdk.do(azure, "regenerate", name="nsfw-endpoint")
    (sent,) = azure.sent("POST", "/regenerateKeys")
    # The specification: "keyValue: the value the key is set to".
    assert sent.json == {"keyType": "Primary", "keyValue": old}
    assert sdk.do(azure, "get_keys", name="nsfw-endpoint") == old


def test_a_job_really_runs(azure: LoopbackAzure, sdk: Sdk, tmp_path: Path, model: Path) -> None:
    azure.add_workspace()
    azure.add_compute("cpu-cluster")
    code = tmp_path / "training"
    code.mkdir()
    (code / "train.py").write_text(
        "import os, shutil, sys\n"
        "print('trains on', sorted(os.listdir(sys.argv[1])), flush=True)\n"
        "shutil.copytree(sys.argv[1], sys.argv[2], dirs_exist_ok=True)\n",
        encoding="utf-8",
    )
    command = "python train.py ${{inputs.data}} ${{outputs.model}}"
    hold = azure.faults.hold_operation("/jobs/first$")
    more = {"code": str(code), "data": str(model)}
    sdk.do(azure, "run_job", name="first", command=command, **more)
    hold.release()
    heard = sdk.do(azure, "stream_job", name="first")
    assert azure.jobs["first"].status == "Completed"
    assert "trains on ['MLmodel', 'data']" in azure.jobs["first"].log
    assert "RunId: first" in heard
    got = sdk.do(azure, "download_output", name="first", output="model", folder=str(tmp_path / "o"))
    assert got == ["named-outputs/model/MLmodel", "named-outputs/model/data/weights"]
    path = "azureml://jobs/first/outputs/model"
    assert sdk.do(azure, "register", name="nsfw", path=path, tags={})["version"] == "1"

    sdk.do(azure, "run_job", name="second", command="echo no data; exit 3", **more)
    with pytest.raises(SdkError, match="status code 3"):
        sdk.do(azure, "stream_job", name="second")


def test_runs_are_tracked_and_logged_models_are_not_known(azure: LoopbackAzure, sdk: Sdk) -> None:
    azure.add_workspace()
    assert sdk.do(azure, "track") == [[{"epochs": "3"}, {"auc": 0.9}, "FINISHED"]]
    with pytest.raises(SdkError, match="404"):
        sdk.do(azure, "log_model")
    assert azure.sent("POST", "/logged-models")[0].status == 404
