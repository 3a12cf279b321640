"""Long operations: accepted at once, `Updating` for a while, and then Succeeded or Failed."""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.azure_loopback.messages import Response, answer, now, refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.azure_loopback.faults import OperationPlan
    from tests.azure_loopback.routing import Call

HOST = "https://management.azure.com"
# Nobody may be looking (--no-wait): then an operation ends by itself.
UNWATCHED_S = 0.2
# The client would wait 5 s, or 30 s, where it is not told.
QUICK_POLLING = {"retry-after-ms": "5"}


@dataclass
class Operation:
    """One operation. `effect` is applied once, when it ends well; `failure` when it does not."""

    id: str
    location: str
    version: str
    plan: OperationPlan
    effect: Callable[[], None]
    failure: Callable[[Mapping[str, Any]], None]
    work: Callable[[], Mapping[str, Any] | None] | None = None
    target: str = ""
    status: str = "Updating"
    error: Mapping[str, Any] | None = None
    started: str = field(default_factory=now)
    ended: str | None = None
    polls: int = 0
    begun: float = field(default_factory=time.monotonic)
    _worked: threading.Event = field(default_factory=threading.Event)

    def begin(self) -> None:
        """Start what takes time, in a thread of its own."""
        if self.plan.hold is not None:
            self.plan.hold.reached.set()
        if self.work is None or self.plan.error is not None:
            self._worked.set()
            return
        threading.Thread(target=self._do_work, args=(self.work,), daemon=True).start()

    def _do_work(self, work: Callable[[], Mapping[str, Any] | None]) -> None:
        # Whatever raises in there is a mistake of ours: the thread says so, nothing succeeds.
        self.error = {"code": "InternalServerError", "message": "the stand-in made a mistake"}
        try:
            self.error = work()
        finally:
            self._worked.set()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.status == "Updating"

    def due(self) -> bool:
        """Whether it may end now."""
        if self.plan.hold is not None and not self.plan.hold.released.is_set():
            return False
        if not self._worked.is_set():
            return False
        if self.plan.polls is not None:
            return self.polls > self.plan.polls
        return self.polls > 1 or time.monotonic() - self.begun > UNWATCHED_S

    def wait_for_work(self, seconds: float) -> None:
        """Block until what takes time is done."""
        self._worked.wait(seconds)

    def end(self) -> None:
        """Apply what it was for."""
        self.error = self.plan.error or self.error
        self.status, self.ended = ("Failed" if self.error else "Succeeded"), now()
        if self.error:
            self.failure(self.error)
        else:
            self.effect()

    def urls(self, location_path: str) -> tuple[str, str]:
        """Where its status and its result are."""
        base = f"{HOST}{location_path}"
        return (
            f"{base}/mfeOperationsStatus/{self.id}?api-version={self.version}",
            f"{base}/mfeOperationResults/{self.id}?api-version={self.version}",
        )

    def document(self, path: str) -> dict[str, Any]:
        """The body of its status."""
        ended = {} if self.running else {"endTime": self.ended}
        failed = {"error": dict(self.error)} if self.status == "Failed" and self.error else {}
        return {
            "id": path,
            "name": self.id,
            "startTime": self.started,
            **ended,
            "percentComplete": 0.0 if self.running else 100.0,
            "status": self.status,
            **failed,
        }


class OperationBook:
    """All operations of a stand-in. Everything here is called with the stand-in's lock held."""

    def __init__(self, location_path: str, unlocked: Callable[[Callable[[], None]], None]) -> None:
        self._path = location_path
        self._unlocked = unlocked
        self.operations: dict[str, Operation] = {}

    def begin(
        self,
        call: Call,
        effect: Callable[[], None],
        *,
        target: str,
        failure: Callable[[Mapping[str, Any]], None] = lambda _error: None,
        work: Callable[[], Mapping[str, Any] | None] | None = None,
    ) -> Operation:
        """Begin an operation on a target, which is the id of a resource."""
        operation = Operation(
            f"oe:{uuid.uuid4()}:{uuid.uuid4()}",
            self._path,
            call.query.get("api-version", ""),
            call.plan,
            effect,
            failure,
            work,
            target.lower(),
        )
        self.operations[operation.id] = operation
        operation.begin()
        return operation

    def headers(self, operation: Operation, location: str | None = None) -> dict[str, str]:
        """The headers of the answer that begins it; `location` is a resource's own address."""
        status, result = operation.urls(self._path)
        return {
            "Azure-AsyncOperation": status,
            "Location": location or result,
            "x-ms-async-operation-timeout": "PT30M",
            **QUICK_POLLING,
        }

    def settle(self) -> None:
        """End what is due."""
        for operation in self.operations.values():
            if operation.running and operation.due():
                operation.end()

    def running_on(self, target: str) -> list[Operation]:
        """What runs on a resource and on those below it."""
        prefix = target.lower()
        return [
            one
            for one in self.operations.values()
            if one.running and (one.target == prefix or one.target.startswith(prefix + "/"))
        ]

    def get_status(self, call: Call) -> Response:
        """GET mfeOperationsStatus."""
        found = self._find(call["operation"])
        found.polls += 1
        if found.plan.hold is None and found.running:
            # Answers come when there is something to say: a look costs no turn of the client.
            self._unlocked(lambda: found.wait_for_work(1.0))
        self.settle()
        return answer(200, found.document(call.path), QUICK_POLLING)

    def get_result(self, call: Call) -> Response:
        """GET mfeOperationResults."""
        found = self._find(call["operation"])
        self.settle()
        if found.running:
            status, result = found.urls(self._path)
            headers = {"Azure-AsyncOperation": status, "Location": result, **QUICK_POLLING}
            return answer(202, None, headers)
        return answer(204)

    def _find(self, name: str) -> Operation:
        found = self.operations.get(name)
        if found is None:
            raise refuse(404, "NotFound", f"Operation {name} was not found.")
        return found
