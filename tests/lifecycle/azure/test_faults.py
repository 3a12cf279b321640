"""Faults in every operation: one line, exit 4, traffic as it was; the same command again ends."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from tests.lifecycle.azure.conftest import ENDPOINT, MODEL

if TYPE_CHECKING:
    from tests.lifecycle.azure.conftest import Harness

pytestmark = pytest.mark.slow

# Each operation of a second deploy: method, path, and statuses that it fails with for good.
OPERATIONS = {
    "versions": ("GET", rf"/models/{MODEL}/versions$", (401, 403)),
    "endpoint": ("GET", rf"/onlineEndpoints/{ENDPOINT}$", (403,)),
    "deployments": ("GET", rf"/onlineEndpoints/{ENDPOINT}/deployments$", (403,)),
    "code": ("PUT", r"/codes/", (403, 404)),
    "environment": ("PUT", r"/environments/[^/]+/versions/", (403,)),
    "deployment": ("PUT", r"/deployments/version-2$", (400, 403, 500)),
    "keys": ("POST", r"/listKeys$", (403,)),
    "traffic": ("PUT", rf"/onlineEndpoints/{ENDPOINT}$", (400, 403, 503)),
}
BEFORE = {"version-1": ("champion", 100)}
AFTER = {"version-1": ("champion", 90), "version-2": ("challenger", 10)}
DEPLOY = ("deploy", MODEL, "--version", "2")


def live(harness: Harness) -> dict[str, tuple[str | None, int]]:
    """Without what has neither role nor traffic: a deployment that is not done with yet."""
    return {name: seen for name, seen in harness.seen().items() if seen != (None, 0)}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_refusal_leaves_traffic_and_the_same_command_again_ends(
    deployed: Harness, operation: str
) -> None:
    method, path, statuses = OPERATIONS[operation]
    for status in statuses:
        fault = deployed.azure.faults.add(method, path, status=status, times=None)
        run = deployed.type(*DEPLOY, code=4)
        assert str(status) in run.err, run.err
        assert "hint: " in run.err
        deployed.azure.faults.remove(fault)
        assert live(deployed) == BEFORE
    deployed.type(*DEPLOY)
    assert deployed.seen() == AFTER


def test_what_passes_is_waited_for(deployed: Harness) -> None:
    """429 with Retry-After, a 503, a 409 while somebody's update runs: no reason to give up."""
    faults = deployed.azure.faults
    faults.add("GET", rf"/models/{MODEL}/versions$", status=429, retry_after=0)
    faults.add("PUT", r"/deployments/version-2$", status=409, times=1)
    faults.add("GET", rf"/onlineEndpoints/{ENDPOINT}$", status=503, times=1, skip=1)
    faults.add("PUT", rf"/onlineEndpoints/{ENDPOINT}$", status=409, times=1)
    run = deployed.type(*DEPLOY)
    assert "waiting up to" in run.err
    assert deployed.seen() == AFTER


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_that_drops_in_mid_operation(deployed: Harness, when: str) -> None:
    """The SDK sends a PUT again; what has been begun by the first is not begun twice."""
    for path in (r"/deployments/version-2$", rf"/onlineEndpoints/{ENDPOINT}$"):
        deployed.azure.faults.add("PUT", path, drop="before" if when == "before" else "after")
    deployed.azure.faults.add("GET", r"/mfeOperationsStatus/", drop="before")
    deployed.type(*DEPLOY)
    assert deployed.seen() == AFTER


def test_a_deployment_that_fails_shows_its_log_and_goes(deployed: Harness) -> None:
    run = deployed.type("deploy", MODEL, "--version", "3", code=4)
    assert "log of version-3" in run.err
    assert "weights.safetensors" in run.err
    assert deployed.seen() == BEFORE
    deployed.type("deploy", MODEL, "--version", "3", "--keep-failed", code=4)
    assert deployed.endpoint.deployments["version-3"].state == "Failed"
    assert live(deployed) == BEFORE


def test_a_deployment_that_fails_after_minutes_and_one_for_lack_of_quota(deployed: Harness) -> None:
    faults = deployed.azure.faults
    slow = faults.fail_operation(
        r"/deployments/version-2$", polls=40, message="The container did not become ready.",
        log="Traceback: no module named guardian",
    )  # fmt: skip
    run = deployed.type(*DEPLOY, code=4)
    assert "The container did not become ready." in run.err
    assert "no module named guardian" in run.err
    assert deployed.seen() == BEFORE
    faults.remove(slow)
    late = faults.add("PUT", r"/deployments/version-2$", status=400, body=QUOTA)
    run = deployed.type(*DEPLOY, code=4)
    assert "not enough quota for Standard_F4s_v2: 0 of 6 cores are in use, 8 more" in run.err
    assert "Quotas" in run.err
    faults.remove(late)
    deployed.type(*DEPLOY)
    assert deployed.seen() == AFTER


def test_too_little_quota_is_told_before_anything_is_made(deployed: Harness) -> None:
    deployed.azure.cloud.core_limits.update(dict.fromkeys(deployed.azure.cloud.core_limits, 4))
    count = len(deployed.azure.requests)
    run = deployed.type(*DEPLOY, "--instance-count", "8", code=4)
    assert "not enough quota for 8 × Standard_DS3_v2 in eastus2: 32 cores are needed" in run.err
    assert not [one for one in deployed.azure.requests[count:] if one.method in {"PUT", "DELETE"}]


def test_an_endpoint_that_is_busy_is_waited_for_and_not_for_ever(deployed: Harness) -> None:
    deployed.endpoint.state = "Updating"
    run = deployed.type(*DEPLOY, "--timeout", "2s", code=4)
    assert "waited 2 s" in run.err
    assert deployed.seen() == BEFORE
    deployed.azure.faults.call(
        "GET",
        rf"/onlineEndpoints/{ENDPOINT}$",
        lambda: setattr(deployed.endpoint, "state", "Succeeded"),
        skip=2,
    )
    deployed.type(*DEPLOY)
    assert deployed.seen() == AFTER


def test_somebody_else_s_change_is_refused_and_not_overwritten(deployed: Harness) -> None:
    def meddle() -> None:
        deployed.endpoint.add_deployment("blue")
        deployed.endpoint.traffic = {"version-1": 70, "blue": 30}

    deployed.azure.faults.call("PUT", r"/deployments/version-2$", meddle)
    run = deployed.type(*DEPLOY, code=4)
    assert "changed by somebody else" in run.err
    assert deployed.endpoint.traffic == {"version-1": 70, "blue": 30}
    deployed.type(*DEPLOY)
    assert deployed.endpoint.traffic == {"version-1": 60, "version-2": 10, "blue": 30}


def test_a_change_between_the_look_and_the_update_is_noticed(deployed: Harness) -> None:
    """The last moment: another guardian's update follows ours at once."""
    faults, address = deployed.azure.faults, rf"/onlineEndpoints/{ENDPOINT}$"

    def promote() -> None:
        deployed.endpoint.tags["guardian.roles"] = json.dumps({"champion": "7"})

    faults.call("PUT", address, lambda: faults.call("GET", address, promote))
    run = deployed.type(*DEPLOY, code=4)
    assert "somebody else" in run.err


def test_killed_in_the_middle_the_same_command_ends(deployed: Harness) -> None:
    hold = deployed.azure.faults.hold_operation(r"/deployments/version-2$")
    begun = deployed.begin(*DEPLOY)
    hold.wait_until_reached()
    begun.send_signal(signal.SIGKILL)
    begun.communicate()
    hold.release()
    deployed.type(*DEPLOY)
    assert deployed.seen() == AFTER
    assert len(deployed.azure.sent("PUT", "/deployments/version-2")) == 1


@pytest.mark.parametrize("verb", ["promote", "rollback"])
def test_killed_while_traffic_changes_the_same_command_ends(deployed: Harness, verb: str) -> None:
    promote, rollback = (*DEPLOY, "--promote"), ("rollback", MODEL)
    promoted = {"version-1": ("previous", 0), "version-2": ("champion", 100)}
    if verb == "rollback":
        deployed.type(*promote)
    before = deployed.seen()
    command = promote if verb == "promote" else rollback
    hold = deployed.azure.faults.hold_operation(rf"/onlineEndpoints/{ENDPOINT}$")
    begun = deployed.begin(*command)
    hold.wait_until_reached()
    begun.send_signal(signal.SIGKILL)
    begun.communicate()
    assert live(deployed) == before
    hold.release()
    deployed.type(*command)
    after = promoted if verb == "promote" else {"version-1": ("champion", 100),
                                                "version-2": ("previous", 0)}  # fmt: skip
    assert deployed.seen() == after
    told = deployed.document("rollback", MODEL, "--history", schema="history")["changes"]
    assert [one["action"] for one in told].count(verb) == 1


def test_begun_and_left_with_no_wait_the_same_command_goes_on(deployed: Harness) -> None:
    hold = deployed.azure.faults.hold_operation(r"/deployments/version-2$")
    begun = deployed.begin(*DEPLOY, "--no-wait", "--json")
    out, err = begun.communicate(timeout=120)
    assert begun.returncode == 0, err
    document = json.loads(out)
    assert [row["state"] for row in document["after"]] == ["ready", "updating"]
    assert "hint: the same command again goes on" in err
    hold.release()
    deployed.azure.settle()
    deployed.type(*DEPLOY)
    assert deployed.seen() == AFTER


def test_a_rollback_probes_first_and_changes_nothing_when_that_fails(deployed: Harness) -> None:
    deployed.type(*DEPLOY, "--promote")
    promoted = deployed.seen()
    fault = deployed.azure.faults.add("POST", r"/score$", status=424, times=None)
    run = deployed.type("rollback", MODEL, code=4)
    assert "HTTP 424" in run.err
    assert deployed.seen() == promoted
    deployed.azure.faults.remove(fault)
    deployed.azure.faults.add("PUT", rf"/onlineEndpoints/{ENDPOINT}$", status=403)
    deployed.type("rollback", MODEL, code=4)
    assert deployed.seen() == promoted
    deployed.type("rollback", MODEL)
    assert deployed.seen() == {"version-1": ("champion", 100), "version-2": ("previous", 0)}


# As a user got it from Azure: the reason is JSON in the message of a detail.
QUOTA = {
    "error": {
        "code": "BadRequest",
        "message": "The request is invalid.",
        "details": [
            {
                "code": "InferencingClientCreateDeploymentFailed",
                "message": "InferencingClient HttpRequest error, error detail: "
                + json.dumps(
                    {
                        "errors": {
                            "VmSize": [
                                (
                                    "Not enough quota available for Standard_F4s_v2 in "
                                    "SubscriptionId 0. Current usage/limit: 0/6. Additional "
                                    "needed: 8 Please see the troubleshooting guide"
                                )
                            ]
                        }
                    }
                ),
            }
        ],
    }
}
