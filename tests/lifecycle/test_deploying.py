from __future__ import annotations

from pathlib import Path

import pytest

from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.lifecycle.deploying import DeployRequest, deploy_all, deploy_model
from guardian_cli.lifecycle.models import Model
from guardian_cli.lifecycle.planning import RollbackGoal
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


def test_a_version_that_was_rolled_back_is_deployed_only_by_name(releases: Releases) -> None:
    for _ in range(2):
        register(releases, NSFW)
    for version in ("1", "2"):
        deploy_model(releases, NSFW, DeployRequest(version=version, promote=True))
    releases.rollback(RollbackGoal(NSFW.name, NSFW.endpoint))
    before = releases.platform.endpoint(NSFW.endpoint)
    with pytest.raises(UsageError, match="2, was rolled back") as caught:
        deploy_model(releases, NSFW, DeployRequest())
    assert (caught.value.hint or "").startswith("guardian deploy nsfw-detector --version 2")
    assert isinstance(releases.platform, FakePlatform)
    releases.platform.stop(NSFW.endpoint)
    with pytest.raises(UsageError) as caught:
        deploy_model(releases, NSFW, DeployRequest(promote=True))
    assert "guardian endpoints nsfw-detector --start" in (caught.value.hint or "")
    assert releases.platform.start(NSFW.endpoint) == before
    deploy_model(releases, NSFW, DeployRequest(version="2"))
    # Named once, it has a role again, and the same command without a name goes on.
    assert deploy_model(releases, NSFW, DeployRequest()).action == "none"


def test_a_challenger_that_was_taken_off_is_deployed_only_by_name(releases: Releases) -> None:
    for _ in range(2):
        register(releases, NSFW)
    for version in ("1", "2"):
        deploy_model(releases, NSFW, DeployRequest(version=version))
    releases.rollback(RollbackGoal(NSFW.name, NSFW.endpoint))
    with pytest.raises(UsageError, match="2, was rolled back"):
        deploy_model(releases, NSFW, DeployRequest())
    register(releases, NSFW)
    deploy_model(releases, NSFW, DeployRequest())


def test_a_version_that_is_worse_by_its_own_metrics_is_deployed_only_by_name(
    releases: Releases,
) -> None:
    register(releases, NSFW, auc="0.93")
    deploy_model(releases, NSFW, DeployRequest())
    register(releases, NSFW, auc="0.71")
    with pytest.raises(UsageError, match=r"AUC of 0\.710, the champion, 1, one of 0\.930"):
        deploy_model(releases, NSFW, DeployRequest())
    deploy_model(releases, NSFW, DeployRequest(version="2"))
    for tags in ({"auc": "0.94"}, {"auc": "nan"}, {"auc": ""}, {"auc": "0.1", "data": "simulated"}):
        register(releases, NSFW, **tags)
        deploy_model(releases, NSFW, DeployRequest())


def test_traffic_does_not_go_with_promote(releases: Releases) -> None:
    register(releases, NSFW)
    request = DeployRequest(promote=True, traffic_percent=10)
    for named in (True, False):
        with pytest.raises(UsageError, match="--traffic does not go with it"):
            deploy_all(releases, [NSFW], request, named=named)
    assert releases.platform.endpoint(NSFW.endpoint) is None


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
