"""What all parts of the stand-in share: the state, the lock, and how resources are found."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.azure_loopback.messages import refuse
from tests.azure_loopback.operations import OperationBook
from tests.azure_loopback.state import SIZES, Deployment, Endpoint, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.azure_loopback.blobs import BlobStore
    from tests.azure_loopback.routing import Call
    from tests.azure_loopback.runners import Container, Hosting, Runner


@dataclass
class Cloud:
    """One subscription. Whoever reads or changes it holds `lock`."""

    subscription: str
    location: str
    folder: Path
    blobs: BlobStore
    hosting: Hosting
    lock: threading.RLock = field(default_factory=threading.RLock)
    groups: dict[str, str] = field(default_factory=dict)
    workspaces: dict[str, Workspace] = field(default_factory=dict)
    providers: dict[str, str] = field(default_factory=dict)
    permissions: list[dict[str, Any]] = field(default_factory=list)
    # Cores by family: what others use, and the limit.
    used_cores: dict[str, int] = field(default_factory=dict)
    core_limits: dict[str, int] = field(default_factory=dict)
    taken_names: set[str] = field(default_factory=set)
    book: OperationBook = field(init=False)
    # Every runner that was ever started: none of them may outlive the stand-in.
    _started: list[Runner] = field(default_factory=list)
    _over: bool = False

    def __post_init__(self) -> None:
        path = (
            f"/subscriptions/{self.subscription}/providers/Microsoft.MachineLearningServices"
            f"/locations/{self.location}"
        )
        self.book = OperationBook(path, self.without_lock)

    def without_lock(self, action: Callable[[], None]) -> None:
        """Do something that takes time while others go on; the lock is held exactly once."""
        self.lock.release()
        try:
            action()
        finally:
            self.lock.acquire()

    def start(self, container: Container) -> Runner:
        """Run a container; it ends with the cloud at the latest."""
        runner = self.hosting.start(container)
        self._started.append(runner)
        if self._over:
            runner.stop()
        return runner

    def stop(self) -> None:
        """End all that was started, also what no deployment has any more."""
        self._over = True
        for runner in list(self._started):
            runner.stop()

    def find_workspace(self, call: Call) -> Workspace:
        """The workspace of a request; refuses as ARM does."""
        self.find_group(call)
        found = self.workspaces.get(call["workspace"].lower())
        if found is None or found.group.lower() != call["group"].lower():
            raise missing("workspaces/" + call["workspace"], call["group"])
        return found

    def find_group(self, call: Call) -> str:
        """The location of the resource group of a request; refuses as ARM does."""
        if call["subscription"].lower() != self.subscription:
            message = f"The subscription '{call['subscription']}' could not be found."
            raise refuse(404, "SubscriptionNotFound", message)
        for name, location in self.groups.items():
            if name.lower() == call["group"].lower():
                return location
        message = f"Resource group '{call['group']}' could not be found."
        raise refuse(404, "ResourceGroupNotFound", message)

    def find_endpoint(self, call: Call) -> Endpoint:
        """The endpoint of a request."""
        found = self.find_workspace(call).endpoints.get(call["endpoint"].lower())
        if found is None:
            raise refuse(404, "ResourceNotFound", f"Endpoint {call['endpoint']} was not found.")
        return found

    def find_deployment(self, call: Call) -> Deployment:
        """The deployment of a request."""
        found = self.find_endpoint(call).deployments.get(call["deployment"].lower())
        if found is None:
            message = f"Deployment {call['deployment']} was not found."
            raise refuse(404, "ResourceNotFound", message)
        return found

    def cores_in_use(self, family: str) -> int:
        """Cores of a family that are used, by others and by what is deployed here."""
        here = 0
        for workspace in self.workspaces.values():
            for endpoint in workspace.endpoints.values():
                for deployment in endpoint.deployments.values():
                    size = SIZES.get(deployment.instance_type.lower())
                    if size is not None and size.family == family:
                        here += size.cores * deployment.capacity
        return self.used_cores.get(family, 0) + here


def missing(resource: str, group: str) -> Exception:
    """ARM's answer for a resource that is not there."""
    kind = "Microsoft.MachineLearningServices/" + resource
    message = (
        f"The Resource '{kind}' under resource group '{group}' was not found. For more details "
        "please go to https://aka.ms/ARMResourceNotFoundFix"
    )
    return refuse(404, "ResourceNotFound", message)
