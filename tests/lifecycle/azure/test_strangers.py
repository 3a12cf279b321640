"""Other readings of Azure than our stand-in's: guardian must not depend on what nobody promised."""

from __future__ import annotations

import dataclasses
import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from guardian_cli.lifecycle.release.roles import read_roles
from tests.lifecycle.azure.conftest import ENDPOINT, MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.azure_loopback.messages import Response
    from tests.lifecycle.azure.conftest import Harness
    from tests.lifecycle.conftest import Templates

pytestmark = pytest.mark.slow

DEPLOY = ("deploy", MODEL, "--version", "2")
BEFORE = {"version-1": ("champion", 100)}
AFTER = {"version-1": ("champion", 90), "version-2": ("challenger", 10)}
ARM = r"management\.azure\.com"
MFE = r"mfeOperations"


def of_document(change: Callable[[Any], Any]) -> Callable[[Response], Response]:
    """A twist of the JSON in an answer that went well."""

    def twist(response: Response) -> Response:
        if response.status >= 400 or response.json is None:
            return response
        body = json.dumps(change(response.json)).encode()
        return dataclasses.replace(response, body=body)

    return twist


def thin(document: Any) -> Any:
    """Leave out all that is optional, and write null for what is empty."""
    if "value" in document and isinstance(document["value"], list):
        return {"value": [thin(one) for one in document["value"]]}
    kept = {
        name: value
        for name, value in document.items()
        if name not in {"systemData", "kind", "type", "identity", "sku", "etag"}
    }
    if not kept.get("tags"):
        kept["tags"] = None
    if isinstance(kept.get("properties"), dict):
        kept["properties"] = {name: value or None for name, value in kept["properties"].items()}
        kept["properties"]["properties"] = None
        kept["properties"].pop("mirrorTraffic", None)
    return kept


def test_thin_documents(deployed: Harness) -> None:
    faults = deployed.azure.faults
    faults.twist("*", ARM + r".*/(models|onlineEndpoints)/", of_document(thin))
    deployed.type(*DEPLOY)
    assert deployed.seen() == AFTER
    deployed.type(*DEPLOY, "--promote")
    deployed.type("rollback", MODEL)
    assert deployed.seen() == {"version-1": ("champion", 100), "version-2": ("previous", 0)}
    deployed.document("endpoints", "--check", "--write-env", schema="endpoints")
    deployed.type("endpoints", "--rotate-key", MODEL)
    faults.twist("GET", ARM + r".*/workspaces/[^/]+$", of_document(thin))
    deployed.type("setup", "--check")
    deployed.type("deploy", MODEL, "--version", "3", code=4)


def headers_only(*names: str) -> Callable[[Response], Response]:
    """Only some of the headers that tell how to follow an operation, in other letters."""

    def twist(response: Response) -> Response:
        kept = {
            name.upper(): value
            for name, value in response.headers.items()
            if name.lower()
            not in {"location", "azure-asyncoperation", "x-ms-async-operation-timeout"}
            or name.lower() in names
        }
        return dataclasses.replace(response, headers=kept)

    return twist


def renamed(document: Any, names: Iterator[str]) -> Any:
    """The status of an operation in other words, for as long as there are some."""
    status = document["status"]
    return {"status": next(names, status) if status == "Updating" else status}


@pytest.mark.parametrize("kind", ["async-only", "location-only", "neither", "at-once", "names"])
def test_other_ways_to_follow_an_operation(deployed: Harness, kind: str) -> None:
    faults = deployed.azure.faults
    where = ARM + r".*/onlineEndpoints/"
    if kind == "async-only":
        faults.twist("*", where, headers_only("azure-asyncoperation"))
    elif kind == "location-only":
        faults.twist("*", where, headers_only("location"))
    elif kind == "neither":
        faults.twist("*", where, headers_only())
    elif kind == "at-once":
        faults.twist("PUT", where, lambda one: dataclasses.replace(headers_only()(one), status=200))
    else:
        names = iter(["NotStarted", "Accepted", "Running", "InProgress"])
        faults.twist("GET", MFE, of_document(lambda one: renamed(one, names)))
    deployed.type(*DEPLOY)
    assert deployed.seen() == AFTER
    deployed.type("endpoints", "--rotate-key", MODEL)
    if kind in {"at-once", "neither"}:
        # The SDK waits 5 s for each deployment when nobody tells it when to look.
        return
    deployed.type(*DEPLOY, "--promote", "--prune")
    deployed.type("deploy", MODEL, "--version", "3", code=4)
    assert deployed.seen()["version-2"] == ("champion", 100)


def test_lists_come_in_pages(deployed: Harness) -> None:
    """One element a page; the next page is at whatever address the first one gives."""
    lists = {"models": r"/models/[^/]+/versions$", "deployments": r"/deployments$"}
    for pattern in lists.values():
        deployed.azure.faults.twist("GET", ARM + r".*" + pattern, in_pages(deployed))
    deployed.type(*DEPLOY)
    assert deployed.seen() == AFTER
    shown, _ = deployed.document("endpoints", schema="endpoints")["endpoints"]
    assert [one["name"] for one in shown["deployments"]] == ["version-1", "version-2"]


def in_pages(harness: Harness) -> Callable[[Response], Response]:
    rest: list[Any] = []

    def twist(response: Response) -> Response:
        if not rest:
            rest.extend(response.json["value"])
        page: dict[str, Any] = {"value": [rest.pop(0)]}
        if rest:
            # As long as there is more, the same list is asked again.
            last = harness.azure.requests[-1].request
            page["nextLink"] = f"https://{last.place}?api-version=2023-04-01-preview&$skip=1"
        return dataclasses.replace(response, body=json.dumps(page).encode())

    return twist


@pytest.mark.parametrize("host", ["elsewhere.example", "management.azure.com.example"])
def test_the_token_does_not_follow_a_page_to_another_host(deployed: Harness, host: str) -> None:
    def twist(response: Response) -> Response:
        page = {**response.json, "nextLink": f"https://{host}/next"}
        return dataclasses.replace(response, body=json.dumps(page).encode())

    deployed.azure.faults.twist("GET", rf"/onlineEndpoints/{ENDPOINT}/deployments$", twist)
    run = deployed.type("endpoints", MODEL, code=4)
    assert "somewhere else" in run.err
    assert not [one for one in deployed.azure.requests if one.host == host]


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": "UserError", "message": "No such thing."}},
        {},
        {"message": "Not Found"},
        None,
    ],
)
def test_what_is_not_there_whatever_the_words(
    harness: Harness, templates: Templates, body: Any
) -> None:
    """A 404 is a 404: for a model without versions, and for an endpoint before its first deploy."""
    faults = harness.azure.faults
    patterns = (r"/versions$", rf"/onlineEndpoints/{ENDPOINT}$")
    gone = [faults.add("GET", one, status=404, body=body, times=None) for one in patterns]
    assert "no version yet" in harness.type("deploy", MODEL, code=2).err
    assert "has no endpoint yet" in harness.type("endpoints").err
    faults.remove(gone[0])
    harness.azure.add_model(MODEL, templates.good_model)
    faults.call("PUT", rf"/onlineEndpoints/{ENDPOINT}$", lambda: faults.remove(gone[1]))
    harness.type("deploy", MODEL)
    assert harness.seen() == BEFORE


def test_tokens_that_tell_nothing_and_only_what_is_needed_to_sign_in(deployed: Harness) -> None:
    azure = deployed.azure

    def opaque(response: Response) -> Response:
        azure.sign_in.tokens.add("opaque")
        body = json.dumps({**response.json, "access_token": "opaque"}).encode()
        return dataclasses.replace(response, body=body)

    azure.faults.twist("GET", "/msi/token", opaque)
    section = {
        "subscription_id": azure.subscription_id,
        "resource_group": azure.resource_group.upper(),
        "workspace": azure.workspace,
    }
    (deployed.folder / "guardian.yaml").write_text(json.dumps({"azure": section}))
    unset = {"AZURE_SUBSCRIPTION_ID": "", "AZURE_RESOURCE_GROUP": "", "AZURE_ML_WORKSPACE": ""}
    run = deployed.run(*DEPLOY, **unset)
    assert run.code == 0, run.err
    [change, _] = deployed.document("rollback", MODEL, "--history", schema="history")["changes"]
    assert "@" in change["who"]


def test_throttled_while_it_waits(deployed: Harness) -> None:
    faults = deployed.azure.faults
    faults.slow_operation(r"/deployments/version-2$", polls=6)
    for skip in (1, 4):
        faults.add("GET", MFE, status=429, retry_after=0, times=2, skip=skip)
        faults.add("GET", MFE, status=503, times=1, skip=skip + 6)
    deployed.type(*DEPLOY)
    assert deployed.seen() == AFTER


def test_an_endpoint_that_wants_tokens_is_refused_before_anything_bills(deployed: Harness) -> None:
    deployed.endpoint.auth = "AMLToken"
    run = deployed.type(*DEPLOY, code=4)
    assert "wants tokens of Azure (AMLToken)" in run.err
    assert not deployed.azure.sent("PUT", "/deployments/version-2")
    assert deployed.seen() == BEFORE
    deployed.type("endpoints")
    deployed.type("endpoints", "--write-env", code=4)
    assert not (deployed.folder / ".env").exists()


def test_versions_that_people_named(deployed: Harness, templates: Templates) -> None:
    azure = deployed.azure
    for version in ("candidate-b", "2024.11_final", "x" * 30):
        azure.add_model(MODEL, templates.good_model, version=version)
    deployed.type("deploy", MODEL, "--version", "candidate-b")
    assert deployed.seen()["version-candidate-b"] == ("challenger", 10)
    assert "cannot be deployed" in deployed.type("deploy", MODEL, "--version", "x" * 30, code=2).err
    deployed.type("deploy", MODEL, "--version", "2024.11_final", code=2)
    deployed.type("deploy", MODEL, "--version", "3", "--dry-run")
    assert "no version '0'" in deployed.type("deploy", MODEL, "--version", "0", code=2).err


def test_interrupted_while_it_waits(deployed: Harness) -> None:
    """What goes on at Azure is said; the same command again goes on."""
    hold = deployed.azure.faults.hold_operation(r"/deployments/version-2$")
    begun = deployed.begin(*DEPLOY)
    hold.wait_until_reached()
    begun.send_signal(signal.SIGINT)
    out, err = begun.communicate(timeout=60)
    assert begun.returncode == 130, err
    assert out == ""
    assert "create deployment version-2" in err
    assert "what was begun goes on at azure: the same command again waits for it" in err
    assert err.splitlines()[-1] == "interrupted"
    hold.release()
    deployed.azure.settle()
    deployed.type(*DEPLOY)
    assert deployed.seen() == AFTER
    assert len(deployed.azure.sent("PUT", "/deployments/version-2")) == 1


def test_two_deploy_different_versions_at_once(deployed: Harness, templates: Templates) -> None:
    """One of them, or one after the other: never a mixture that nobody asked for."""
    azure = deployed.azure
    azure.add_model(MODEL, templates.good_model, version="4")
    hold = azure.faults.hold_operation(r"/deployments/version-2$")
    first = deployed.begin(*DEPLOY)
    hold.wait_until_reached()
    second = deployed.begin("deploy", MODEL, "--version", "4", "--promote")
    hold.release()
    codes = []
    for one in (first, second):
        _, err = one.communicate(timeout=120)
        codes.append(one.returncode)
        assert one.returncode in {0, 4}, err
    assert 0 in codes
    traffic, roles = deployed.endpoint.traffic, read_roles(deployed.endpoint.tags)
    assert sum(traffic.values()) == 100
    assert roles.champion in {"1", "4"}
    live = {name for name, share in traffic.items() if share}
    named = {f"version-{one}" for one in (roles.champion, roles.challenger) if one}
    assert live <= named
    deployed.type("deploy", MODEL, "--version", "4", "--promote")
    assert deployed.seen()["version-4"] == ("champion", 100)
