from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from guardian_cli.config import ModelSection
from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.lifecycle.deploying import DeployRequest, deploy_model
from guardian_cli.lifecycle.endpoint_tasks import EndpointsResult, EndpointTasks, run_tasks
from guardian_cli.lifecycle.models import choose_models
from guardian_cli.lifecycle.releases import Releases
from tests.kubernetes import read_manifests
from tests.lifecycle.fake_platform import FakeClock, FakePlatform, FakeReporter

SECTIONS = {
    "nsfw-detector": ModelSection(category="nsfw"),
    "violence-detector": ModelSection(category="violence"),
}
NSFW_URI = "https://nsfw-detector-endpoint.example/score"
VIOLENCE_URI = "https://violence-detector-endpoint.example/score"


class Table:
    """A platform with some models deployed."""

    def __init__(self, *models: str) -> None:
        self.platform = FakePlatform()
        self.reporter = FakeReporter()
        releases = Releases(self.platform, FakeClock(), FakeReporter())
        for name in models:
            self.platform.registry.register(name, Path("good"), {})
            [model] = choose_models(SECTIONS, name)
            deploy_model(releases, model, DeployRequest())

    def run(self, tasks: EndpointTasks, model: str | None = None) -> EndpointsResult:
        return run_tasks(self.platform, self.reporter, SECTIONS, model, tasks)

    def everything_said(self) -> str:
        return "\n".join([*self.reporter.notes, *self.reporter.warnings])


@pytest.fixture
def both() -> Table:
    return Table("nsfw-detector", "violence-detector")


def test_endpoints_are_shown_and_missing_ones_named() -> None:
    table = Table("nsfw-detector")
    result = table.run(EndpointTasks())
    assert [(sight.model, sight.uri) for sight in result.sights] == [("nsfw-detector", NSFW_URI)]
    assert "guardian deploy violence-detector" in table.everything_said()
    with pytest.raises(PlatformError):
        table.run(EndpointTasks(), "violence-detector")


def test_the_environment_gets_a_key_for_each(both: Table, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"A=1 # mine\r\nMODEL_ENDPOINT_KEY=old\r\n")
    both.run(EndpointTasks(write_env=path))
    assert path.read_bytes().decode().splitlines() == [
        "A=1 # mine",
        "MODEL_ENDPOINT_KEY=old",
        f"NSFW_MODEL_ENDPOINT={NSFW_URI}",
        f"VIOLENCE_MODEL_ENDPOINT={VIOLENCE_URI}",
        "NSFW_MODEL_ENDPOINT_KEY=secret-key-1",
        "VIOLENCE_MODEL_ENDPOINT_KEY=secret-key-2",
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "secret" not in both.everything_said()


def test_one_key_for_all_is_written_where_it_serves_all(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("VIOLENCE_MODEL_ENDPOINT=https://elsewhere/score\nMODEL_ENDPOINT_KEY=old\n")
    table = Table("nsfw-detector")
    table.run(EndpointTasks(write_env=path))
    assert "MODEL_ENDPOINT_KEY=secret-key-1" in path.read_text().splitlines()
    assert "VIOLENCE_MODEL_ENDPOINT in" in table.reporter.warnings[0]
    before = path.stat()
    table.run(EndpointTasks(write_env=path))
    assert path.stat() == before


def test_the_same_category_twice_needs_a_model(tmp_path: Path) -> None:
    sections = {**SECTIONS, "violence-detector": ModelSection(category="nsfw")}
    table = Table("nsfw-detector", "violence-detector")
    tasks = EndpointTasks(write_env=tmp_path / ".env")
    with pytest.raises(UsageError, match="2 models have the category nsfw"):
        run_tasks(table.platform, table.reporter, sections, None, tasks)


def test_kubernetes_gets_uris_and_keys_apart(both: Table, tmp_path: Path) -> None:
    path = tmp_path / "guardian.yaml"
    both.run(EndpointTasks(write_configmap=path))
    config, secret = read_manifests(path)
    assert (config["kind"], config["metadata"]["name"]) == ("ConfigMap", "guardian-config")
    assert config["data"] == {
        "NSFW_MODEL_ENDPOINT": NSFW_URI,
        "VIOLENCE_MODEL_ENDPOINT": VIOLENCE_URI,
    }
    assert (secret["kind"], secret["metadata"]["name"]) == ("Secret", "guardian-secrets")
    assert secret["stringData"]["VIOLENCE_MODEL_ENDPOINT_KEY"] == "secret-key-2"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_dry_run_writes_rotates_and_stops_nothing(both: Table, tmp_path: Path) -> None:
    world = dict(both.platform.world.endpoints)
    tasks = EndpointTasks(
        write_env=tmp_path / ".env",
        write_configmap=tmp_path / "c.yaml",
        rotate_key="nsfw-detector",
        dry_run=True,
    )
    result = both.run(tasks)
    assert [step.split()[0] for step in result.plan] == ["replace", "set", "set"]
    assert "secret" not in repr(result)
    assert both.run(EndpointTasks(stop=True, dry_run=True)).plan == [
        "stop nsfw-detector-endpoint",
        "stop violence-detector-endpoint",
    ]
    assert list(tmp_path.iterdir()) == []
    assert both.platform.world.endpoints == world
    assert both.platform.world.keys["nsfw-detector-endpoint"] == "secret-key-1"


def test_a_check_that_fails_says_which(both: Table) -> None:
    both.run(EndpointTasks(check=True)).raise_for_failed_checks()
    both.platform.faults.sick = {"version-1": "HTTP 424"}
    result = both.run(EndpointTasks(check=True), "nsfw-detector")
    with pytest.raises(PlatformError, match=r"1 of 1 .* nsfw-detector-endpoint: HTTP 424"):
        result.raise_for_failed_checks()
    with pytest.raises(PlatformError, match="there is no endpoint"):
        Table().run(EndpointTasks(check=True))


def test_a_rotated_key_replaces_the_old_one_in_the_file(both: Table, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    both.run(EndpointTasks(write_env=path))
    both.run(EndpointTasks(write_env=path, rotate_key="nsfw-detector"))
    assert "NSFW_MODEL_ENDPOINT_KEY=secret-key-3" in path.read_text().splitlines()


def test_stop_ends_the_servers_and_can_be_said_twice(both: Table) -> None:
    both.run(EndpointTasks(stop=True), "nsfw-detector")
    result = both.run(EndpointTasks(stop=True))
    assert {sight.state for sight in result.sights} == {"stopped"}
    both.run(EndpointTasks(stop=True))
    assert "nothing was running" in both.everything_said()
    Table().run(EndpointTasks(stop=True), "nsfw-detector")


def test_keys_are_in_the_result_only_where_they_were_asked_for(both: Table) -> None:
    assert both.run(EndpointTasks()).keys == {}
    result = both.run(EndpointTasks(show_keys=True))
    assert result.keys["nsfw-detector-endpoint"] == "secret-key-1"
    assert "secret" not in repr(result)


def test_a_model_in_the_place_of_a_file_is_refused(both: Table) -> None:
    with pytest.raises(UsageError) as caught:
        both.run(EndpointTasks(write_env=Path("nsfw-detector")))
    assert caught.value.hint == "guardian endpoints nsfw-detector --write-env"


def test_a_platform_that_cannot_stop_says_so(both: Table) -> None:
    class Managed(FakePlatform):
        stop = None  # type: ignore[assignment]

    table = both
    table.platform = Managed(both.platform.world)
    table.platform.world.endpoints = {
        name: replace(found) for name, found in both.platform.world.endpoints.items()
    }
    with pytest.raises(UsageError, match="cannot be stopped"):
        table.run(EndpointTasks(stop=True))
