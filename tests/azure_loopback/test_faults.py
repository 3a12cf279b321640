"""What can be told to go wrong does, once, and no further."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest
import requests

from tests.azure_loopback.sdk import SdkError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.azure_loopback.azure import LoopbackAzure
    from tests.azure_loopback.caller import Caller
    from tests.azure_loopback.sdk import Sdk

ENDPOINT = "/onlineEndpoints/live$"


@pytest.fixture
def live(azure: LoopbackAzure, caller: Caller) -> Caller:
    """An endpoint `live` with the deployments one and two, all traffic on one."""
    endpoint = azure.add_endpoint("live", traffic={"one": 100})
    endpoint.add_deployment("one")
    endpoint.add_deployment("two")
    return caller


@pytest.mark.parametrize("status", [401, 403, 404, 409, 429, 500, 503])
def test_a_status_is_answered_as_often_as_asked(
    azure: LoopbackAzure, live: Caller, status: int
) -> None:
    azure.faults.add("PUT", ENDPOINT, status=status, retry_after=7, skip=1)
    assert live.follow(live.put_endpoint("live", traffic={"two": 100}))["status"] == "Succeeded"
    refused = live.put_endpoint("live", traffic={"one": 100})
    assert (refused.status_code, refused.headers["Retry-After"]) == (status, "7")
    assert refused.json()["error"]["code"]
    assert azure.endpoints["live"].traffic == {"two": 100}, "it was not obeyed"
    assert live.follow(live.put_endpoint("live", traffic={"one": 100}))["status"] == "Succeeded"


@pytest.mark.parametrize(("drop", "obeyed"), [("before", False), ("after", True)])
def test_a_connection_is_dropped_before_or_after_the_request_was_obeyed(
    azure: LoopbackAzure, live: Caller, drop: str, obeyed: bool
) -> None:
    azure.faults.add("PUT", ENDPOINT, drop=drop)  # type: ignore[arg-type]
    with pytest.raises(requests.ConnectionError):
        live.put_endpoint("live", traffic={"two": 100})
    assert (azure.endpoints["live"].state == "Updating") is obeyed
    assert azure.requests[-1].status is None


def test_an_operation_ends_failed_after_many_looks(azure: LoopbackAzure, live: Caller) -> None:
    azure.faults.fail_operation("/deployments/three$", polls=20, log="out of memory\n")
    begun = live.put_deployment("live", "three")
    assert begun.status_code == 201
    ended = live.follow(begun)
    assert (ended["status"], ended["error"]["code"]) == ("Failed", "InternalServerError")
    looks = [one for one in azure.requests if "mfeOperationsStatus" in one.request.path]
    assert len(looks) == 21
    path = f"{live.ws}/onlineEndpoints/live/deployments/three"
    assert live.arm("GET", path).json()["properties"]["provisioningState"] == "Failed"
    logs = live.arm("POST", f"{path}/getLogs", {"tail": 10}).json()
    assert "out of memory" in logs["content"]


def test_want_of_quota_is_told_at_once_or_late(azure: LoopbackAzure, live: Caller) -> None:
    azure.faults.refuse_quota()
    refused = live.put_deployment("live", "three")
    assert refused.status_code == 400
    azure.faults.refuse_quota(late=True, polls=5)
    ended = live.follow(live.put_deployment("live", "three"))
    assert ended["status"] == "Failed"
    for error in (refused.json()["error"], ended["error"]):
        (detail,) = error["details"]
        assert detail["code"] == "InferencingClientCreateDeploymentFailed"
        assert (
            "Not enough quota"
            in json.loads(detail["message"].partition(": ")[2])["errors"]["VmSize"][0]
        )
    assert azure.endpoints["live"].deployments["three"].state == "Failed"


def test_a_failed_change_leaves_the_traffic_as_it_was(azure: LoopbackAzure, live: Caller) -> None:
    azure.faults.fail_operation(ENDPOINT)
    assert live.follow(live.put_endpoint("live", traffic={"two": 100}))["status"] == "Failed"
    found = live.get_endpoint("live").json()["properties"]
    assert (found["provisioningState"], found["traffic"]) == ("Failed", {"one": 100})


def test_a_slow_operation_needs_so_many_looks(azure: LoopbackAzure, live: Caller) -> None:
    azure.faults.slow_operation(ENDPOINT, polls=12)
    begun = live.put_endpoint("live", traffic={"two": 100})
    live.follow(begun)
    looks = [one for one in azure.requests if "mfeOperationsStatus" in one.request.path]
    assert [one.response.json["status"] for one in looks if one.response] == [
        *["Updating"] * 12,
        "Succeeded",
    ]


def test_somebody_else_comes_in_between(azure: LoopbackAzure, live: Caller) -> None:
    endpoint = azure.endpoints["live"]
    azure.faults.call("GET", ENDPOINT, lambda: endpoint.tags.update(them="here"), when="after")
    assert live.get_endpoint("live").json()["tags"] == {}
    assert live.get_endpoint("live").json()["tags"] == {"them": "here"}


def test_a_request_waits_until_it_is_released(azure: LoopbackAzure, live: Caller) -> None:
    hold = azure.faults.hold("GET", ENDPOINT)
    answers: list[int] = []
    waiting = threading.Thread(target=lambda: answers.append(live.get_endpoint("live").status_code))
    waiting.start()
    hold.wait_until_reached()
    assert not answers
    hold.release()
    waiting.join(30)
    assert answers == [200]


@pytest.mark.slow
def test_the_sdk_sees_what_was_told(
    azure: LoopbackAzure, live: Caller, sdk: Sdk, model: Path
) -> None:
    azure.faults.add("GET", ENDPOINT, status=403)
    with pytest.raises(SdkError, match="AuthorizationFailed") as refused:
        sdk.do(azure, "get_endpoint", name="live")
    assert refused.value.status == 403
    azure.faults.add("GET", ENDPOINT, status=429, retry_after=0)
    azure.faults.add("GET", ENDPOINT, status=503)
    azure.faults.add("GET", ENDPOINT, drop="before")
    assert sdk.do(azure, "get_endpoint", name="live")["traffic"] == {"one": 100, "two": 0}
    azure.faults.fail_operation(ENDPOINT, code="BadRequest", message="it went wrong")
    with pytest.raises(SdkError, match="it went wrong"):
        sdk.do(azure, "set_traffic", name="live", traffic={"two": 100})
    azure.blobs.key_auth_allowed = False
    with pytest.raises(SdkError, match="KeyBasedAuthenticationNotPermitted"):
        sdk.do(azure, "register", name="nsfw", path=str(model), tags={})
