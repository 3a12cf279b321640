"""Which part of the stand-in answers for a method and a path."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.azure_loopback.faults import OperationPlan
from tests.azure_loopback.messages import refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.azure_loopback.messages import Request, Response

    Handler = Callable[["Call"], Response]

MACHINE_LEARNING = "providers/Microsoft.MachineLearningServices"
SUBSCRIPTION = "/subscriptions/{subscription}"
GROUP = SUBSCRIPTION + "/resourceGroups/{group}"
WORKSPACE = f"{GROUP}/{MACHINE_LEARNING}/workspaces/{{workspace}}"
LOCATION = f"{SUBSCRIPTION}/{MACHINE_LEARNING}/locations/{{location}}"


@dataclass(frozen=True)
class Call:
    """A request, the names in its path, and how the operation goes that it may begin."""

    request: Request
    names: dict[str, str] = field(default_factory=dict)
    plan: OperationPlan = field(default_factory=OperationPlan)

    def __getitem__(self, name: str) -> str:
        return self.names[name]

    @property
    def body(self) -> dict[str, Any]:
        """The body, a JSON object; {} when there is none. Refuses what is no JSON."""
        try:
            found = self.request.json
        except ValueError as error:
            raise refuse(
                400, "InvalidRequestContent", f"The content is no JSON: {error}"
            ) from error
        return found if isinstance(found, dict) else {}

    @property
    def query(self) -> dict[str, str]:
        """The query."""
        return dict(self.request.query)

    @property
    def path(self) -> str:
        """The path, which for ARM is the id of the resource."""
        return self.request.path


@dataclass(frozen=True)
class Route:
    """A method, and a path whose {names} are handed to the handler."""

    method: str
    pattern: re.Pattern[str]
    handler: Handler


class Router:
    """Routes in the order in which they were added. ARM does not care about the case of a path."""

    def __init__(self) -> None:
        self._routes: list[Route] = []

    def add(self, method: str, template: str, handler: Handler) -> None:
        """Add a route: `{name}` is one segment, `{name:path}` the rest."""
        pattern = re.sub(r"\{(\w+):path\}", r"(?P<\1>.+)", template)
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)
        self._routes.append(Route(method, re.compile(pattern, re.IGNORECASE), handler))

    def find(self, method: str, path: str) -> tuple[Handler, dict[str, str]] | None:
        """The handler and its names, or None."""
        for route in self._routes:
            if route.method == method and (found := route.pattern.fullmatch(path)):
                return route.handler, found.groupdict()
        return None
