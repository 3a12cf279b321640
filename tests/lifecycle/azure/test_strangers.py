"""Other readings of Azure than our stand-in's: guardian must not depend on what nobody promised."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.lifecycle.azure.conftest import MODEL

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.azure_loopback.messages import Response

    from tests.lifecycle.azure.conftest import Desk

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


def test_thin_documents(deployed: Desk) -> None:
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


@pytest.mark.parametrize("kind", ["async-only", "location-only", "neither", "at-once", "names"])
def test_other_ways_to_follow_an_operation(deployed: Desk, kind: str) -> None:
    faults = deployed.azure.faults
    where = ARM + r".*/onlineEndpoints/"
    if kind == "async-only":
        faults.twist("*", where, headers_only("azure-asyncoperation"))
    elif kind == "location-only":
        faults.twist("*", where, headers_only("location"))
    elif kind == "neither":
        faults.twist("*", where, headers_only())
    elif kind == "at-once":
        faults.twist("PUT", where, lambda r: dataclasses.replace(
            r, status=200, headers={"Content-Type": "application/json"}))  # fmt: skip
    else:
        names = iter(["NotStarted", "Accepted", "Running", "InProgress"])
        faults.twist("GET", MFE, of_document(
            lambda d: {"status": next(names, d["status"])} if d["status"] == "Updating" else d))  # fmt: skip
    deployed.type(*DEPLOY)
    assert deployed.seen() == AFTER
    deployed.type("endpoints", "--rotate-key", MODEL)
    deployed.type(*DEPLOY, "--promote", "--prune")
    deployed.type("deploy", MODEL, "--version", "3", code=4)
    assert deployed.seen()["version-2"] == ("champion", 100)
