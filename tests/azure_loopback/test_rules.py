"""The rules that bite, without an SDK."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.azure_loopback.caller import OLD_VERSION, Caller

if TYPE_CHECKING:
    from pathlib import Path

    import requests

    from tests.azure_loopback.azure import LoopbackAzure


@pytest.fixture
def live(azure: LoopbackAzure, caller: Caller) -> Caller:
    """An endpoint `live` with the deployments one and two, all traffic on one."""
    endpoint = azure.add_endpoint("live", traffic={"one": 100}, tags={"who": "them"})
    endpoint.add_deployment("one")
    endpoint.add_deployment("two")
    return caller


def code_of(answer: requests.Response) -> str:
    return str(answer.json()["error"]["code"])


def inner_message(answer: requests.Response) -> Any:
    """What the service behind ARM said: JSON in the text of a detail."""
    (detail,) = answer.json()["error"]["details"]
    text = detail["message"].partition("error detail: ")[2] or detail["message"]
    return json.loads(text)


def test_only_who_has_a_token_is_served(azure: LoopbackAzure, caller: Caller) -> None:
    address = f"https://management.azure.com{caller.ws}"
    version = {"api-version": "2024-10-01-preview"}
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        refused = caller.send("GET", address, params=version, headers=headers)
        assert (refused.status_code, code_of(refused)) == (401, "InvalidAuthenticationToken")
    token = caller.send("GET", azure.environment()["IDENTITY_ENDPOINT"])
    assert token.status_code == 401, "no identity header"
    assert caller.arm("GET", caller.ws, None, "2024-10-01-preview").status_code == 200


def test_what_is_not_there_is_said_to_be_not_there(azure: LoopbackAzure, caller: Caller) -> None:
    other = caller.group.replace(azure.resource_group, "other")
    gone = caller.arm("GET", caller.ws.replace(azure.workspace, "other"), None, "2023-04-01")
    assert code_of(gone) == "ResourceNotFound"
    assert code_of(caller.arm("GET", other, None, "2020-06-01")) == "ResourceGroupNotFound"
    assert caller.arm("HEAD", caller.group, None, "2020-06-01").status_code == 204
    compute = caller.arm("GET", f"{caller.ws}/computes/cpu", None, "2023-04-01")
    assert compute.status_code == 404
    azure.add_compute("cpu")
    compute = caller.arm("GET", f"{caller.ws}/computes/cpu", None, "2023-04-01")
    assert compute.json()["properties"]["properties"]["vmSize"] == "Standard_DS3_v2"


def test_providers_permissions_and_prices_can_be_looked_up(
    azure: LoopbackAzure, caller: Caller
) -> None:
    azure.cloud.providers["microsoft.insights"] = "NotRegistered"
    path = f"/subscriptions/{azure.subscription_id}/providers/Microsoft.Insights"
    for method, tail, state in (
        ("GET", "", "NotRegistered"),
        ("POST", "/register", "Registering"),
        ("GET", "", "Registered"),
    ):
        answer = caller.arm(method, path + tail, None, "2020-06-01")
        assert answer.json()["registrationState"] == state
    permissions = f"{caller.group}/providers/Microsoft.Authorization/permissions"
    assert caller.arm("GET", permissions, None, "2022-04-01").json()["value"] == azure.permissions
    sizes = caller.arm("GET", f"{caller.place}/vmSizes", None, "2023-04-01").json()["value"]
    (size,) = [one for one in sizes if one["name"] == "Standard_DS3_v2"]
    assert size["estimatedVMPrices"]["values"][0]["retailPrice"] == 0.293


@pytest.mark.parametrize("name", ["ab", "1ab", "a" * 33, "a_b", "ab-"])
def test_a_bad_name_is_refused(caller: Caller, name: str) -> None:
    assert caller.put_endpoint(name).status_code == 400


def test_a_name_that_somebody_else_has_is_refused(azure: LoopbackAzure, caller: Caller) -> None:
    azure.taken_names.add("nsfw-endpoint")
    refused = caller.put_endpoint("nsfw-endpoint")
    assert refused.status_code == 400
    assert "unique within a region" in inner_message(refused)["errors"][""][0]
    assert not azure.endpoints


def test_tags_have_limits(azure: LoopbackAzure, caller: Caller) -> None:
    fits = {f"tag-{number}": "v" * 256 for number in range(50)}
    assert caller.put_endpoint("fits", tags=fits).status_code == 201
    assert caller.put_endpoint("many", tags={**fits, "one": "more"}).status_code == 400
    assert caller.put_endpoint("long", tags={"a": "v" * 257}).status_code == 400
    assert caller.put_endpoint("odd", tags={"a/b": "v"}).status_code == 400
    assert [*azure.endpoints] == ["fits"]


@pytest.mark.parametrize(
    ("traffic", "mirror"),
    [
        ({"one": 90}, {}),
        ({"one": 90, "two": 20}, {}),
        ({"one": 100, "three": 0, "four": 0, "five": 1}, {}),
        ({"one": 60, "missing": 40}, {}),
        ({"one": 100}, {"two": 60}),
        ({"one": 100}, {"one": 10}),
    ],
)
def test_traffic_that_does_not_add_up_is_refused(
    azure: LoopbackAzure, live: Caller, traffic: dict[str, int], mirror: dict[str, int]
) -> None:
    refused = live.put_endpoint("live", traffic=traffic, mirrorTraffic=mirror)
    assert refused.status_code == 400
    assert azure.endpoints["live"].traffic == {"one": 100}


def test_traffic_changes_only_when_the_operation_has_ended(
    azure: LoopbackAzure, live: Caller
) -> None:
    hold = azure.faults.hold_operation("/onlineEndpoints/live$")
    begun = live.put_endpoint("live", traffic={"two": 100}, tags={"x": "y"})
    assert begun.json()["properties"]["traffic"] == {"one": 100}
    during = live.get_endpoint("live").json()["properties"]
    assert (during["provisioningState"], during["traffic"]) == ("Updating", {"one": 100})
    hold.release()
    assert live.follow(begun)["status"] == "Succeeded"
    after = live.get_endpoint("live").json()
    assert (after["properties"]["traffic"], after["tags"]) == ({"two": 100}, {"x": "y"})


def test_an_operation_ends_although_nobody_looks(azure: LoopbackAzure, live: Caller) -> None:
    live.put_endpoint("live", traffic={"two": 100})
    while azure.endpoints["live"].state == "Updating":
        azure.settle()
    assert azure.endpoints["live"].traffic == {"two": 100}


def test_whoever_comes_while_it_is_updating_is_sent_away(
    azure: LoopbackAzure, live: Caller
) -> None:
    hold = azure.faults.hold_operation("/onlineEndpoints/live$")
    begun = live.put_endpoint("live", traffic={"two": 100})
    path = f"{live.ws}/onlineEndpoints/live"
    for answer in (
        live.put_endpoint("live", traffic={"one": 100}),
        live.put_deployment("live", "three"),
        live.arm("DELETE", f"{path}/deployments/two"),
        live.arm("DELETE", path, None, OLD_VERSION),
    ):
        assert (answer.status_code, code_of(answer)) == (409, "Conflict")
    hold.release()
    live.follow(begun)
    assert azure.endpoints["live"].traffic == {"two": 100}


def test_a_deployment_with_traffic_cannot_be_deleted(azure: LoopbackAzure, live: Caller) -> None:
    path = f"{live.ws}/onlineEndpoints/live/deployments"
    assert live.arm("DELETE", f"{path}/one").status_code == 400
    deleted = live.arm("DELETE", f"{path}/two")
    assert deleted.status_code == 202
    live.follow(deleted)
    assert [*azure.endpoints["live"].deployments] == ["one"]
    assert live.arm("DELETE", f"{path}/two").status_code == 204


def test_a_put_replaces_tags_and_keeps_the_identity(azure: LoopbackAzure, live: Caller) -> None:
    before = azure.endpoints["live"].identity
    live.follow(live.put_endpoint("live", traffic={"one": 100}, tags={"mine": "1"}))
    assert azure.endpoints["live"].tags == {"mine": "1"}
    assert azure.endpoints["live"].identity == before


def test_a_deployment_beyond_the_quota_is_refused_as_azure_does(
    azure: LoopbackAzure, live: Caller
) -> None:
    azure.cloud.core_limits["standardFSv2Family"] = 6
    refused = live.put_deployment("live", "three", instanceType="Standard_F4s_v2")
    assert refused.status_code == 400
    (message,) = inner_message(refused)["errors"]["VmSize"]
    # One machine of four cores needs eight: a fifth more is kept for upgrades.
    assert "Current usage/limit: 0/6. Additional needed: 8 " in message
    assert "three" not in azure.endpoints["live"].deployments
    usages = live.arm("GET", f"{live.place}/usages", None, "2023-04-01").json()["value"]
    limits = {one["name"]["value"]: (one["currentValue"], one["limit"]) for one in usages}
    assert limits["standardFSv2Family"] == (0, 6)
    assert limits["standardDSv2Family"] == (8, 100), "two machines of four cores are deployed"


def test_the_key_is_what_was_asked_for_or_a_new_one(azure: LoopbackAzure, live: Caller) -> None:
    path = f"{live.ws}/onlineEndpoints/live"
    old = azure.endpoints["live"].primary_key
    for body, wanted in (
        ({"keyType": "Primary"}, None),
        ({"keyType": "Primary", "keyValue": "k"}, "k"),
    ):
        begun = live.arm("POST", f"{path}/regenerateKeys", body, OLD_VERSION)
        assert live.follow(begun)["status"] == "Succeeded"
        assert (
            live.send(
                "GET", begun.headers["Location"], headers={"Authorization": f"Bearer {live.token}"}
            ).status_code
            == 204
        )
        keys = live.arm("POST", f"{path}/listKeys", None, OLD_VERSION).json()
        assert keys["primaryKey"] not in {old, ""}
        assert wanted in {None, keys["primaryKey"]}


def test_pages_of_versions_are_linked(azure: LoopbackAzure, caller: Caller, model: Path) -> None:
    for number in range(1, 71):
        azure.add_model("nsfw", model, version=str(number))
    path = f"{caller.ws}/models/nsfw/versions"
    page = caller.arm("GET", path, None, "2023-08-01-preview", listViewType="ActiveOnly").json()
    seen = [one["name"] for one in page["value"]]
    while "nextLink" in page:
        headers = {"Authorization": f"Bearer {caller.token}"}
        page = caller.send("GET", page["nextLink"], headers=headers).json()
        seen += [one["name"] for one in page["value"]]
    assert seen == [str(number) for number in range(70, 0, -1)]


def test_the_bytes_of_a_version_are_fixed(
    azure: LoopbackAzure, caller: Caller, model: Path
) -> None:
    path = azure.add_model("nsfw", model)
    found = caller.arm("GET", path, None, "2023-08-01-preview").json()
    tagged = {"properties": {**found["properties"], "tags": {"a": "b"}}}
    assert caller.arm("PUT", path, tagged, "2023-08-01-preview").status_code == 200
    assert azure.models["nsfw"]["1"]["properties"]["tags"] == {"a": "b"}
    moved = {"properties": {**found["properties"], "modelUri": "azureml://x/paths/elsewhere"}}
    assert caller.arm("PUT", path, moved, "2023-08-01-preview").status_code == 400


def test_a_job_ends_when_it_is_canceled(azure: LoopbackAzure, caller: Caller) -> None:
    azure.add_compute("cpu")
    path = f"{caller.ws}/jobs/endless"
    properties = {
        "jobType": "Command",
        "command": "sleep 60",
        "environmentId": "azureml:x:1",
        "computeId": f"{caller.ws}/computes/cpu",
    }
    made = caller.arm("PUT", path, {"properties": properties}, "2025-01-01-preview")
    assert made.json()["properties"]["status"] in {"Starting", "Running"}
    assert caller.arm("POST", f"{path}/cancel", None, "2025-01-01-preview").status_code == 200
    found = caller.arm("GET", path, None, "2025-01-01-preview").json()
    assert found["properties"]["status"] == "Canceled"
    job = azure.jobs["endless"]
    assert job.thread is not None
    job.thread.join(30)
    assert not job.thread.is_alive()
    assert job.status == "Canceled"
    properties["computeId"] = f"{caller.ws}/computes/gone"
    refused = caller.arm("PUT", path + "2", {"properties": properties}, "2025-01-01-preview")
    assert (refused.status_code, code_of(refused)) == (400, "UserError")


def test_what_is_no_json_is_refused(azure: LoopbackAzure, caller: Caller) -> None:
    address = f"https://management.azure.com{caller.ws}/onlineEndpoints/live"
    headers = {"Authorization": f"Bearer {caller.token}"}
    version = {"api-version": OLD_VERSION}
    refused = caller.send("PUT", address, params=version, data=b"{", headers=headers)
    assert (refused.status_code, code_of(refused)) == (400, "InvalidRequestContent")
    # Where the specifications are, they would fail this test in the end for that request.
    azure.requests.clear()
