from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.lifecycle.deploy import deploy_all, deploy_model
from guardian_cli.lifecycle.models import Model
from guardian_cli.lifecycle.platform import ModelVersion
from guardian_cli.lifecycle.release.execute import Releases
from guardian_cli.lifecycle.release.metrics import VersionMetrics, find_concerns, read_metrics
from guardian_cli.lifecycle.release.plan import DeployRequest, RollbackGoal
from guardian_cli.reports.lifecycle import release_part
from guardian_cli.reports.schemas import load_schema
from tests.lifecycle.fake_platform import FakeClock, FakePlatform, FakeReporter

NSFW = Model("nsfw-detector", "nsfw", "nsfw-detector-endpoint", "Standard_DS3_v2", 1)
VIOLENCE = Model("violence-detector", "violence", "violence-detector-endpoint", "Small", 2)


@pytest.fixture
def releases() -> Releases:
    return Releases(FakePlatform(), FakeReporter(), clock=FakeClock())


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
    releases.rollback(RollbackGoal(NSFW))
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
    releases.rollback(RollbackGoal(NSFW))
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
        deploy_model(releases, NSFW, DeployRequest(allow_simulated=True))


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


REAL = {"data": "/films", "data_digest": "sha256:a"}


def test_a_simulated_version_takes_no_traffic_from_a_real_one(releases: Releases) -> None:
    register(releases, NSFW, **REAL)
    register(releases, NSFW, data="simulated")
    deploy_model(releases, NSFW, DeployRequest(version="1"))
    wanted = DeployRequest(version="2")
    for request in (
        wanted,
        replace(wanted, promote=True),
        replace(wanted, dry_run=True),
        replace(wanted, traffic_percent=50),
    ):
        with pytest.raises(UsageError, match="it takes no traffic from version 1") as told:
            deploy_model(releases, NSFW, request)
        assert "--version 2 --allow-simulated" in str(told.value.hint)
    before = releases.platform.endpoint(NSFW.endpoint)
    assert before is not None
    assert before.traffic == {"version-1": 100}
    shadow = deploy_model(releases, NSFW, DeployRequest(version="2", traffic_percent=0))
    assert {row.name: row.traffic for row in shadow.after} == {"version-1": 100, "version-2": 0}
    meant = DeployRequest(version="2", traffic_percent=30, allow_simulated=True)
    assert [row.traffic for row in deploy_model(releases, NSFW, meant).after] == [70, 30]
    # It has its share by now: the same again, and less of it, take nothing more.
    assert deploy_model(releases, NSFW, DeployRequest(version="2")).action == "none"
    less = deploy_model(releases, NSFW, DeployRequest(version="2", traffic_percent=20))
    assert [row.traffic for row in less.after] == [80, 20]


def test_simulated_beside_simulated_and_real_over_simulated_need_no_leave(
    releases: Releases,
) -> None:
    register(releases, NSFW, data="simulated")
    register(releases, NSFW, data="simulated")
    register(releases, NSFW, **REAL)
    for version in ("1", "2", "3"):
        deploy_model(releases, NSFW, DeployRequest(version=version, promote=True))
    with pytest.raises(UsageError, match="simulated"):
        deploy_model(releases, NSFW, DeployRequest(version="2"))


def test_numbers_stand_beside_the_champions_and_worse_ones_are_warned_of(
    releases: Releases,
) -> None:
    register(releases, NSFW, **REAL, auc="0.8", auc_low="0.7", auc_high="0.9", recall="0.5")
    register(releases, NSFW, data="/more", data_digest="sha256:b", auc="0.799", recall="0.6")
    first = deploy_model(releases, NSFW, DeployRequest(version="1"))
    assert [(one.version, one.auc, one.auc_low) for one in first.metrics] == [("1", 0.8, 0.7)]
    for dry_run in (True, False):
        second = deploy_model(releases, NSFW, DeployRequest(version="2", dry_run=dry_run))
        assert [one.version for one in second.metrics] == ["2", "1"]
        assert second.warnings == (said(releases).warnings[-1],)
        assert said(releases).warnings[-1] == (
            "nsfw-detector: version 2 is worse than the champion, version 1: AUC 0.799 against"
            " 0.800, measured on other data"
        )
        document = {"schema": "guardian.release/1", **release_part(second)}
        jsonschema.validate(document, load_schema("release"))
        assert [one["auc"] for one in document["figures"]] == [0.799, 0.8]
        assert document["warnings"] == list(second.warnings)


@pytest.mark.parametrize(
    ("new", "champion", "told"),
    [
        (VersionMetrics("2", auc=0.8), VersionMetrics("1", auc=0.8), 0),
        (VersionMetrics("2", auc=0.79999), VersionMetrics("1", auc=0.8), 1),
        (VersionMetrics("2", auc=0.9, recall=0.1), VersionMetrics("1", auc=0.8, recall=0.2), 1),
        (VersionMetrics("2", auc=0.9, recall=0.2), VersionMetrics("1", auc=0.8, recall=0.2), 0),
        (VersionMetrics("2", auc=0.1), None, 0),
        (VersionMetrics("2"), VersionMetrics("1", auc=0.8), 0),
        (VersionMetrics("2", auc=0.1), VersionMetrics("1"), 0),
        # On simulated data everything is easy: such a champion is no measure for a real version.
        (VersionMetrics("2", auc=0.7), VersionMetrics("1", simulated=True, auc=0.99), 0),
        (
            VersionMetrics("2", simulated=True, auc=0.7),
            VersionMetrics("1", simulated=True, auc=0.99),
            0,
        ),
        (VersionMetrics("2", auc=0.7, conclusion="not worth deploying"), None, 1),
        (
            VersionMetrics("2", auc=0.7, conclusion="not worth deploying"),
            VersionMetrics("1", auc=0.8),
            2,
        ),
    ],
)
def test_what_speaks_against_a_version(
    new: VersionMetrics, champion: VersionMetrics | None, told: int
) -> None:
    assert len(find_concerns(new, champion)) == told


def test_tags_that_make_no_sense_are_no_numbers() -> None:
    tags = {"auc": "good", "auc_low": "nan", "recall": "inf", "threshold": "0.5"}
    assert read_metrics(ModelVersion("m", "1", tags)) == VersionMetrics("1", threshold=0.5)
