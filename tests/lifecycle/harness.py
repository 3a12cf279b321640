"""Deploys and rolls back on a platform in memory, for the tests of this room."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guardian_cli.lifecycle.models import Model
from guardian_cli.lifecycle.release.execute import Release, Releases
from guardian_cli.lifecycle.release.plan import DeployGoal, DeployRequest, RollbackGoal, rows_of
from tests.lifecycle.fake_platform import FakeClock, FakePlatform, FakeReporter

if TYPE_CHECKING:
    from guardian_cli.lifecycle.release.plan import Row

MODEL = "nsfw-detector"
ENDPOINT = "nsfw-detector-endpoint"
DETECTOR = Model(MODEL, "nsfw", ENDPOINT, "Standard_DS3_v2", 1)


@dataclass
class Harness:
    """A platform in memory, and the commands that change it."""

    platform: FakePlatform = field(default_factory=FakePlatform)
    clock: FakeClock = field(default_factory=FakeClock)
    reporter: FakeReporter = field(default_factory=FakeReporter)
    timeout_s: float = 60.0
    keep_failed: bool = False

    @property
    def releases(self) -> Releases:
        return Releases(
            self.platform, self.reporter, self.timeout_s, self.keep_failed, clock=self.clock
        )

    def deploy(
        self,
        version: int,
        *,
        traffic: int | None = None,
        promote: bool = False,
        prune: bool = False,
        dry_run: bool = False,
        why: str | None = None,
    ) -> Release:
        request = DeployRequest(str(version), traffic, promote, prune, why, dry_run)
        return self.releases.deploy(DeployGoal(DETECTOR, str(version), request))

    def rollback(
        self, to: int | None = None, *, why: str | None = None, dry_run: bool = False
    ) -> Release:
        goal = RollbackGoal(DETECTOR, str(to) if to else None, why)
        return self.releases.rollback(goal, dry_run=dry_run)

    def state(self) -> dict[str, tuple[str | None, int]]:
        """Role and traffic of each deployment."""
        return told(self.rows())

    def rows(self) -> tuple[Row, ...]:
        return rows_of(self.platform.world.endpoints.get(ENDPOINT))

    def history(self) -> list[tuple[str, str | None, str | None]]:
        return [(c.action, c.source, c.target) for c in self.releases.history(DETECTOR)]


def told(rows: tuple[Row, ...]) -> dict[str, tuple[str | None, int]]:
    return {row.name.removeprefix("version-"): (row.role, row.traffic) for row in rows}
