from __future__ import annotations

import pytest

from guardian_cli.errors import UsageError
from guardian_cli.lifecycle.models import Model
from guardian_cli.lifecycle.platform import DeploymentSpec, WorkspaceOptions
from guardian_cli.lifecycle.setup import set_up
from tests.lifecycle.fake_platform import FakeCloud, FakePlatform, FakeReporter

OPTIONS = WorkspaceOptions()
MODELS = [
    Model("nsfw-detector", "nsfw", "nsfw-detector-endpoint", "Standard_DS3_v2", 2),
    Model("violence-detector", "violence", "violence-detector-endpoint", "Unheard_Of", 1),
]


def test_what_is_missing_is_made_once() -> None:
    platform, reporter = FakePlatform(), FakeReporter()
    platform.world.parts.add("folder")
    foretold = set_up(platform, OPTIONS, [], reporter, change=False)
    assert (foretold.created, foretold.dry_run) == (("registry",), True)
    assert platform.world.parts == {"folder"}
    done = set_up(platform, OPTIONS, [], reporter, change=True)
    assert (done.created, done.workspace.existing) == (("registry",), ("folder",))
    again = set_up(platform, OPTIONS, [], reporter, change=True)
    assert (again.created, again.workspace.existing) == ((), ("folder", "registry"))
    assert platform.calls == ["create_workspace"]


def test_what_would_bill_is_told_before_anything_is_made() -> None:
    platform, reporter = FakeCloud(free_instances=1), FakeReporter()
    foretold = set_up(platform, OPTIONS, MODELS, reporter, change=False)
    assert foretold.workspace.monthly_cost_usd == 200.0
    assert "2 × Standard_DS3_v2, once deployed, about $200 a month" in reporter.notes[0]
    assert "at a price that is not known here" in reporter.notes[1]
    assert reporter.warnings == ["nsfw-detector: 2 × Standard_DS3_v2 do not fit"]


def test_what_is_deployed_bills_with_traffic_or_without() -> None:
    platform, reporter = FakeCloud(), FakeReporter()
    platform.create_endpoint("nsfw-detector-endpoint", {})
    for version, count in (("1", 1), ("2", 3)):
        spec = DeploymentSpec(
            f"version-{version}", "nsfw-detector", version, "Standard_DS3_v2", count
        )
        platform.create_deployment("nsfw-detector-endpoint", spec, timeout_s=1.0)
    done = set_up(platform, OPTIONS, MODELS[:1], reporter, change=True)
    assert done.workspace.monthly_cost_usd == 400.0
    assert "is deployed" in reporter.notes[0]


def test_no_wait_begins_and_leaves_where_a_platform_goes_on_by_itself() -> None:
    cloud = FakeCloud()
    done = set_up(cloud, OPTIONS, [], FakeReporter(), change=True, wait=False)
    assert cloud.begun == ["workspace"]
    assert not done.workspace.complete
    with pytest.raises(UsageError, match="does not go on by itself"):
        set_up(FakePlatform(), OPTIONS, [], FakeReporter(), change=True, wait=False)
