"""Every request of every verb, one after the other, is refused, or answered with nonsense."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import TYPE_CHECKING

import pytest

from tests.lifecycle.azure.conftest import MODEL, Harness

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.azure_loopback.faults import Fault

pytestmark = pytest.mark.slow

ARM = r"management\.azure\.com/"
ONE = {"version-1": ("champion", 100)}
TWO = {"version-1": ("champion", 90), "version-2": ("challenger", 10)}
NEW = {"version-1": ("previous", 0), "version-2": ("champion", 100)}
OLD = {"version-1": ("champion", 100), "version-2": ("previous", 0)}
# Command, how the endpoint stands before it, and how after it.
VERBS = {
    "deploy": (("deploy", MODEL, "--version", "2"), ONE, TWO),
    "promote": (("deploy", MODEL, "--version", "2", "--promote"), TWO, NEW),
    "rollback": (("rollback", MODEL), NEW, OLD),
    "history": (("rollback", MODEL, "--history"), NEW, NEW),
    "endpoints": (("endpoints", "--check", "--write-env"), TWO, TWO),
    "rotate": (("endpoints", "--rotate-key", MODEL), ONE, ONE),
    "setup": (("setup", "--check"), ONE, ONE),
}
TO_STAND = {"challenger": VERBS["deploy"][0], "champion": VERBS["promote"][0]}


def refused(harness: Harness, number: int) -> Fault:
    return harness.azure.faults.add("*", ARM, status=403, skip=number)


def nonsense(harness: Harness, number: int) -> Fault:
    """An answer that went well, with nothing in it."""
    return harness.azure.faults.twist(
        "*", ARM, lambda one: dataclasses.replace(one, body=b"{}"), skip=number, times=1
    )


def no_json(harness: Harness, number: int) -> Fault:
    return harness.azure.faults.twist(
        "*", ARM, lambda one: dataclasses.replace(one, body=b"<html>"), skip=number, times=1
    )


def live(harness: Harness) -> dict[str, tuple[str | None, int]]:
    return {name: seen for name, seen in harness.seen().items() if seen != (None, 0)}


# What is no JSON goes the way of nonsense: the longest verb is enough for it.
CASES = [*((verb, kind) for verb in VERBS for kind in (refused, nonsense)), ("deploy", no_json)]


@pytest.mark.parametrize(("verb", "kind"), CASES)
def test_nothing_half_done_at_any_request(
    deployed: Harness, verb: str, kind: Callable[[Harness, int], Fault]
) -> None:
    command, before, after = VERBS[verb]
    wanted = before.get("version-2")
    if wanted is not None:
        deployed.type(*TO_STAND[wanted[0] or ""])
    assert live(deployed) == before
    endpoint = deployed.endpoint
    kept = copy.deepcopy((endpoint.traffic, endpoint.tags))
    deployments = dict(endpoint.deployments)
    number = 0
    while True:
        fault = kind(deployed, number)
        run = deployed.run(*command, "--json")
        hit = fault.hits > number
        deployed.azure.faults.remove(fault)
        assert run.code in {0, 4}, f"{number}: {run.code} {run.err}"
        assert live(deployed) in (before, after), f"{number}: {deployed.seen()}"
        if run.code == 0:
            json.loads(run.out)
            assert live(deployed) == after, f"{number}: {run.err}"
        else:
            assert run.out == "" or json.loads(run.out)
            errors = [one for one in run.err.splitlines() if one.startswith("error: ")]
            assert len(errors) == 1, f"{number}: {run.err}"
            assert "hint: " in run.err, f"{number}: {run.err}"
        for operation in deployed.azure.cloud.book.operations.values():
            operation.begun = 0.0
        deployed.azure.settle()
        endpoint.traffic, endpoint.tags = copy.deepcopy(kept)
        for name in set(endpoint.deployments) - set(deployments):
            # What is thrown away must not leave its container behind.
            gone = endpoint.deployments[name]
            if gone.runner is not None:
                gone.runner.stop()
        endpoint.deployments = {**deployments}
        if not hit:
            assert run.code == 0, f"{number}: {run.err}"
            assert number > 0
            return
        number += 1
