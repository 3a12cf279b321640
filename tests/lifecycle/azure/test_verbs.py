"""The life cycle on Azure as a user types it: processes, streams, exit codes, a loopback Azure."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.kubernetes import read_manifests
from tests.lifecycle.azure.conftest import ENDPOINT, MODEL, Harness

if TYPE_CHECKING:
    from pathlib import Path

    from tests.azure_loopback.azure import LoopbackAzure

pytestmark = pytest.mark.slow


def test_from_the_first_deploy_to_the_second_rollback(registered: Harness) -> None:
    first = registered.document("deploy", MODEL, "--version", "1", schema="release")
    assert [row["role"] for row in first["after"]] == ["champion"]
    uploads = len(registered.azure.uploads)
    registered.type("deploy", MODEL, "--version", "2", "--why", "fewer false alarms")
    assert registered.seen() == {"version-1": ("champion", 90), "version-2": ("challenger", 10)}
    assert len(registered.azure.uploads) == uploads, "the same bytes were sent again"
    shown = registered.document("endpoints", "--check", schema="endpoints")
    endpoint, other = shown["endpoints"]
    assert endpoint["check"]["ok"]
    assert [one["check"]["ok"] for one in endpoint["deployments"]] == [True, True]
    assert (other["model"], other["state"]) == ("violence-detector", "not deployed")
    registered.type("deploy", MODEL, "--version", "2", "--promote", "--why", "better")
    assert registered.seen() == {"version-1": ("previous", 0), "version-2": ("champion", 100)}
    registered.type("rollback", MODEL, "--why", "missed a case")
    registered.type("rollback", MODEL)
    assert registered.seen() == {"version-1": ("previous", 0), "version-2": ("champion", 100)}
    told = registered.document("rollback", MODEL, "--history", schema="history")["changes"]
    assert [(one["action"], one["from"], one["to"], one["why"]) for one in told] == [
        ("rollback", "1", "2", None),
        ("rollback", "2", "1", "missed a case"),
        ("promote", "1", "2", "better"),
        ("deploy", "1", "2", "fewer false alarms"),
        ("deploy", None, "1", None),
    ]
    registered.type("deploy", MODEL, "--version", "9", code=2)


def test_what_guardian_did_not_make_survives(deployed: Harness) -> None:
    endpoint = deployed.endpoint
    endpoint.identity = {
        "type": "SystemAssigned,UserAssigned",
        "userAssignedIdentities": {"/subscriptions/s/resourceGroups/g/x/mine": {}},
    }
    endpoint.tags["cost-center"] = "42"
    endpoint.properties["team"] = "trust"
    endpoint.description = "hand-made"
    endpoint.public = "Disabled"
    endpoint.add_deployment("blue", tags={"owner": "ann"})
    endpoint.add_deployment("mirror")
    endpoint.traffic = {"version-1": 70, "blue": 30}
    endpoint.mirror = {"mirror": 20}
    run = deployed.type("deploy", MODEL, "--version", "2")
    assert "not made by guardian, kept as they are: blue 30%" in run.err
    assert endpoint.traffic == {"version-1": 60, "version-2": 10, "blue": 30}
    deployed.type("deploy", MODEL, "--version", "2", "--promote", "--prune")
    deployed.type("rollback", MODEL)
    assert endpoint.traffic == {"version-1": 70, "blue": 30}
    assert endpoint.tags["cost-center"] == "42"
    assert endpoint.properties["team"] == "trust"
    assert (endpoint.description, endpoint.public) == ("hand-made", "Disabled")
    assert endpoint.mirror == {"mirror": 20}
    assert set(endpoint.identity["userAssignedIdentities"]) == {
        "/subscriptions/s/resourceGroups/g/x/mine"
    }
    assert endpoint.deployments["blue"].tags == {"owner": "ann"}


def test_a_deployment_has_what_was_asked_for(deployed: Harness) -> None:
    deployed.type(
        "deploy", MODEL, "--version", "2", "--instance-type", "Standard_F4s_v2",
        "--instance-count", "2", "--request-timeout", "90",
    )  # fmt: skip
    made = deployed.endpoint.deployments["version-2"]
    assert (made.instance_type, made.capacity) == ("Standard_F4s_v2", 2)
    assert made.rest["requestSettings"]["requestTimeout"] == "PT1M30S"
    assert made.tags == {"guardian.model": MODEL, "guardian.version": "2"}
    deployed.type("deploy", MODEL, "--request-timeout", "500", code=2)


def test_a_dry_run_changes_nothing(deployed: Harness) -> None:
    before = deployed.seen()
    for command in (
        ("deploy", MODEL, "--version", "2"),
        ("deploy", MODEL, "--version", "2", "--promote", "--prune"),
        ("endpoints", "--write-env"),
        ("setup",),
    ):
        run = deployed.type(*command, "--dry-run")
        assert run.out
    assert deployed.seen() == before
    assert not [one for one in deployed.azure.requests if one.method in {"PUT", "DELETE", "PATCH"}
                and "/models/" not in one.path and ".blob." not in one.host]  # fmt: skip
    assert not (deployed.folder / ".env").exists()


def test_addresses_and_keys_are_handed_out_and_a_scan_takes_them(deployed: Harness) -> None:
    (deployed.folder / ".env").write_text("OTHER=1\n")
    deployed.type("endpoints", "--write-env", "--write-configmap", "guardian.k8s.yaml")
    endpoint = deployed.endpoint
    path = deployed.folder / ".env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = path.read_text().splitlines()
    assert lines[0] == "OTHER=1"
    assert f"NSFW_MODEL_ENDPOINT={endpoint.scoring_uri}" in lines
    assert f"NSFW_MODEL_ENDPOINT_KEY={endpoint.primary_key}" in lines
    written = deployed.folder / "guardian.k8s.yaml"
    config, secret = read_manifests(written)
    assert config["data"] == {"NSFW_MODEL_ENDPOINT": endpoint.scoring_uri}
    assert secret["stringData"]["NSFW_MODEL_ENDPOINT_KEY"] == endpoint.primary_key
    draw_picture(deployed.folder / "picture.png")
    (deployed.folder / "guardian.yaml").write_text("scan: {detectors: [endpoint]}\n")
    run = deployed.scan("picture.png", "--json", "--frames", "--fail-on", "never")
    [scan] = json.loads(run.out)["scans"]
    assert scan["frames"][0]["scores"]["nsfw"]["custom"] == 0.5
    old = endpoint.primary_key
    deployed.type("endpoints", "--rotate-key", MODEL, "--write-env")
    assert endpoint.primary_key != old
    assert old not in path.read_text()
    assert endpoint.primary_key in path.read_text()
    for option in ("--stop", "--start"):
        assert "neither stopped nor started" in deployed.type("endpoints", option, code=2).err


def draw_picture(path: Path, level: int = 90) -> None:
    from PIL import Image

    chance = Image.effect_noise((64, 48), 60)
    Image.merge("RGB", (chance, Image.new("L", (64, 48), level), chance)).save(path)


def test_a_name_that_is_taken_and_one_that_is_too_long(registered: Harness) -> None:
    registered.azure.taken_names.add(ENDPOINT)
    run = registered.type("deploy", MODEL, "--version", "1", code=4)
    assert f"models.{MODEL}.endpoint_name" in run.err
    settings = registered.folder / "guardian.yaml"
    settings.write_text(f"models: {{{MODEL}: {{category: nsfw, endpoint_name: {'x' * 33}}}}}\n")
    registered.type("deploy", MODEL, code=2)
    settings.write_text(f"models: {{{MODEL}: {{category: nsfw, endpoint_name: ours}}}}\n")
    registered.type("deploy", MODEL, "--version", "1")
    assert registered.azure.endpoints["ours"].traffic == {"version-1": 100}


def test_no_sign_in_and_no_network_are_told_in_a_line(deployed: Harness) -> None:
    run = deployed.type(
        "endpoints", code=4, IDENTITY_HEADER="wrong", AZURE_TOKEN_CREDENTIALS="prod"
    )
    assert "could not sign in to Azure" in run.err
    [line] = [one for one in run.err.splitlines() if one.startswith("error: ")]
    assert len(line) < 200
    assert "az login" in run.err
    run = deployed.type(
        "endpoints", code=4, HTTPS_PROXY="http://127.0.0.1:9", https_proxy="http://127.0.0.1:9"
    )
    assert "hint: " in run.err
    run = deployed.type("endpoints", code=2, AZURE_ML_WORKSPACE="")
    assert "azure.workspace" in run.err
    assert "AZURE_ML_WORKSPACE" in run.err


def test_setup_makes_a_workspace_once(azure: LoopbackAzure, tmp_path: Path) -> None:
    harness = Harness(tmp_path, azure)
    azure.cloud.providers["microsoft.insights"] = "NotRegistered"
    harness.type("setup", "--check", code=4)
    assert not azure.arm_deployments
    told = harness.document("setup", schema="setup")
    assert told["created"] == [
        "workspace guardian-workspace (eastus2)",
        "provider Microsoft.Insights (not registered)",
    ]
    assert told["monthly_cost_usd"] > 0
    assert azure.cloud.providers["microsoft.insights"] == "Registered"
    again = harness.document("setup", "--write-config", schema="setup")
    assert (again["created"], len(azure.arm_deployments)) == ([], 1)
    written = yaml.safe_load((tmp_path / "guardian.yaml").read_text())
    assert written["target"] == "azure"
    assert written["azure"]["workspace"] == azure.workspace
    harness.type("setup", "--check")


@pytest.mark.parametrize("status", [401, 403, 500])
def test_an_error_on_the_workspace_creates_nothing(
    azure: LoopbackAzure, tmp_path: Path, status: int
) -> None:
    azure.faults.add("GET", r"/workspaces/guardian-workspace$", status=status, times=None)
    run = Harness(tmp_path, azure).type("setup", code=4)
    assert str(status) in run.err
    assert not [one for one in azure.requests if one.method in {"PUT", "PATCH", "POST"}]


def test_setup_without_application_insights(azure: LoopbackAzure, tmp_path: Path) -> None:
    harness = Harness(tmp_path, azure)
    harness.type("setup", "--app-insights", "some", code=2)
    harness.type("setup", "--app-insights", "none")
    [made] = azure.arm_deployments
    kinds = [one["type"] for one in made.template["resources"]]
    assert "Microsoft.MachineLearningServices/workspaces" in kinds
    assert "Microsoft.Insights/components" not in kinds
    harness.type("setup", "--check")


def test_setup_warns_of_permissions_and_needs_the_resource_group(
    azure: LoopbackAzure, tmp_path: Path
) -> None:
    harness = Harness(tmp_path, azure)
    azure.permissions[:] = [{"actions": ["*/read"], "notActions": []}]
    run = harness.type("setup", "--dry-run")
    assert "permissions are missing: " in run.err
    azure.cloud.groups.clear()
    run = harness.type("setup", code=4)
    assert "resource group guardian-group is not there" in run.err
    assert not azure.arm_deployments


def test_a_training_on_a_cluster_is_registered_once(harness: Harness) -> None:
    harness.azure.add_compute("cpu")
    draw_classes(harness.folder / "data")
    (harness.folder / "data" / ".env").write_text("SECRET=1")
    options = ("--compute", "cpu", "--data", "data", "--backbone", "tiny", "--epochs", "1")
    other = ("--compute", "other", *options[2:])
    assert "no cluster other" in harness.type("train", MODEL, *other, code=4).err
    document = harness.document("train", MODEL, *options, schema="train")
    assert document["version"] == "1"
    assert document["data"]["n"] == 16
    tags = harness.azure.models[MODEL]["1"]["properties"]["tags"]
    assert float(tags["auc"]) == pytest.approx(document["metrics"]["auc"], rel=1e-3)
    [job] = harness.azure.jobs
    assert tags["guardian.training"] == job
    assert not [one for one in harness.azure.uploads if ".env" in one.blob]


def draw_classes(folder: Path) -> None:
    """Dark pictures and light ones."""
    for number in range(16):
        name = "nsfw" if number % 2 else "fine"
        (folder / name).mkdir(parents=True, exist_ok=True)
        draw_picture(folder / name / f"{number}.png", level=80 + 100 * (number % 2) + 3 * number)


def test_what_cannot_be_looked_up_is_said_and_stops_nothing(
    azure: LoopbackAzure, tmp_path: Path
) -> None:
    """Neither prices nor quotas, neither providers nor permissions, nor the resource group."""
    path = r"/(vmSizes|usages|permissions)$|/providers/Microsoft\.\w+$|guardian-group$"
    azure.faults.add("GET", rf"management\.azure\.com/.*({path})", status=403, times=None)
    harness = Harness(tmp_path, azure)
    (tmp_path / "guardian.yaml").write_text(f"azure: {{location: {azure.location}}}\n")
    document = harness.document("setup", schema="setup")
    assert document["created"] == ["workspace guardian-workspace (eastus2)"]
    assert document["monthly_cost_usd"] > 0
    assert harness.last is not None
    assert "your permissions could not be looked up" in harness.last.err
    assert "instance types could not be looked up" in harness.last.err
