"""Processes that work like guardian, and kill themselves with SIGKILL right after their Nth call.

`python -m tests.lifecycle.local.killed_guardian` reads lines `N deploy|promote|rollback VERSION`,
does each in a process of its own in the current folder, and writes what that one ended with.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardian_cli.lifecycle.local.platform import LocalPlatform
from guardian_cli.lifecycle.models import Model
from guardian_cli.lifecycle.release.execute import Releases
from guardian_cli.lifecycle.release.plan import DeployGoal, DeployRequest, RollbackGoal
from tests.lifecycle.fake_platform import FakeReporter

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardian_cli.lifecycle.release.execute import Release

MODEL = "nsfw-detector"
ENDPOINT = "nsfw-detector-endpoint"
CALLS = {
    "create_deployment", "create_endpoint", "delete_deployment", "endpoint", "lock", "probe",
    "start", "update_endpoint",
}  # fmt: skip


class MortalPlatform:
    """A platform whose process dies."""

    def __init__(self, platform: LocalPlatform, dies_at: int) -> None:
        self._platform = platform
        self._calls_left = dies_at

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._platform, name)
        return self._mortal(found) if name in CALLS else found

    def _mortal(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._calls_left -= 1
            answer = method(*args, **kwargs)
            if self._calls_left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return call


def act(releases: Releases, action: str, version: str) -> Release:
    """Do what the command of this name does."""
    model = Model(MODEL, "nsfw", ENDPOINT, "Standard_DS3_v2", 1)
    if action == "rollback":
        return releases.rollback(RollbackGoal(model))
    request = DeployRequest(promote=action == "promote", prune=True)
    return releases.deploy(DeployGoal(model, version, request))


if __name__ == "__main__":
    # Here once: that takes longer than all that is done with it.
    import_module("mlflow.store.tracking.sqlalchemy_store")
    for line in sys.stdin:
        dies_at, action, *version = line.split()
        process = os.fork()
        if process == 0:
            mortal: Any = MortalPlatform(LocalPlatform(Path()), int(dies_at))
            act(Releases(mortal, FakeReporter()), action, "".join(version))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
