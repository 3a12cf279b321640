"""What can be told to go wrong, or to happen, at a given request."""

from __future__ import annotations

import json
import re
import threading
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tests.azure_loopback.messages import Request, Response, answer, error_document
from tests.azure_loopback.proxy import DroppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

When = Literal["before", "after"]

# What Azure writes; the status alone decides what the SDK raises.
CODES = {
    400: ("BadRequest", "The request is invalid."),
    401: ("InvalidAuthenticationToken", "The access token is invalid."),
    403: (
        "AuthorizationFailed",
        (
            "The client does not have authorization to perform action over scope, or the scope is "
            "invalid. If access was recently granted, please refresh your credentials."
        ),
    ),
    404: ("ResourceNotFound", "The resource was not found."),
    409: ("Conflict", "There was a conflict with another operation."),
    429: ("TooManyRequests", "The request is being throttled."),
    500: ("InternalServerError", "Received 500 from a service request."),
    503: ("ServerUnavailable", "The service is temporarily unavailable."),
}


@dataclass
class OperationPlan:
    """How the long operation goes that a request begins.

    polls: how many looks at its status are answered `Updating` (None: the default).
    error: `{"code": …, "message": …}` when it ends Failed; log: what a deployment printed then.
    """

    polls: int | None = None
    error: Mapping[str, Any] | None = None
    log: str = ""
    hold: Hold | None = None


class Hold:
    """A request or an operation that waits: `reached` is set when it is there."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.released = threading.Event()

    def wait_until_reached(self, seconds: float = 60) -> None:
        """Block until it is there; fails after a while."""
        assert self.reached.wait(seconds), "what should be held never came"

    def release(self) -> None:
        """Let it go on."""
        self.released.set()


@dataclass
class Fault:
    """One rule. `times` None: always; `skip`: how many matching requests go by first."""

    method: str
    pattern: re.Pattern[str]
    times: int | None = 1
    skip: int = 0
    response: Response | None = None
    drop: When | None = None
    action: Callable[[], object] | None = None
    when: When = "before"
    hold: Hold | None = None
    plan: OperationPlan | None = None
    twist: Callable[[Response], Response] | None = None
    hits: int = 0

    def fits(self, request: Request) -> bool:
        """Whether it is about this request."""
        return self.method in {"*", request.method} and bool(self.pattern.search(request.place))


@dataclass
class Faults:
    """The rules of one stand-in; patterns are regular expressions over `host/path`."""

    rules: list[Fault] = field(default_factory=list)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def add(
        self,
        method: str,
        pattern: str,
        *,
        status: int | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        drop: When | None = None,
        times: int | None = 1,
        skip: int = 0,
    ) -> Fault:
        """Answer with a status, or drop the connection before or after the request was obeyed."""
        response = None
        if status is not None:
            code, message = CODES.get(status, ("Error", "An error."))
            more = {"Retry-After": f"{retry_after:g}"} if retry_after is not None else {}
            document = error_document(code, message) if body is None else body
            response = answer(status, document, {**(headers or {}), **more})
        return self._keep(method, pattern, times=times, skip=skip, response=response, drop=drop)

    def call(
        self,
        method: str,
        pattern: str,
        action: Callable[[], object],
        *,
        when: When = "before",
        times: int | None = 1,
        skip: int = 0,
    ) -> Fault:
        """Let somebody else do something right before or after a request is obeyed."""
        return self._keep(method, pattern, times=times, skip=skip, action=action, when=when)

    def twist(
        self,
        method: str,
        pattern: str,
        twist: Callable[[Response], Response],
        *,
        times: int | None = None,
        skip: int = 0,
    ) -> Fault:
        """Answer in other words: what is sent is what `twist` makes of the answer."""
        return self._keep(method, pattern, times=times, skip=skip, twist=twist)

    def hold(self, method: str, pattern: str, *, times: int | None = 1, skip: int = 0) -> Hold:
        """Keep a request waiting, before it is obeyed, until it is released."""
        hold = Hold()
        self._keep(method, pattern, times=times, skip=skip, hold=hold)
        return hold

    def slow_operation(
        self, pattern: str, *, polls: int, method: str = "PUT", times: int | None = 1
    ) -> Fault:
        """The operation that a request begins ends only after so many looks at its status."""
        return self._keep(method, pattern, times=times, plan=OperationPlan(polls=polls))

    def hold_operation(self, pattern: str, *, method: str = "PUT", skip: int = 0) -> Hold:
        """The operation that a request begins stays `Updating` until it is released."""
        hold = Hold()
        self._keep(method, pattern, skip=skip, plan=OperationPlan(hold=hold))
        return hold

    def fail_operation(
        self,
        pattern: str,
        *,
        message: str = "Internal error. See https://aka.ms/oe-tsg#error-internalservererror",
        code: str = "InternalServerError",
        error: Mapping[str, Any] | None = None,
        method: str = "PUT",
        polls: int = 1,
        log: str = "",
        times: int | None = 1,
    ) -> Fault:
        """A request is accepted, and what it began ends Failed after so many polls.

        error: the whole of it, where a code and a message are not enough.
        """
        plan = OperationPlan(polls, error or {"code": code, "message": message}, log)
        return self._keep(method, pattern, times=times, plan=plan)

    def refuse_quota(
        self, pattern: str = "/deployments/[^/]+$", *, late: bool = False, polls: int = 1
    ) -> Fault:
        """A deployment is refused for want of cores: at once, or when its operation ends."""
        document = quota_refusal(
            "Not enough quota available for Standard_DS3_v2 in SubscriptionId "
            "00000000-0000-0000-0000-000000000000. Current usage/limit: 96/100. Additional needed: "
            "8 Please see troubleshooting guide, available here: "
            "https://aka.ms/oe-tsg#error-outofquota"
        )
        if late:
            return self.fail_operation(pattern, error=document["error"], polls=polls)
        return self.add("PUT", pattern, status=400, body=document)

    def remove(self, fault: Fault) -> None:
        """A rule is over."""
        with self._guard:
            self.rules.remove(fault)

    def clear(self) -> None:
        """All rules are over; what is held goes on."""
        with self._guard:
            rules, self.rules = self.rules, []
        for rule in rules:
            for hold in (rule.hold, rule.plan.hold if rule.plan is not None else None):
                if hold is not None:
                    hold.release()

    def _keep(self, method: str, pattern: str, **what: Any) -> Fault:
        fault = Fault(method, re.compile(pattern, re.IGNORECASE), **what)
        with self._guard:
            self.rules.append(fault)
        return fault

    def take(self, request: Request) -> list[Fault]:
        """The rules that are due at this request; each is used up by it."""
        due = []
        with self._guard:
            for rule in self.rules:
                if not rule.fits(request):
                    continue
                rule.hits += 1
                if rule.hits > rule.skip and (
                    rule.times is None or rule.hits <= rule.skip + rule.times
                ):
                    due.append(rule)
        return due


def quota_refusal(message: str) -> dict[str, Any]:
    """The nested body in which the service says that there are not enough cores."""
    errors = {
        "errors": {"VmSize": [message]},
        "type": "https://tools.ietf.org/html/rfc7231#section-6.5.1",
        "title": "One or more validation errors occurred.",
        "status": 400,
        "traceId": f"00-{uuid.uuid4().hex}-01",
    }
    inner = {
        "code": "InferencingClientCreateDeploymentFailed",
        "message": f"InferencingClient HttpRequest error, error detail: {json.dumps(errors)}",
    }
    return error_document("BadRequest", "The request is invalid.", [inner])


def obey_before(rules: list[Fault]) -> Response | None:
    """What happens before a request is obeyed; an answer when it is not obeyed at all."""
    for rule in rules:
        if rule.hold is not None:
            rule.hold.reached.set()
            rule.hold.released.wait(120)
        if rule.action is not None and rule.when == "before":
            rule.action()
        if rule.drop == "before":
            raise DroppedError
    return next((rule.response for rule in rules if rule.response is not None), None)


def obey_after(rules: list[Fault]) -> None:
    """What happens after a request was obeyed, before its answer is sent."""
    for rule in rules:
        if rule.action is not None and rule.when == "after":
            rule.action()
        if rule.drop == "after":
            raise DroppedError


def obey_last(rules: list[Fault], response: Response) -> Response:
    """The answer as it is sent, which need not be one of Azure's."""
    for rule in rules:
        if rule.twist is not None:
            response = rule.twist(response)
    return response


def plan_of(rules: list[Fault]) -> OperationPlan:
    """How the operation goes that this request may begin."""
    return next((rule.plan for rule in rules if rule.plan is not None), OperationPlan())
