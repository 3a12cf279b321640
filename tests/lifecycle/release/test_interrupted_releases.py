"""kill -9 at every step, and random lives: the same command again finishes what was cut off."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from guardian_cli.errors import GuardianError
from guardian_cli.lifecycle.release.roles import PENDING_TAG, is_ours, read_roles, version_of
from tests.lifecycle.fake_platform import FakePlatform, FakeWorld, Faults, Killed
from tests.lifecycle.harness import ENDPOINT, Harness

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardian_cli.lifecycle.release.execute import Release


@dataclass(frozen=True)
class Scene:
    """What was there before, and the command that is killed."""

    name: str
    before: Callable[[Harness], object]
    command: Callable[[Harness], Release]


def nothing(harness: Harness) -> None:
    """A fresh project."""


def champion(harness: Harness) -> None:
    harness.deploy(1)


def canary(harness: Harness) -> None:
    harness.deploy(1)
    harness.deploy(2)


def promoted(harness: Harness) -> None:
    canary(harness)
    harness.deploy(2, promote=True)


def promoted_with_canary(harness: Harness) -> None:
    promoted(harness)
    harness.platform.add_foreign(ENDPOINT, "blue", 30)
    harness.deploy(3)


def stopped(harness: Harness) -> None:
    promoted(harness)
    harness.platform.stop(ENDPOINT)


SCENES = [
    Scene("first deploy", nothing, lambda harness: harness.deploy(1)),
    Scene("canary", champion, lambda harness: harness.deploy(2)),
    Scene("next canary, pruned", canary, lambda harness: harness.deploy(3, prune=True)),
    Scene("promote", canary, lambda harness: harness.deploy(2, promote=True)),
    Scene("promote at once", champion, lambda harness: harness.deploy(2, promote=True)),
    Scene("rollback", promoted, lambda harness: harness.rollback()),
    Scene("rollback of a canary", promoted_with_canary, lambda harness: harness.rollback()),
    Scene("rollback to", promoted_with_canary, lambda harness: harness.rollback(1)),
    Scene("heal and roll back", stopped, lambda harness: harness.rollback()),
]
DEATHS = [
    pytest.param(Faults(), id="before the effect"),
    pytest.param(Faults(kill_after_effect=True), id="after the effect"),
    pytest.param(Faults(torn=True), id="tags written, traffic not"),
]


def check(harness: Harness) -> None:
    """What holds at any moment: traffic sums, and goes only where something answers."""
    endpoint = harness.platform.world.endpoints.get(ENDPOINT)
    if endpoint is None or not endpoint.deployments:
        return
    assert sum(endpoint.traffic.values()) in {0, 100}
    assert all(d.state == "ready" for d in endpoint.deployments if d.traffic)
    deployed = {version_of(d) for d in endpoint.deployments if is_ours(d)}
    roles = read_roles(endpoint.tags)
    assert roles.champion is None or roles.champion in deployed


@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_killed_at_any_step_the_same_command_finishes_it(scene: Scene, death: Faults) -> None:
    start = Harness()
    scene.before(start)
    start.platform.calls.clear()
    whole = Harness(FakePlatform(copy.deepcopy(start.platform.world)))
    scene.command(whole)
    # A death after the last call has had its effect cannot be told from a command that ended.
    steps = len(whole.platform.calls) + (0 if death.kill_after_effect or death.torn else 1)
    for step in range(1, steps):
        faults = copy.copy(death)
        faults.kill_at = step
        cut = Harness(FakePlatform(copy.deepcopy(start.platform.world), faults))
        with pytest.raises(Killed):
            scene.command(cut)
        check(cut)
        # The system frees the lock of a process that died.
        cut.platform.world.locked.clear()
        again = Harness(FakePlatform(cut.platform.world))
        scene.command(again)
        check(again)
        assert again.state() == whole.state(), f"killed at {whole.platform.calls[step - 1]}"
        assert again.history()[-len(whole.history()) :] == whole.history() or death.torn
        assert PENDING_TAG not in again.platform.world.endpoints[ENDPOINT].tags


class Lives(RuleBasedStateMachine):
    """Deploys, promotions and rollbacks in any order, with failures and deaths among them."""

    @initialize()
    def begin(self) -> None:
        self.world = FakeWorld()

    def act(self, command: Callable[[Harness], Release], faults: Faults) -> None:
        harness = Harness(FakePlatform(self.world, faults))
        before = self.world.endpoints.get(ENDPOINT)
        try:
            command(harness)
        except Killed:
            self.world.locked.clear()
        except GuardianError:
            now = self.world.endpoints.get(ENDPOINT)
            told = {name: t for name, t in now.traffic.items() if t} if now else {}
            kept = {name: t for name, t in before.traffic.items() if t} if before else {}
            # A rollback that was cut off earlier may have been finished first.
            assert told == kept or (before is not None and PENDING_TAG in before.tags)

    @rule(
        version=st.integers(1, 4),
        promote=st.booleans(),
        prune=st.booleans(),
        traffic=st.none() | st.integers(0, 100),
        kill_at=st.none() | st.integers(1, 12),
        after=st.booleans(),
        fails=st.booleans(),
        sick=st.booleans(),
    )
    def deploy(
        self,
        version: int,
        promote: bool,
        prune: bool,
        traffic: int | None,
        kill_at: int | None,
        after: bool,
        fails: bool,
        sick: bool,
    ) -> None:
        faults = Faults(kill_at=kill_at, kill_after_effect=after, busy_calls=version % 2)
        faults.failing = {f"version-{version}": "log"} if fails else {}
        faults.sick = {f"version-{version}": "HTTP 500"} if sick else {}
        self.act(
            lambda harness: harness.deploy(version, promote=promote, prune=prune, traffic=traffic),
            faults,
        )

    @rule(
        to=st.none() | st.integers(1, 4),
        kill_at=st.none() | st.integers(1, 12),
        after=st.booleans(),
    )
    def rollback(self, to: int | None, kill_at: int | None, after: bool) -> None:
        self.act(
            lambda harness: harness.rollback(to), Faults(kill_at=kill_at, kill_after_effect=after)
        )

    @rule(percent=st.integers(0, 100))
    def somebody_adds_a_foreign_deployment(self, percent: int) -> None:
        endpoint = self.world.endpoints.get(ENDPOINT)
        if endpoint is None or endpoint.deployment("blue") or not sum(endpoint.traffic.values()):
            return
        FakePlatform(self.world).add_foreign(ENDPOINT, "blue", percent)

    @rule()
    def the_server_dies(self) -> None:
        if ENDPOINT in self.world.endpoints:
            FakePlatform(self.world).stop(ENDPOINT)

    @invariant()
    def traffic_sums_and_goes_where_something_answers(self) -> None:
        check(Harness(FakePlatform(self.world)))

    @invariant()
    def a_foreign_deployment_is_as_it_was(self) -> None:
        endpoint = self.world.endpoints.get(ENDPOINT)
        blue = endpoint.deployment("blue") if endpoint else None
        assert blue is None or (blue.model, blue.version, blue.state) == ("other", "7", "ready")


TestLives = Lives.TestCase
TestLives.settings = settings(
    max_examples=150,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
