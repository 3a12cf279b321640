"""Which version a scan means, and that its files are fetched once and whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.lifecycle.model_files import find_version
from guardian_cli.lifecycle.platform import DeploymentSpec
from guardian_cli.lifecycle.release.roles import (
    MODEL_TAG,
    VERSION_TAG,
    Roles,
    deployment_name,
    write_roles,
)
from guardian_cli.settings import load_settings
from tests.lifecycle.fake_platform import FakePlatform, FakeRegistry, FakeWorld

if TYPE_CHECKING:
    from pathlib import Path

    from guardian_cli.detectors.base import ModelFiles

NAME = "nsfw-detector"


@dataclass
class CountingRegistry(FakeRegistry):
    """Counts what is fetched, and may die in the middle of it."""

    fetched: list[str] = field(default_factory=list)
    breaks: bool = False

    def fetch(self, model: str, version: str, destination: Path) -> None:
        self.fetched.append(version)
        super().fetch(model, version, destination)
        if self.breaks:
            raise KeyboardInterrupt


@pytest.fixture
def registry(tmp_path: Path) -> CountingRegistry:
    registry = CountingRegistry()
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "model.json").write_text(version)
        registry.register(NAME, tmp_path / version, {})
    return registry


def find(registry: FakeRegistry, named: str, tmp_path: Path, champion: str = "") -> ModelFiles:
    platform = FakePlatform(FakeWorld(registry=registry))
    if champion:
        endpoint = f"{NAME}-endpoint"
        platform.create_endpoint(endpoint, write_roles(Roles(champion=champion)))
        tags = {MODEL_TAG: NAME, VERSION_TAG: champion}
        spec = DeploymentSpec(deployment_name(champion), NAME, champion, "cpu", 1, tags)
        platform.create_deployment(endpoint, spec, timeout_s=1.0)
    settings = load_settings(environ={}, folder=tmp_path / "project")
    return find_version(named, settings, platform, cache=tmp_path / "cache")


def test_a_version_is_fetched_once(registry: CountingRegistry, tmp_path: Path) -> None:
    first = find(registry, f"{NAME}@1", tmp_path)
    assert (first.label, (first.folder / "model.json").read_text()) == (f"{NAME}@1", "1")
    assert find(registry, f"{NAME}@1", tmp_path) == first
    assert registry.fetched == ["1"]


def test_the_champion_is_called_by_its_number(registry: CountingRegistry, tmp_path: Path) -> None:
    found = find(registry, f"{NAME}@champion", tmp_path, champion="2")
    assert (found.label, (found.folder / "model.json").read_text()) == (f"{NAME}@2", "2")


def test_a_registry_made_anew_is_not_mistaken_for_the_old_one(
    registry: CountingRegistry, tmp_path: Path
) -> None:
    find(registry, f"{NAME}@1", tmp_path)
    anew = CountingRegistry()
    anew.register(NAME, tmp_path / "2", {})
    assert (find(anew, f"{NAME}@1", tmp_path).folder / "model.json").read_text() == "2"


def test_a_fetch_that_was_cut_off_leaves_nothing(
    registry: CountingRegistry, tmp_path: Path
) -> None:
    registry.breaks = True
    with pytest.raises(KeyboardInterrupt):
        find(registry, f"{NAME}@1", tmp_path)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("named", "says"),
    [
        (f"{NAME}@7", "has no version 7; there is 1, 2"),
        (f"{NAME}@champion", "has no champion: nothing of it is deployed"),
        (f"{NAME}@previous", "has no previous: nothing of it is deployed"),
        (NAME, "not MODEL@VERSION"),
        ("other@1", "guardian.yaml has no model 'other'"),
    ],
)
def test_what_is_not_there_is_said(
    registry: CountingRegistry, tmp_path: Path, named: str, says: str
) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        find(registry, named, tmp_path)
    assert caught.value.hint


def test_a_role_that_no_version_has_is_looked_up_where_it_would_stand(
    registry: CountingRegistry, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"has no challenger$") as caught:
        find(registry, f"{NAME}@challenger", tmp_path, champion="2")
    assert caught.value.hint == f"guardian endpoints {NAME}"


def test_a_cache_that_cannot_be_written_is_named(
    registry: CountingRegistry, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(PlatformError, match="can't be kept in"):
        find(registry, f"{NAME}@1", tmp_path)
