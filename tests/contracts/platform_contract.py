"""What every platform must do: subclass PlatformContract and give it a world."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest

from guardian_cli.config import ModelSection
from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.lifecycle.deploy import deploy_model
from guardian_cli.lifecycle.endpoints import EndpointsResult, EndpointTasks, run_tasks
from guardian_cli.lifecycle.models import choose_models
from guardian_cli.lifecycle.platform import (
    DeploymentFailedError,
    DeploymentSpec,
    Platform,
    Stoppable,
    WorkspaceOptions,
)
from guardian_cli.lifecycle.release.execute import Releases
from guardian_cli.lifecycle.release.plan import DeployRequest, RollbackGoal
from tests.lifecycle.fake_platform import FakeReporter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODEL = "nsfw-detector"
ENDPOINT = "nsfw-detector-endpoint"
OPTIONS = WorkspaceOptions()
TIMEOUT_S = 60.0
SECTIONS = {MODEL: ModelSection(category="nsfw")}


@dataclass(frozen=True, slots=True)
class World:
    """A platform, a model folder that loads, one that does not, and another process's view."""

    platform: Platform
    good_model: Path
    broken_model: Path
    reopen: Callable[[], Platform]


def spec_of(version: str) -> DeploymentSpec:
    return DeploymentSpec(
        name=f"version-{version}",
        model=MODEL,
        version=version,
        instance_type="Standard_DS3_v2",
        instance_count=1,
        tags={"guardian.model": MODEL, "guardian.version": version},
    )


def ask(platform: Platform, tasks: EndpointTasks) -> EndpointsResult:
    """What `guardian endpoints` does with that platform."""
    return run_tasks(platform, FakeReporter(), SECTIONS, None, tasks)


def make_ready(world: World) -> World:
    """Put an endpoint into the workspace, and version 1 at 100%."""
    platform = world.platform
    platform.registry.register(MODEL, world.good_model, {"data": "simulated"})
    platform.create_endpoint(ENDPOINT, {"guardian.model": MODEL})
    platform.create_deployment(ENDPOINT, spec_of("1"), timeout_s=TIMEOUT_S)
    platform.update_endpoint(ENDPOINT, traffic={"version-1": 100})
    return world


class PlatformContract:
    """The suite."""

    @pytest.fixture
    def world(self, tmp_path: Path) -> World:
        raise NotImplementedError

    @pytest.fixture
    def ready(self, world: World) -> World:
        world.platform.create_workspace(OPTIONS)
        return make_ready(world)

    def test_a_workspace_is_made_once(self, world: World) -> None:
        platform = world.platform
        assert not platform.look_at_workspace(OPTIONS).complete
        made = platform.create_workspace(OPTIONS)
        assert made.complete
        assert platform.create_workspace(OPTIONS) == made
        assert world.reopen().look_at_workspace(OPTIONS) == made

    def test_nothing_is_there_before_the_workspace_is(self, world: World) -> None:
        assert world.platform.endpoint(ENDPOINT) is None
        assert list(world.platform.registry.versions(MODEL)) == []
        assert world.platform.registry.get(MODEL, "1") is None
        assert not world.platform.look_at_workspace(OPTIONS).complete

    def test_versions_are_numbered_and_keep_their_tags(self, world: World) -> None:
        registry = world.platform.registry
        world.platform.create_workspace(OPTIONS)
        first = registry.register(MODEL, world.good_model, {"auc": "0.9"})
        second = registry.register(MODEL, world.good_model, {})
        assert (first.version, second.version) == ("1", "2")
        seen = world.reopen().registry
        assert [found.version for found in seen.versions(MODEL)] == ["1", "2"]
        found = seen.get(MODEL, "1")
        assert found is not None
        assert found.tags["auc"] == "0.9"
        assert seen.get(MODEL, "3") is None
        assert list(seen.versions("other")) == []

    def test_a_versions_files_come_back_as_they_were(self, world: World, tmp_path: Path) -> None:
        world.platform.create_workspace(OPTIONS)
        world.platform.registry.register(MODEL, world.good_model, {})
        world.reopen().registry.fetch(MODEL, "1", tmp_path / "fetched")
        fetched = next((one.parent for one in (tmp_path / "fetched").rglob("MLmodel")), None)
        for file in world.good_model.rglob("*.*"):
            assert fetched is not None
            copy = fetched / file.relative_to(world.good_model)
            assert copy.read_bytes() == file.read_bytes()

    def test_an_endpoint_keeps_its_tags_uri_and_key(self, ready: World) -> None:
        first = ready.platform.endpoint(ENDPOINT)
        again = ready.reopen()
        assert first is not None
        assert first == again.endpoint(ENDPOINT)
        assert first.uri.startswith("http")
        assert first.tags["guardian.model"] == MODEL
        assert again.key(ENDPOINT) == ready.platform.key(ENDPOINT)

    def test_a_deployment_is_found_as_it_was_specified(self, ready: World) -> None:
        endpoint = ready.platform.endpoint(ENDPOINT)
        assert endpoint is not None
        assert endpoint.state == "ready"
        found = endpoint.deployment("version-1")
        assert found is not None
        assert (found.traffic, found.state) == (100, "ready")
        assert (found.model, found.version) == (MODEL, "1")
        assert (found.instance_type, found.instance_count) == ("Standard_DS3_v2", 1)
        assert found.tags["guardian.version"] == "1"

    def test_a_new_deployment_has_no_traffic_and_answers_a_probe(self, ready: World) -> None:
        platform = ready.platform
        platform.registry.register(MODEL, ready.good_model, {})
        platform.create_deployment(ENDPOINT, spec_of("2"), timeout_s=TIMEOUT_S)
        endpoint = platform.endpoint(ENDPOINT)
        assert endpoint is not None
        assert endpoint.traffic == {"version-1": 100, "version-2": 0}
        for deployment in ("version-2", "version-1", None):
            probe = platform.probe(ENDPOINT, deployment)
            assert probe.good, probe
            assert probe.score is not None
            assert 0 <= probe.score <= 1

    def test_a_probe_of_nothing_is_a_problem_and_no_exception(self, ready: World) -> None:
        assert not ready.platform.probe(ENDPOINT, "version-9").good
        assert not ready.platform.probe("no-such-endpoint").good

    def test_traffic_and_tags_change_together(self, ready: World) -> None:
        platform = ready.platform
        platform.registry.register(MODEL, ready.good_model, {})
        platform.create_deployment(ENDPOINT, spec_of("2"), timeout_s=TIMEOUT_S)
        platform.update_endpoint(ENDPOINT, tags={"mine": "stays", "gone": "soon"})
        changed = platform.update_endpoint(
            ENDPOINT, traffic={"version-1": 90, "version-2": 10}, tags={"gone": None, "new": "é"}
        )
        assert changed.traffic == {"version-1": 90, "version-2": 10}
        assert changed == ready.reopen().endpoint(ENDPOINT)
        assert changed.tags.items() >= {"mine": "stays", "new": "é"}.items()
        assert "gone" not in changed.tags
        left_out = platform.update_endpoint(ENDPOINT, traffic={"version-2": 100})
        assert left_out.traffic == {"version-1": 0, "version-2": 100}
        assert platform.update_endpoint(ENDPOINT, tags={"new": "x"}).traffic == left_out.traffic

    def test_a_deployment_that_fails_says_why_and_leaves_the_others_alone(
        self, ready: World
    ) -> None:
        platform = ready.platform
        platform.registry.register(MODEL, ready.broken_model, {})
        with pytest.raises(DeploymentFailedError) as caught:
            platform.create_deployment(ENDPOINT, spec_of("2"), timeout_s=TIMEOUT_S)
        assert caught.value.log.strip()
        endpoint = platform.endpoint(ENDPOINT)
        assert endpoint is not None
        failed = endpoint.deployment("version-2")
        assert failed is not None
        assert failed.state == "failed"
        assert endpoint.traffic["version-1"] == 100
        assert not platform.probe(ENDPOINT, "version-2").good
        assert platform.probe(ENDPOINT).good
        checked = ask(platform, EndpointTasks(check=True))
        probes = checked.probes[ENDPOINT]
        assert {name: one.good for name, one in probes.items()} == {
            "version-1": True, "version-2": False,
        }  # fmt: skip
        with pytest.raises(PlatformError, match=f"1 of 1 .*{ENDPOINT}: version-2: "):
            checked.raise_for_failed_checks()
        platform.delete_deployment(ENDPOINT, "version-2")
        platform.delete_deployment(ENDPOINT, "version-2")
        endpoint = platform.endpoint(ENDPOINT)
        assert endpoint is not None
        assert endpoint.deployment("version-2") is None

    def test_a_deployment_made_twice_is_there_once_and_keeps_its_traffic(
        self, ready: World
    ) -> None:
        ready.platform.create_deployment(ENDPOINT, spec_of("1"), timeout_s=TIMEOUT_S)
        endpoint = ready.platform.endpoint(ENDPOINT)
        assert endpoint is not None
        assert endpoint.traffic == {"version-1": 100}
        assert ready.platform.probe(ENDPOINT).good

    def test_a_rotated_key_is_another_and_works(self, ready: World) -> None:
        platform = ready.platform
        old = platform.key(ENDPOINT)
        new = platform.rotate_key(ENDPOINT)
        assert new != old
        assert ready.reopen().key(ENDPOINT) == new
        assert platform.probe(ENDPOINT).good
        assert new.get_secret_value() not in repr(new)

    def test_logs_are_text(self, ready: World) -> None:
        assert isinstance(ready.platform.logs(ENDPOINT, "version-1", lines=5), str)

    def test_a_lock_can_be_taken_again_after_it_was_given_back(self, ready: World) -> None:
        for _ in range(2):
            with ready.platform.lock(ENDPOINT):
                assert ready.platform.endpoint(ENDPOINT) is not None

    def test_a_stopped_endpoint_comes_back_with_uri_key_and_traffic(self, ready: World) -> None:
        platform = ready.platform
        before, key = platform.endpoint(ENDPOINT), platform.key(ENDPOINT)
        if not isinstance(platform, Stoppable):
            for tasks in (EndpointTasks(stop=True), EndpointTasks(start=True)):
                with pytest.raises(UsageError, match="neither stopped nor started"):
                    ask(platform, tasks)
            assert platform.endpoint(ENDPOINT) == before
            return
        assert before is not None
        ask(platform, EndpointTasks(stop=True))
        assert not platform.stop(ENDPOINT)
        stopped = platform.endpoint(ENDPOINT)
        assert stopped is not None
        assert (stopped.state, stopped.uri, stopped.traffic) == (
            "stopped",
            before.uri,
            before.traffic,
        )
        assert not platform.probe(ENDPOINT).good
        ask(ready.reopen(), EndpointTasks(start=True))
        assert platform.endpoint(ENDPOINT) == before
        assert platform.key(ENDPOINT) == key
        assert platform.probe(ENDPOINT, "version-1").good

    def test_no_verb_touches_an_endpoint_of_another_model(
        self, ready: World, tmp_path: Path
    ) -> None:
        """However the two came to have one name: roles and traffic would be taken for ours."""
        platform, file = ready.platform, tmp_path / "file"
        platform.update_endpoint(ENDPOINT, tags={"guardian.model": "other"})
        before, key = platform.endpoint(ENDPOINT), platform.key(ENDPOINT)
        releases = Releases(platform, FakeReporter())
        [model] = choose_models(SECTIONS, MODEL)
        asked = [
            EndpointTasks(),
            EndpointTasks(check=True),
            EndpointTasks(show_keys=True),
            EndpointTasks(write_env=file),
            EndpointTasks(write_configmap=file),
            EndpointTasks(rotate_key=MODEL),
            EndpointTasks(stop=True),
            EndpointTasks(start=True),
        ]
        acts: list[Callable[[], object]] = [
            partial(deploy_model, releases, model, DeployRequest()),
            partial(releases.rollback, RollbackGoal(model)),
            partial(releases.history, model),
            *(partial(ask, platform, tasks) for tasks in asked),
        ]
        for act in acts:
            with pytest.raises(UsageError, match="belongs to the model other"):
                act()
        assert (platform.endpoint(ENDPOINT), platform.key(ENDPOINT)) == (before, key)
        assert not file.exists()
