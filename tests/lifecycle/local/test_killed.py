"""kill -9 of real processes at every call of deploy, promote and rollback on the local platform."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from guardian_cli.lifecycle.local.platform import LocalPlatform
from guardian_cli.lifecycle.release.plan import rows_of
from guardian_cli.lifecycle.release.roles import PENDING_TAG
from tests.lifecycle.local.killed_guardian import ENDPOINT, MODEL

if TYPE_CHECKING:
    from guardian_cli.lifecycle.platform import Endpoint
    from tests.lifecycle.conftest import Templates

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).resolve().parents[3]


class Commands:
    """Runs commands in processes that die at a call."""

    def __init__(self, project: Path) -> None:
        paths = [str(REPOSITORY / "src"), str(REPOSITORY)]
        self._project = project
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.lifecycle.local.killed_guardian"],
            cwd=project,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, dies_at: int, action: str, version: str) -> int:
        """Run a command, and return what its process ended with: 0, or -9."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{dies_at} {action} {version}\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        assert code in {0, -signal.SIGKILL}
        return code

    def until_done(self, action: str, version: str) -> int:
        """Run a command, killed one call later each time, until it lives to its end; how often."""
        for dies_at in range(1, 60):
            code = self.run(dies_at, action, version)
            look(self._project)
            if code == 0:
                return dies_at
        raise AssertionError("it never ended")

    def close(self) -> None:
        self._process.communicate(timeout=60)


def look(project: Path) -> Endpoint | None:
    found = LocalPlatform(project).endpoint(ENDPOINT)
    if found is not None and found.deployments:
        assert sum(found.traffic.values()) in {0, 100}
        assert all(one.state == "ready" for one in found.deployments if one.traffic)
    return found


def told(project: Path) -> list[tuple[str | None, str | None, int]]:
    found = look(project)
    assert found is not None
    assert PENDING_TAG not in found.tags
    assert LocalPlatform(project).probe(ENDPOINT).good
    return [(row.version, row.role, row.traffic) for row in rows_of(found)]


@pytest.mark.timeout(900)
def test_killed_at_every_call_the_same_command_finishes_it(
    workspace: Path, templates: Templates
) -> None:
    platform = LocalPlatform(workspace)
    for _ in range(2):
        platform.registry.register(MODEL, templates.good_model, {})
    with contextlib.closing(Commands(workspace)) as commands:
        assert commands.until_done("deploy", "1") > 4
        assert told(workspace) == [("1", "champion", 100)]
        commands.until_done("deploy", "2")
        assert told(workspace) == [("1", "champion", 90), ("2", "challenger", 10)]
        commands.until_done("promote", "2")
        assert told(workspace) == [("1", "previous", 0), ("2", "champion", 100)]
        # A rollback that was killed before it changed anything is begun anew, one that was killed
        # after is finished: the one that lives to its end finds nothing but its own work.
        dies_at = 1
        while commands.run(dies_at, "rollback", "") != 0:
            found = look(workspace)
            assert found is not None
            if PENDING_TAG in found.tags:
                break
            assert found.traffic == {"version-1": 0, "version-2": 100}
            dies_at += 1
        commands.run(99, "rollback", "")
        assert told(workspace) == [("1", "champion", 100), ("2", "previous", 0)]
