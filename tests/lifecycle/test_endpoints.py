from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from guardian_cli.config import ModelSection
from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.lifecycle.deploy import deploy_model
from guardian_cli.lifecycle.endpoints import EndpointsResult, EndpointTasks, run_tasks
from guardian_cli.lifecycle.environment_file import variables_in
from guardian_cli.lifecycle.models import choose_models
from guardian_cli.lifecycle.release.execute import Releases
from guardian_cli.lifecycle.release.plan import DeployRequest, RollbackGoal
from guardian_cli.settings import EndpointSetting
from tests.kubernetes import read_manifests
from tests.lifecycle.fake_platform import FakeClock, FakePlatform, FakeReporter

SECTIONS = {
    "nsfw-detector": ModelSection(category="nsfw"),
    "violence-detector": ModelSection(category="violence"),
}
[NSFW] = choose_models(SECTIONS, "nsfw-detector")
NSFW_URI = "https://nsfw-detector-endpoint.example/score"
VIOLENCE_URI = "https://violence-detector-endpoint.example/score"


class Table:
    """A platform with some models deployed."""

    def __init__(self, *models: str) -> None:
        self.platform = FakePlatform()
        self.reporter = FakeReporter()
        self.releases = Releases(self.platform, FakeReporter(), clock=FakeClock())
        for name in models:
            self.platform.registry.register(name, Path("good"), {})
            [model] = choose_models(SECTIONS, name)
            deploy_model(self.releases, model, DeployRequest())

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
    assert [(one.model, one.uri, one.state) for one in result.endpoints] == [
        ("nsfw-detector", NSFW_URI, "ready"),
        ("violence-detector", "", "not deployed"),
    ]
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
        "NSFW_MODEL_ENDPOINT_KEY=secret-key-1",
        "NSFW_MODEL_ENDPOINT_KEY_FOR=https://nsfw-detector-endpoint.example:443",
        f"VIOLENCE_MODEL_ENDPOINT={VIOLENCE_URI}",
        "VIOLENCE_MODEL_ENDPOINT_KEY=secret-key-2",
        "VIOLENCE_MODEL_ENDPOINT_KEY_FOR=https://violence-detector-endpoint.example:443",
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "secret" not in both.everything_said()


def keys_in(path: Path) -> dict[str, str]:
    found = variables_in(path.read_bytes())
    return {name: value for name, value in found.items() if name.endswith("_KEY")}


def test_one_key_for_all_is_written_where_it_serves_all(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    table = Table("nsfw-detector")
    table.run(EndpointTasks(write_env=path))
    assert keys_in(path)["MODEL_ENDPOINT_KEY"] == "secret-key-1"
    before = path.stat()
    table.run(EndpointTasks(write_env=path))
    assert path.stat() == before


def test_one_key_for_all_is_not_lent_to_an_endpoint_of_somebody_else(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("VIOLENCE_MODEL_ENDPOINT=https://elsewhere/score\nMODEL_ENDPOINT_KEY=old\n")
    table = Table("nsfw-detector")
    table.run(EndpointTasks(write_env=path))
    assert keys_in(path) == {
        "MODEL_ENDPOINT_KEY": "old", "NSFW_MODEL_ENDPOINT_KEY": "secret-key-1",
    }  # fmt: skip
    elsewhere = {"violence": EndpointSetting("https://elsewhere/score", None)}
    for task in (EndpointTasks(write_env=tmp_path / "b"), EndpointTasks(write_configmap=path)):
        run_tasks(table.platform, table.reporter, SECTIONS, None, task, elsewhere)
    assert keys_in(tmp_path / "b") == {"NSFW_MODEL_ENDPOINT_KEY": "secret-key-1"}
    assert "  MODEL_ENDPOINT_KEY" not in path.read_text()


def test_one_key_for_all_is_taken_out_when_another_endpoint_comes(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# mine\n\nA=1\n")
    table = Table("nsfw-detector")
    table.run(EndpointTasks(write_env=path))
    with path.open("a") as file:
        file.write("VIOLENCE_MODEL_ENDPOINT=https://elsewhere/score\n\nB=2\n")
    table.run(EndpointTasks(write_env=path))
    assert keys_in(path) == {"NSFW_MODEL_ENDPOINT_KEY": "secret-key-1"}
    assert "VIOLENCE_MODEL_ENDPOINT in" in table.reporter.warnings[0]
    assert path.read_text().startswith("# mine\n\nA=1\nNSFW")
    assert path.read_text().endswith("\n\nB=2\n")


def test_keys_in_a_git_work_tree_are_warned_of(tmp_path: Path) -> None:
    table = Table("nsfw-detector")
    (tmp_path / ".git").mkdir()
    for task in (
        EndpointTasks(write_env=tmp_path / ".env"),
        EndpointTasks(write_configmap=tmp_path / "k8s.yaml"),
    ):
        table.run(task)
    warned = [one for one in table.reporter.warnings if "git does not ignore it" in one]
    assert [one.split()[0] for one in warned] == [
        str(tmp_path / ".env"),
        str(tmp_path / "k8s.yaml"),
    ]


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
    both.platform.registry.register("nsfw-detector", Path("good"), {})
    deploy_model(both.releases, NSFW, DeployRequest(traffic_percent=1))
    both.platform.faults.sick = {"version-2": "HTTP 424"}
    result = both.run(EndpointTasks(check=True))
    probes = result.probes["nsfw-detector-endpoint"]
    assert {name: probe.good for name, probe in probes.items()} == {
        "version-1": True, "version-2": False,
    }  # fmt: skip
    with pytest.raises(
        PlatformError, match=r"1 of 2 .* nsfw-detector-endpoint: version-2: HTTP 424"
    ) as caught:
        result.raise_for_failed_checks()
    assert caught.value.hint == "guardian rollback nsfw-detector"
    # The champion as well: a rollback would change nothing, as it probes first.
    both.platform.faults.sick["version-1"] = "no answer"
    with pytest.raises(PlatformError) as caught:
        both.run(EndpointTasks(check=True)).raise_for_failed_checks()
    assert caught.value.hint == "guardian endpoints nsfw-detector --start"
    both.platform.faults.sick = {"version-1": "no answer"}
    with pytest.raises(PlatformError) as caught:
        both.run(EndpointTasks(check=True), "nsfw-detector").raise_for_failed_checks()
    assert caught.value.hint == "guardian deploy nsfw-detector --version 2 --promote"
    both.run(EndpointTasks(stop=True))
    with pytest.raises(PlatformError, match="it is stopped") as caught:
        both.run(EndpointTasks(check=True)).raise_for_failed_checks()
    assert caught.value.hint == "guardian endpoints nsfw-detector --start"
    with pytest.raises(PlatformError, match="there is no endpoint"):
        Table().run(EndpointTasks(check=True))


def test_a_rotated_key_replaces_the_old_one_in_the_file(both: Table, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    both.run(EndpointTasks(write_env=path, env_file=path))
    both.run(EndpointTasks(write_env=path, env_file=path, rotate_key="nsfw-detector"))
    assert keys_in(path)["NSFW_MODEL_ENDPOINT_KEY"] == "secret-key-3"
    assert both.reporter.warnings == []


def test_a_file_that_has_the_old_key_is_named(both: Table, tmp_path: Path) -> None:
    path, other = tmp_path / ".env", tmp_path / "other.env"
    for one in (path, other):
        both.run(EndpointTasks(write_env=one))
    both.run(EndpointTasks(rotate_key="nsfw-detector", env_file=path))
    cure = "guardian endpoints nsfw-detector --write-env"
    assert both.reporter.warnings == [f"{path} has another key for nsfw-detector-endpoint: {cure}"]
    both.run(EndpointTasks(rotate_key="nsfw-detector", env_file=path, write_env=other))
    assert "nsfw-detector-endpoint" in both.reporter.warnings[1]
    assert len(both.reporter.warnings) == 2
    assert keys_in(other)["NSFW_MODEL_ENDPOINT_KEY"] == "secret-key-4"


def test_stop_ends_the_servers_and_can_be_said_twice(both: Table) -> None:
    both.run(EndpointTasks(stop=True), "nsfw-detector")
    result = both.run(EndpointTasks(stop=True))
    assert {one.state for one in result.endpoints} == {"stopped"}
    both.run(EndpointTasks(stop=True))
    assert "nothing was running" in both.everything_said()
    Table().run(EndpointTasks(stop=True), "nsfw-detector")


def test_start_brings_back_exactly_what_was(both: Table) -> None:
    for _ in range(2):
        both.platform.registry.register("nsfw-detector", Path("good"), {})
    deploy_model(both.releases, NSFW, DeployRequest(version="2", promote=True))
    both.releases.rollback(RollbackGoal(NSFW))
    world = both.platform.world
    before, keys = dict(world.endpoints), dict(world.keys)
    both.run(EndpointTasks(stop=True))
    assert "guardian endpoints nsfw-detector --start" in both.everything_said()
    assert both.run(EndpointTasks(start=True, dry_run=True)).plan == [
        "start nsfw-detector-endpoint", "start violence-detector-endpoint",
    ]  # fmt: skip
    both.run(EndpointTasks(start=True), "nsfw-detector")
    assert world.endpoints["violence-detector-endpoint"].state == "stopped"
    both.run(EndpointTasks(start=True))
    assert (world.endpoints, world.keys) == (before, keys)
    both.platform.calls.clear()
    both.run(EndpointTasks(start=True))
    assert "nothing was stopped" in both.everything_said()
    # A server that runs but hangs is not seen as stopped: the platform replaces it.
    assert both.platform.calls.count("start") == 2
    with pytest.raises(PlatformError, match="there is no endpoint"):
        Table().run(EndpointTasks(start=True))
    with pytest.raises(UsageError, match="--stop goes with none"):
        both.run(EndpointTasks(start=True, stop=True))


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
    for task in (EndpointTasks(stop=True), EndpointTasks(start=True)):
        with pytest.raises(UsageError, match="neither stopped nor started"):
            table.run(task)
