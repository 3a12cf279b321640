"""What deployments cost: idle ones first, from documented prices; on this machine nothing."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from guardian_cli.config import ModelSection
from guardian_cli.console import Console
from guardian_cli.lifecycle.cost import HOURS_PER_MONTH, Footprint, local_costs
from guardian_cli.lifecycle.endpoints import EndpointsResult, EndpointTasks, run_tasks
from guardian_cli.reports.lifecycle import show_endpoints
from guardian_cli.reports.schemas import load_schema
from tests.lifecycle.fake_platform import FakeCloud, FakeReporter
from tests.lifecycle.harness import ENDPOINT, MODEL, Harness

if TYPE_CHECKING:
    from guardian_cli.lifecycle.platform import Platform

SECTIONS = {MODEL: ModelSection(category="nsfw")}


def cost_of(platform: Platform) -> tuple[EndpointsResult, Any, str]:
    """The result, the document, and the table."""
    result = run_tasks(platform, FakeReporter(), SECTIONS, None, EndpointTasks(cost=True))
    shown = []
    for as_json in (True, False):
        out = io.StringIO()
        show_endpoints(Console(out=out), platform.target, result, as_json=as_json)
        shown.append(out.getvalue())
    document = json.loads(shown[0])
    Draft202012Validator(load_schema("endpoints")).validate(document)
    return result, document, shown[1]


def test_what_bills_without_traffic_comes_first_and_what_would_save_is_said() -> None:
    cloud = FakeCloud()
    harness = Harness(cloud)
    for version in (1, 2):
        harness.deploy(version)
    harness.deploy(2, promote=True)
    cloud.add_foreign(ENDPOINT, "blue", 20)
    result, document, table = cost_of(cloud)
    assert result.costs is not None
    assert [one.name for one in result.costs.deployments] == ["version-1", "version-2", "blue"]
    each = 0.5 * HOURS_PER_MONTH
    assert document["monthly_cost_usd"] == pytest.approx(2 * each)
    assert document["prices_noted"] == "2026-01-31"
    rows = {one["name"]: one for one in document["endpoints"][0]["deployments"]}
    assert rows["version-1"]["monthly_cost_usd"] == pytest.approx(each)
    # Two cores would be cheaper still, and too few.
    assert rows["version-1"]["cheaper"] == {
        "instance_type": "Standard_F4s_v2", "memory_gib": 8,
        "saves_usd": pytest.approx(0.3 * HOURS_PER_MONTH),
    }  # fmt: skip
    # A foreign deployment of a size that nobody documented is no guess.
    assert rows["blue"]["monthly_cost_usd"] is None
    assert "365 of it without traffic" in table
    assert "unknown" in table


def test_nothing_is_deployed_nothing_is_due() -> None:
    _, document, table = cost_of(FakeCloud())
    assert (document["monthly_cost_usd"], table) == (0, "no deployments\n")


def test_this_machine_bills_nothing_and_takes_memory_and_disk() -> None:
    harness = Harness()
    harness.deploy(1)
    endpoint = harness.platform.world.endpoints[ENDPOINT]
    _, document, table = cost_of(harness.platform)
    assert document["monthly_cost_usd"] == 0
    assert document["endpoints"][0]["deployments"][0]["monthly_cost_usd"] == 0
    assert "0 USD a month" in table
    costs = local_costs([endpoint], {ENDPOINT: Footprint(210.5, {"version-1": 12.25})})
    assert costs.memory_mb == {ENDPOINT: 210.5}
    idle = replace(endpoint.deployments[0], name="version-0", traffic=0)
    both = replace(endpoint, deployments=(*endpoint.deployments, idle))
    costs = local_costs([both], {ENDPOINT: Footprint(None, {})})
    assert [one.name for one in costs.deployments] == ["version-0", "version-1"]
