from __future__ import annotations

from pathlib import Path

import pytest

from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.lifecycle.deploying import DeployRequest, deploy_all, deploy_model
from guardian_cli.lifecycle.models import Model
from guardian_cli.lifecycle.releases import Releases
from tests.lifecycle.fake_platform import FakeClock, FakePlatform, FakeReporter

NSFW = Model("nsfw-detector", "nsfw", "nsfw-detector-endpoint", "Standard_DS3_v2", 1)
VIOLENCE = Model("violence-detector", "violence", "violence-detector-endpoint", "Small", 2)


@pytest.fixture
def releases() -> Releases:
    return Releases(FakePlatform(), FakeClock(), FakeReporter())


def register(releases: Releases, model: Model, **tags: str) -> None:
    releases.platform.registry.register(model.name, Path("good"), tags)


def said(releases: Releases) -> FakeReporter:
    assert isinstance(releases.reporter, FakeReporter)
    return releases.reporter


def test_the_newest_version_is_deployed(releases: Releases) -> None:
    register(releases, NSFW)
    register(releases, NSFW)
    release = deploy_model(releases, NSFW, DeployRequest())
    assert [(row.name, row.role) for row in release.after] == [("version-2", "champion")]
    assert said(releases).warnings == []


def test_a_model_trained_on_simulated_data_is_warned_of(releases: Releases) -> None:
    register(releases, NSFW, data="simulated")
    deploy_model(releases, NSFW, DeployRequest())
    assert "simulated data" in said(releases).warnings[0]


def test_an_unknown_version_is_a_usage_error(releases: Releases) -> None:
    with pytest.raises(UsageError) as caught:
        deploy_model(releases, NSFW, DeployRequest())
    assert caught.value.hint == "guardian train nsfw-detector"
    register(releases, NSFW)
    with pytest.raises(UsageError, match="no version '7': there is 1"):
        deploy_model(releases, NSFW, DeployRequest(version="7"))


def test_all_models_that_have_a_version_are_deployed(releases: Releases) -> None:
    register(releases, NSFW)
    done, failure = deploy_all(releases, [NSFW, VIOLENCE], DeployRequest(), named=False)
    assert [release.model for release in done] == ["nsfw-detector"]
    assert failure is None
    assert any("guardian train violence-detector" in note for note in said(releases).notes)


def test_one_model_that_fails_does_not_stop_the_other(releases: Releases) -> None:
    register(releases, NSFW)
    register(releases, VIOLENCE)
    assert isinstance(releases.platform, FakePlatform)
    releases.platform.faults.taken = {NSFW.endpoint}
    done, failure = deploy_all(releases, [NSFW, VIOLENCE], DeployRequest(), named=False)
    assert [release.model for release in done] == ["violence-detector"]
    assert isinstance(failure, PlatformError)


def test_nothing_to_deploy_and_a_version_of_no_model_are_usage_errors(releases: Releases) -> None:
    with pytest.raises(UsageError, match="no model has a version"):
        deploy_all(releases, [NSFW, VIOLENCE], DeployRequest(), named=False)
    with pytest.raises(UsageError, match="needs a model"):
        deploy_all(releases, [NSFW, VIOLENCE], DeployRequest(version="1"), named=False)
