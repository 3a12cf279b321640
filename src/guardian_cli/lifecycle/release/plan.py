"""A plan: steps in order, and what the endpoint looks like after each. Pure.

The planner advances an endpoint through its own steps, so what `--dry-run` shows as `after`
is what the steps themselves lead to.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from guardian_cli.lifecycle.platform import Deployment, DeploymentSpec, Endpoint
from guardian_cli.lifecycle.release.roles import (
    MODEL_TAG,
    PENDING_TAG,
    Pending,
    Role,
    Roles,
    read_roles,
    version_of,
    write_pending,
    write_roles,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardian_cli.lifecycle.release.figures import Figures


@dataclass(frozen=True, slots=True)
class CreateEndpoint:
    """Make the endpoint."""

    name: str
    model: str

    def describe(self) -> str:
        """Say it in a line."""
        return f"create endpoint {self.name}"


@dataclass(frozen=True, slots=True)
class StartEndpoint:
    """Bring a stopped endpoint back."""

    name: str

    def describe(self) -> str:
        """Say it in a line."""
        return f"start endpoint {self.name}"


@dataclass(frozen=True, slots=True)
class CreateDeployment:
    """Make a deployment, without traffic; `anew` replaces one that failed."""

    spec: DeploymentSpec
    anew: bool = False

    def describe(self) -> str:
        """Say it in a line."""
        spec = self.spec
        # Where nothing bills there is no instance type.
        size = f", {spec.instance_count} × {spec.instance_type}" if spec.instance_type else ""
        again = "replace failed" if self.anew else "create"
        return f"{again} deployment {spec.name} ({spec.model} {spec.version}{size})"


@dataclass(frozen=True, slots=True)
class ProbeDeployment:
    """Score a picture by one deployment alone, before it gets traffic."""

    name: str

    def describe(self) -> str:
        """Say it in a line."""
        return f"probe {self.name}"


@dataclass(frozen=True, slots=True)
class Shift:
    """Change traffic, roles and history in one operation.

    `pending` leaves a mark that `Settle` takes away: a rollback that was cut off between the
    two is then seen to be done, and not undone by the next one.
    """

    model: str
    roles: Roles
    old_traffic: Mapping[str, int]
    traffic: Mapping[str, int]
    action: str
    source: str | None
    target: str | None
    why: str | None = None
    pending: bool = False
    noted: bool = True

    def describe(self) -> str:
        """Say it in a line."""
        moves = [
            f"{name} {self.old_traffic.get(name, 0)}% → {percent}%"
            for name, percent in self.traffic.items()
            if percent != self.old_traffic.get(name, 0)
        ]
        return f"{self.action}: {', '.join(moves) or 'roles only, traffic stays'}"


@dataclass(frozen=True, slots=True)
class Settle:
    """Note that the rollback is finished."""

    def describe(self) -> str:
        """Say it in a line."""
        return "note that the rollback is finished"


@dataclass(frozen=True, slots=True)
class DeleteDeployment:
    """Remove a deployment that has neither role nor traffic."""

    name: str

    def describe(self) -> str:
        """Say it in a line."""
        return f"delete deployment {self.name}"


Step = (
    CreateEndpoint
    | StartEndpoint
    | CreateDeployment
    | ProbeDeployment
    | Shift
    | Settle
    | DeleteDeployment
)


@dataclass(frozen=True, slots=True)
class Row:
    """A deployment as reports show it."""

    name: str
    version: str | None
    role: Role | None
    traffic: int
    state: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done to one endpoint; no steps means that all is as it should be.

    `figures` are those of the version that is deployed, and of the champion beside it.
    """

    model: str
    endpoint: str
    action: str
    steps: tuple[Step, ...]
    before: tuple[Row, ...]
    after: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    figures: tuple[Figures, ...] = ()

    @property
    def settles(self) -> bool:
        """Whether a rollback's mark is what is left to take away in the end."""
        return bool(self.steps) and isinstance(self.steps[-1], Settle)

    @property
    def shift(self) -> Shift | None:
        """The last change of traffic in the plan."""
        return next((step for step in reversed(self.steps) if isinstance(step, Shift)), None)


def rows_of(endpoint: Endpoint | None) -> tuple[Row, ...]:
    """Return the deployments of an endpoint with their roles."""
    if endpoint is None:
        return ()
    roles = read_roles(endpoint.tags)
    return tuple(
        Row(
            found.name,
            version_of(found) or found.version,
            roles.of(version_of(found)),
            found.traffic,
            found.state,
        )
        for found in endpoint.deployments
    )


@dataclass
class Draft:
    """A plan in the making: each step that is added moves the endpoint on."""

    endpoint: Endpoint | None
    steps: list[Step] = field(default_factory=list)

    def add(self, step: Step) -> None:
        """Add a step."""
        self.steps.append(step)
        self.endpoint = advance(self.endpoint, step)


def advance(endpoint: Endpoint | None, step: Step) -> Endpoint | None:
    """Return the endpoint as it is after a step that went well."""
    if isinstance(step, CreateEndpoint):
        return Endpoint(step.name, "", "ready", tags={MODEL_TAG: step.model})
    if endpoint is None:
        return None
    match step:
        case StartEndpoint():
            started = tuple(
                replace(found, state="ready") if found.state == "stopped" else found
                for found in endpoint.deployments
            )
            return replace(endpoint, state="ready", deployments=started)
        case CreateDeployment(spec):
            return _with_deployment(endpoint, spec)
        case Shift():
            return _shifted(endpoint, step)
        case Settle():
            tags = {name: value for name, value in endpoint.tags.items() if name != PENDING_TAG}
            return replace(endpoint, tags=tags)
        case DeleteDeployment(name):
            kept = tuple(found for found in endpoint.deployments if found.name != name)
            return replace(endpoint, deployments=kept)
        case _:
            return endpoint


def _with_deployment(endpoint: Endpoint, spec: DeploymentSpec) -> Endpoint:
    old = endpoint.deployment(spec.name)
    made = Deployment(
        name=spec.name,
        traffic=old.traffic if old else 0,
        state="ready",
        model=spec.model,
        version=spec.version,
        instance_type=spec.instance_type,
        instance_count=spec.instance_count,
        tags=spec.tags,
    )
    if old is None:
        return replace(endpoint, deployments=(*endpoint.deployments, made))
    return replace(endpoint, deployments=_swap(endpoint.deployments, made))


def _swap(deployments: Sequence[Deployment], made: Deployment) -> tuple[Deployment, ...]:
    return tuple(made if found.name == made.name else found for found in deployments)


def _shifted(endpoint: Endpoint, step: Shift) -> Endpoint:
    shifted = tuple(
        replace(found, traffic=step.traffic.get(found.name, 0)) for found in endpoint.deployments
    )
    pending = write_pending(Pending(step.roles, "")) if step.pending else {}
    tags = {**endpoint.tags, MODEL_TAG: step.model, **write_roles(step.roles), **pending}
    return replace(endpoint, deployments=shifted, tags=tags)
