"""Deploy and rollback, as a user sees them, on a platform in memory."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.lifecycle.platform import (
    ChangedMeanwhileError,
    DeploymentFailedError,
    Endpoint,
    EndpointBusyError,
    NameTakenError,
    OperationTimeoutError,
)
from guardian_cli.lifecycle.release.plan import DeployGoal, RollbackGoal
from guardian_cli.lifecycle.release.roles import PENDING_TAG, Roles, write_pending
from tests.lifecycle.fake_platform import FakeCloud, FakePlatform
from tests.lifecycle.harness import DETECTOR, ENDPOINT, MODEL, Harness, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardian_cli.lifecycle.release.execute import Release


@pytest.fixture
def harness() -> Harness:
    return Harness()


def test_the_first_version_becomes_champion_with_everything(harness: Harness) -> None:
    release = harness.deploy(1, why="first")
    assert release.before == ()
    assert told(release.after) == {"1": ("champion", 100)}
    assert release.action == "deploy"
    assert harness.history() == [("deploy", None, "1")]
    probes = [call for call in harness.platform.calls if call in {"probe", "update_endpoint"}]
    assert probes == ["probe", "update_endpoint"]


def test_a_later_version_becomes_challenger_with_ten_percent(harness: Harness) -> None:
    harness.deploy(1)
    harness.deploy(2)
    assert harness.state() == {"1": ("champion", 90), "2": ("challenger", 10)}
    harness.deploy(2, traffic=30)
    assert harness.state() == {"1": ("champion", 70), "2": ("challenger", 30)}


def test_the_same_again_changes_nothing(harness: Harness) -> None:
    harness.deploy(1)
    assert harness.deploy(1).action == "none"
    harness.deploy(2, traffic=30)
    before = replace(harness.platform.world.endpoints[ENDPOINT])
    for release in (harness.deploy(2), harness.deploy(1), harness.deploy(2, traffic=30)):
        assert release.steps == ()
        assert release.before == release.after
    assert harness.platform.world.endpoints[ENDPOINT] == before
    assert any("nothing to do" in note for note in harness.reporter.notes)


def test_an_old_challenger_goes_to_zero_stays_and_bills(harness: Harness) -> None:
    harness.deploy(1)
    harness.deploy(2)
    release = harness.deploy(3)
    assert harness.state() == {"1": ("champion", 90), "2": (None, 0), "3": ("challenger", 10)}
    assert release.hints == (
        f"version-2 stays deployed at 0%; guardian deploy {MODEL} --version 1 --prune removes it",
    )
    pruned = harness.deploy(3, prune=True)
    assert pruned.hints == ()
    assert harness.state() == {"1": ("champion", 90), "3": ("challenger", 10)}


def test_promote_gives_everything_and_keeps_the_old_champion(harness: Harness) -> None:
    harness.deploy(1)
    harness.deploy(2)
    release = harness.deploy(2, promote=True, why="better")
    assert release.action == "promote"
    assert harness.state() == {"1": ("previous", 0), "2": ("champion", 100)}
    assert harness.history()[0] == ("promote", "1", "2")
    assert harness.deploy(2, promote=True).steps == ()
    harness.deploy(3, promote=True, prune=True)
    assert harness.state() == {"2": ("previous", 0), "3": ("champion", 100)}


def test_two_rollbacks_end_where_they_began(harness: Harness) -> None:
    harness.deploy(1)
    harness.deploy(2, promote=True)
    before = harness.state()
    harness.rollback(why="worse")
    assert harness.state() == {"1": ("champion", 100), "2": ("previous", 0)}
    harness.rollback()
    assert harness.state() == before
    assert harness.history()[:2] == [("rollback", "1", "2"), ("rollback", "2", "1")]


def test_a_live_challenger_is_what_a_rollback_takes_off_first(harness: Harness) -> None:
    harness.deploy(1)
    harness.deploy(2, promote=True)
    harness.deploy(3)
    harness.rollback()
    assert harness.state() == {"1": ("previous", 0), "2": ("champion", 100), "3": (None, 0)}
    assert harness.history()[0] == ("rollback", "3", "2")
    harness.rollback()
    assert harness.state() == {"1": ("champion", 100), "2": ("previous", 0), "3": (None, 0)}


def test_a_rollback_to_a_version_is_done_once(harness: Harness) -> None:
    for version in (1, 2, 3):
        harness.deploy(version, promote=True)
    harness.rollback(1)
    assert harness.state() == {"1": ("champion", 100), "2": (None, 0), "3": ("previous", 0)}
    assert harness.rollback(1).steps == ()


def test_a_rollback_to_what_is_not_deployed_names_the_deploy_that_would_do_it(
    harness: Harness,
) -> None:
    harness.deploy(1)
    harness.deploy(2, promote=True)
    for _ in range(2):
        harness.platform.registry.register(MODEL, Path("good"), {})
    harness.platform.delete_deployment(ENDPOINT, "version-1")
    with pytest.raises(UsageError) as caught:
        harness.rollback(1)
    assert caught.value.hint == f"guardian deploy {MODEL} --version 1 --promote"
    with pytest.raises(UsageError) as caught:
        harness.rollback()
    assert caught.value.hint == f"guardian deploy {MODEL} --version 1 --promote"


def test_a_version_that_never_was_is_not_to_be_promoted(harness: Harness) -> None:
    harness.deploy(1)
    with pytest.raises(UsageError, match="no version '7'") as caught:
        harness.rollback(7)
    assert caught.value.hint == f"guardian rollback {MODEL} --history"


def test_there_must_be_something_to_roll_back(harness: Harness) -> None:
    with pytest.raises(PlatformError):
        harness.rollback()
    harness.deploy(1)
    with pytest.raises(UsageError, match="nothing to roll back to"):
        harness.rollback()


def test_a_rollback_probes_its_target_first_and_changes_nothing_if_that_fails(
    harness: Harness,
) -> None:
    harness.deploy(1)
    harness.deploy(2, promote=True)
    before = harness.platform.world.endpoints[ENDPOINT]
    harness.platform.faults.sick = {"version-1": "HTTP 424"}
    with pytest.raises(PlatformError, match="HTTP 424"):
        harness.rollback()
    assert harness.platform.world.endpoints[ENDPOINT] == before


def test_a_deployment_that_fails_leaves_traffic_shows_its_log_and_is_removed(
    harness: Harness,
) -> None:
    harness.deploy(1)
    before = harness.platform.world.endpoints[ENDPOINT]
    harness.platform.faults.failing = {"version-2": "ModuleNotFoundError: torch"}
    with pytest.raises(DeploymentFailedError):
        harness.deploy(2, promote=True)
    assert harness.reporter.quotes == [("log of version-2", "ModuleNotFoundError: torch")]
    assert harness.platform.world.endpoints[ENDPOINT] == before


def test_keep_failed_keeps_it_and_the_next_deploy_replaces_it(harness: Harness) -> None:
    harness.deploy(1)
    harness.keep_failed = True
    harness.platform.faults.failing = {"version-2": "no disk"}
    with pytest.raises(DeploymentFailedError):
        harness.deploy(2)
    assert harness.state() == {"1": ("champion", 100), "2": (None, 0)}
    harness.platform.faults.failing = {}
    release = harness.deploy(2)
    assert release.steps[0].startswith("replace failed deployment version-2")
    assert harness.state() == {"1": ("champion", 90), "2": ("challenger", 10)}


def test_a_deployment_that_answers_badly_gets_no_traffic(harness: Harness) -> None:
    harness.deploy(1)
    harness.platform.faults.sick = {"version-2": "a score is NaN"}
    with pytest.raises(PlatformError, match="a score is NaN"):
        harness.deploy(2)
    assert harness.state() == {"1": ("champion", 100)}
    assert harness.reporter.quotes[0][0] == "log of version-2"


def test_a_probe_that_comes_too_early_is_tried_again(harness: Harness) -> None:
    harness.platform.faults.sick = {"version-1": "HTTP 404"}
    harness.platform.faults.sick_probes = 2
    harness.deploy(1)
    assert harness.state() == {"1": ("champion", 100)}
    assert len(harness.clock.slept_s) == 2


def test_a_busy_endpoint_is_waited_for(harness: Harness) -> None:
    harness.platform.faults.busy_calls = 4
    harness.deploy(1)
    assert harness.state() == {"1": ("champion", 100)}
    assert sum("waiting up to 60 s" in note for note in harness.reporter.notes) == 1


def test_an_endpoint_that_stays_busy_is_left_alone_in_the_end(harness: Harness) -> None:
    harness.deploy(1)
    harness.platform.faults.busy_calls = 10_000
    with pytest.raises(OperationTimeoutError, match="waited 60 s"):
        harness.deploy(2)
    assert 59 < harness.clock.passed_s < 61


def test_another_guardian_at_work_is_waited_for(harness: Harness) -> None:
    harness.platform.world.locked.add(ENDPOINT)
    with pytest.raises(OperationTimeoutError, match="another guardian"):
        harness.deploy(1)


def test_a_foreign_deployment_keeps_its_share(harness: Harness) -> None:
    harness.deploy(1)
    harness.platform.add_foreign(ENDPOINT, "blue", 40)
    harness.deploy(2)
    assert harness.state() == {"1": ("champion", 50), "2": ("challenger", 10), "blue": (None, 40)}
    assert harness.deploy(2).steps == ()
    harness.deploy(2, promote=True)
    assert harness.state() == {"1": ("previous", 0), "2": ("champion", 60), "blue": (None, 40)}
    harness.rollback()
    assert harness.state() == {"1": ("champion", 60), "2": ("previous", 0), "blue": (None, 40)}
    assert any("blue 40%" in note and "60%" in note for note in harness.reporter.notes)
    harness.deploy(1, prune=True)
    assert "blue" in harness.state()


def test_ten_percent_are_ten_of_the_whole_endpoint(harness: Harness) -> None:
    harness.deploy(1)
    harness.platform.add_foreign(ENDPOINT, "blue", 20)
    harness.deploy(2, traffic=10)
    assert harness.state() == {"1": ("champion", 70), "2": ("challenger", 10), "blue": (None, 20)}
    harness.deploy(2, promote=True)
    assert harness.state() == {"1": ("previous", 0), "2": ("champion", 80), "blue": (None, 20)}
    harness.rollback()
    assert harness.state() == {"1": ("champion", 80), "2": ("previous", 0), "blue": (None, 20)}


def test_a_challenger_gets_no_more_than_foreign_deployments_leave(harness: Harness) -> None:
    harness.deploy(1)
    harness.platform.add_foreign(ENDPOINT, "blue", 90)
    with pytest.raises(UsageError, match="leave 10%") as caught:
        harness.deploy(2, traffic=30)
    assert caught.value.hint == f"guardian deploy {MODEL} --version 2 --traffic 10"
    harness.deploy(2)
    assert harness.state() == {"1": ("champion", 5), "2": ("challenger", 5), "blue": (None, 90)}


def test_a_foreign_deployment_of_the_same_name_stands_in_the_way(harness: Harness) -> None:
    harness.deploy(1)
    harness.platform.add_foreign(ENDPOINT, "version-2", 0)
    with pytest.raises(PlatformError, match="not made by guardian"):
        harness.deploy(2)


def test_foreign_tags_stay(harness: Harness) -> None:
    harness.deploy(1)
    harness.platform.update_endpoint(ENDPOINT, tags={"team": "trust"})
    harness.deploy(2, promote=True)
    harness.rollback()
    assert harness.platform.world.endpoints[ENDPOINT].tags["team"] == "trust"


def test_an_endpoint_of_another_model_is_refused(harness: Harness) -> None:
    harness.platform.create_endpoint(ENDPOINT, {"guardian.model": "other"})
    with pytest.raises(UsageError, match="belongs to the model other"):
        harness.deploy(1)


def test_a_stopped_endpoint_is_started_by_deploy_and_by_rollback(harness: Harness) -> None:
    harness.deploy(1)
    harness.deploy(2, promote=True)
    harness.platform.stop(ENDPOINT)
    assert harness.deploy(2).steps == (f"start endpoint {ENDPOINT}",)
    harness.platform.stop(ENDPOINT)
    harness.rollback()
    assert harness.state() == {"1": ("champion", 100), "2": ("previous", 0)}


def test_a_champion_that_failed_is_made_anew(harness: Harness) -> None:
    harness.deploy(1)
    endpoint = harness.platform.world.endpoints[ENDPOINT]
    broken = replace(endpoint.deployments[0], state="failed")
    harness.platform.world.endpoints[ENDPOINT] = replace(endpoint, deployments=(broken,))
    harness.deploy(2)
    assert [row.state for row in harness.rows()] == ["ready", "ready"]
    assert harness.state() == {"1": ("champion", 90), "2": ("challenger", 10)}


def test_a_champion_that_cannot_be_made_anew_is_no_obstacle_to_a_promotion(
    harness: Harness,
) -> None:
    harness.deploy(1)
    endpoint = harness.platform.world.endpoints[ENDPOINT]
    broken = replace(endpoint.deployments[0], state="failed")
    harness.platform.world.endpoints[ENDPOINT] = replace(endpoint, deployments=(broken,))
    harness.platform.faults.failing = {"version-1": "no disk"}
    harness.deploy(2, promote=True)
    assert harness.state() == {"1": ("previous", 0), "2": ("champion", 100)}


def test_a_percentage_for_the_champion_is_answered_with_a_note(harness: Harness) -> None:
    harness.deploy(1, traffic=30)
    assert harness.state() == {"1": ("champion", 100)}
    assert any("--traffic is for a challenger" in note for note in harness.reporter.notes)


def test_a_dry_run_changes_nothing_and_foretells_what_happens(harness: Harness) -> None:
    acts: list[Callable[..., Release]] = [
        partial(harness.deploy, 1),
        partial(harness.deploy, 2, traffic=25),
        partial(harness.deploy, 3, prune=True),
        partial(harness.deploy, 3, promote=True),
        partial(harness.rollback),
    ]
    for act in acts:
        world = dict(harness.platform.world.endpoints)
        foretold = act(dry_run=True)
        assert harness.platform.world.endpoints == world
        done = act()
        assert foretold == replace(done, dry_run=True)
        assert sorted(foretold.after, key=str) == sorted(done.after, key=str)


def test_a_change_by_somebody_else_in_the_middle_is_seen_before_traffic_moves(
    harness: Harness,
) -> None:
    harness.deploy(1)

    class Meddling(FakePlatform):
        def create_deployment(self, *args: object, **kwargs: object) -> None:
            FakePlatform.create_deployment(self, *args, **kwargs)  # type: ignore[arg-type]
            self.add_foreign(ENDPOINT, "blue", 20)

    harness.platform = Meddling(harness.platform.world)
    with pytest.raises(ChangedMeanwhileError, match="changed by somebody else"):
        harness.deploy(2)
    assert harness.state() == {"1": ("champion", 80), "2": (None, 0), "blue": (None, 20)}
    harness.platform = FakePlatform(harness.platform.world)
    harness.deploy(2)
    assert harness.state() == {"1": ("champion", 70), "2": ("challenger", 10), "blue": (None, 20)}


def test_a_change_in_the_last_moment_is_refused_and_not_overwritten(harness: Harness) -> None:
    """Two machines: the other's promotion ends while ours waits for the endpoint to be free."""
    for version in (1, 2):
        harness.deploy(version)

    class Late(FakePlatform):
        late = False

        def update_endpoint(self, name: str, **kwargs: object) -> Endpoint:
            if not self.late:
                self.late = True
                # Two machines have no lock in common.
                self.world.locked.clear()
                Harness(FakePlatform(self.world)).deploy(2, promote=True)
                raise EndpointBusyError("the other one's update runs")
            return FakePlatform.update_endpoint(self, name, **kwargs)  # type: ignore[arg-type]

    harness.platform = Late(harness.platform.world)
    with pytest.raises(ChangedMeanwhileError, match="nothing was overwritten"):
        harness.deploy(3, promote=True)
    assert harness.state() == {"1": ("previous", 0), "2": ("champion", 100), "3": (None, 0)}


def test_a_platform_that_bills_is_asked_first_and_its_price_is_told() -> None:
    harness = Harness(FakeCloud(free_instances=0))
    with pytest.raises(PlatformError, match="do not fit"):
        harness.deploy(1)
    assert harness.platform.world.endpoints == {}
    harness = Harness(FakeCloud())
    assert "1 × Standard_DS3_v2" in harness.deploy(1).steps[1]
    assert any("bills about $100 a month" in note for note in harness.reporter.notes)
    harness.deploy(2, promote=True)
    assert "and it still bills" in harness.deploy(3, promote=True).hints[0]


def test_where_nothing_bills_there_is_no_instance_type_and_no_price(harness: Harness) -> None:
    steps = [step for version in (1, 2, 3) for step in harness.deploy(version, promote=True).steps]
    hints = harness.deploy(3, promote=True).hints
    for line in (*steps, *hints, *harness.reporter.notes):
        assert not any(word in line for word in ("Standard", "bill", "$", "cost")), line
    assert hints


def test_no_wait_leaves_a_deployment_that_is_coming_up_and_the_next_command_goes_on() -> None:
    harness = Harness(FakeCloud())
    harness.deploy(1)
    goal = DeployGoal(DETECTOR, "2")
    release = replace(harness.releases, no_wait=True).deploy(goal)
    assert told(release.after) == {"1": ("champion", 100), "2": (None, 0)}
    assert any("the same command again goes on" in hint for hint in release.hints)
    endpoint = harness.platform.world.endpoints[ENDPOINT]
    ready = tuple(replace(found, state="ready") for found in endpoint.deployments)
    harness.platform.world.endpoints[ENDPOINT] = replace(endpoint, deployments=ready)
    harness.deploy(2)
    assert harness.state() == {"1": ("champion", 90), "2": ("challenger", 10)}


def test_no_wait_is_refused_where_nothing_goes_on_by_itself(harness: Harness) -> None:
    goal = DeployGoal(DETECTOR, "1")
    with pytest.raises(UsageError, match="--no-wait"):
        replace(harness.releases, no_wait=True).deploy(goal)
    assert harness.platform.world.endpoints == {}


def test_a_name_that_is_taken_comes_with_the_key_that_changes_it(harness: Harness) -> None:
    harness.platform.faults.taken.add(ENDPOINT)
    with pytest.raises(NameTakenError) as caught:
        harness.deploy(1)
    assert f"models.{MODEL}.endpoint_name" in (caught.value.hint or "")


def test_a_rollback_is_told_before_its_mark_is_taken_off(harness: Harness) -> None:
    """Whoever is killed before telling has not rolled back yet: the same again finishes it."""
    harness.deploy(1)
    harness.deploy(2, promote=True)
    goal = RollbackGoal(DETECTOR)
    endpoints = harness.platform.world.endpoints
    seen: list[tuple[Release, Endpoint]] = []
    harness.releases.rollback(goal, show=lambda one: seen.append((one, endpoints[ENDPOINT])))
    [(release, when_told)] = seen
    assert PENDING_TAG in when_told.tags
    assert PENDING_TAG not in endpoints[ENDPOINT].tags
    endpoints[ENDPOINT] = when_told
    assert harness.releases.rollback(goal).after == release.after
    assert harness.state() == {"1": ("champion", 100), "2": ("previous", 0)}


def test_a_deploy_finishes_a_rollback_that_was_cut_off_first(harness: Harness) -> None:
    harness.deploy(1)
    harness.deploy(2, promote=True)
    tag = write_pending(Roles(champion="1", previous="2"), "")
    harness.platform.update_endpoint(ENDPOINT, tags={**tag})
    harness.deploy(3)
    assert harness.state() == {
        "1": ("champion", 90), "2": ("previous", 0), "3": ("challenger", 10),
    }  # fmt: skip
    assert harness.history()[:2] == [("deploy", "1", "3"), ("rollback", "2", "1")]
    assert PENDING_TAG not in harness.platform.world.endpoints[ENDPOINT].tags


def test_a_rollback_that_cannot_be_told_is_finished_all_the_same(harness: Harness) -> None:
    harness.deploy(1)
    harness.deploy(2, promote=True)

    def refuse(_: Release) -> None:
        raise UsageError("stdout is closed")

    with pytest.raises(UsageError):
        harness.releases.rollback(RollbackGoal(DETECTOR), show=refuse)
    assert PENDING_TAG not in harness.platform.world.endpoints[ENDPOINT].tags
    assert harness.state() == {"1": ("champion", 100), "2": ("previous", 0)}
