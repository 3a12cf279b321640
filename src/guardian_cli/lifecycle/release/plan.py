"""A plan as data: what is wanted, the steps in order, and the endpoint after each of them. Pure.

The planner moves a copy of the endpoint on with every step, so what `--dry-run` shows as `after`
is what the steps themselves lead to.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from guardian_cli.lifecycle.platform import REQUEST_TIMEOUT_S, Deployment, DeploymentSpec, Endpoint
from guardian_cli.lifecycle.release.roles import (
    MODEL_TAG,
    PENDING_TAG,
    VERSION_TAG,
    Role,
    Roles,
    deployment_name,
    read_roles,
    version_of,
    write_pending,
    write_roles,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardian_cli.lifecycle.models import Model
    from guardian_cli.lifecycle.release.metrics import VersionMetrics


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """The options of `guardian deploy`; None where one was not given.

    Without `version` the newest is meant, without `traffic_percent` a challenger keeps what it
    has, and a new one gets 10.
    """

    version: str | None = None
    traffic_percent: int | None = None
    promote: bool = False
    prune: bool = False
    why: str | None = None
    dry_run: bool = False
    instance_type: str | None = None
    instance_count: int | None = None
    request_timeout_s: float = REQUEST_TIMEOUT_S
    allow_simulated: bool = False
    no_gate: bool = False


@dataclass(frozen=True, slots=True)
class DeployGoal:
    """The version of a model that is to be deployed, and how.

    `metrics` are what the registry knows, by version. `bills` is for platforms on which a
    deployment costs money and runs on an instance type. `gated` says that the version passed its
    gate against `gated_against`, None where there was no champion.
    """

    model: Model
    version: str
    request: DeployRequest = DeployRequest()
    metrics: Mapping[str, VersionMetrics] = field(default_factory=dict)
    bills: bool = False
    gated: bool = False
    gated_against: str | None = None

    def spec(self, version: str) -> DeploymentSpec:
        """Return the deployment of a version of this model."""
        model, request = self.model, self.request
        return DeploymentSpec(
            name=deployment_name(version),
            model=model.name,
            version=version,
            instance_type=(request.instance_type or model.instance_type) if self.bills else "",
            instance_count=request.instance_count or model.instance_count,
            tags={MODEL_TAG: model.name, VERSION_TAG: version},
            request_timeout_s=request.request_timeout_s,
        )


@dataclass(frozen=True, slots=True)
class RollbackGoal:
    """What a rollback is for. `to` None: back to where it was before the last change."""

    model: Model
    to: str | None = None
    why: str | None = None
    bills: bool = False


@dataclass(frozen=True, slots=True)
class CreateEndpoint:
    """Create the endpoint of a model."""

    name: str
    model: str


@dataclass(frozen=True, slots=True)
class StartEndpoint:
    """Start a stopped endpoint."""

    name: str


@dataclass(frozen=True, slots=True)
class CreateDeployment:
    """Create a deployment, or with `replaces_failed` create it again. A new one has no traffic."""

    spec: DeploymentSpec
    replaces_failed: bool = False


@dataclass(frozen=True, slots=True)
class ProbeDeployment:
    """Score a picture by one deployment alone, before it gets traffic."""

    name: str


@dataclass(frozen=True, slots=True)
class TrafficShift:
    """Change traffic, roles and history in one operation, from one version to another."""

    model: str
    roles: Roles
    old_traffic: Mapping[str, int]
    traffic: Mapping[str, int]
    action: str
    source: str | None
    target: str | None
    why: str | None = None
    # Leaves a tag that `FinishRollback` removes. A rollback swaps champion and previous, so the
    # same command after one that was cut off would undo it, were it not known to be done.
    pending: bool = False
    in_history: bool = True


@dataclass(frozen=True, slots=True)
class FinishRollback:
    """Remove the tag that marks a rollback as unfinished."""


@dataclass(frozen=True, slots=True)
class DeleteDeployment:
    """Delete a deployment that has neither role nor traffic."""

    name: str


Step = (
    CreateEndpoint
    | StartEndpoint
    | CreateDeployment
    | ProbeDeployment
    | TrafficShift
    | FinishRollback
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
    """What is to be done to one endpoint; no steps means that all is as it should be.

    `metrics` are those of the version that is deployed, and of the champion beside it.
    """

    model: Model
    action: str
    steps: tuple[Step, ...]
    before: tuple[Row, ...]
    after: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    metrics: tuple[VersionMetrics, ...] = ()

    @property
    def finishes_rollback(self) -> bool:
        """Whether the last step removes the tag of an unfinished rollback."""
        return bool(self.steps) and isinstance(self.steps[-1], FinishRollback)


def rows_of(endpoint: Endpoint | None) -> tuple[Row, ...]:
    """Return the deployments of an endpoint with their roles."""
    roles = read_roles(endpoint.tags) if endpoint else Roles()
    return tuple(
        Row(
            found.name,
            version_of(found) or found.version,
            roles.of(version_of(found)),
            found.traffic,
            found.state,
        )
        for found in (endpoint.deployments if endpoint else ())
    )


def describe(step: Step) -> str:
    """Say in a line what a step does."""
    match step:
        case CreateEndpoint(name):
            return f"create endpoint {name}"
        case StartEndpoint(name):
            return f"start endpoint {name}"
        case CreateDeployment(spec, replaces_failed):
            # Where nothing bills there is no instance type: it would be a lie about this machine.
            size = f", {spec.instance_count} × {spec.instance_type}" if spec.instance_type else ""
            verb = "replace failed" if replaces_failed else "create"
            return f"{verb} deployment {spec.name} ({spec.model} {spec.version}{size})"
        case ProbeDeployment(name):
            return f"probe {name}"
        case TrafficShift():
            moves = [
                f"{name} {step.old_traffic.get(name, 0)}% → {percent}%"
                for name, percent in step.traffic.items()
                if percent != step.old_traffic.get(name, 0)
            ]
            return f"{step.action}: {', '.join(moves) or 'roles only, traffic stays'}"
        case FinishRollback():
            return "note that the rollback is finished"
        case DeleteDeployment(name):
            return f"delete deployment {name}"


def apply(endpoint: Endpoint, step: Step) -> Endpoint:
    """Return the endpoint as it is after a step that went well."""
    match step:
        case CreateEndpoint(name, model):
            return Endpoint(name, "", "ready", tags={MODEL_TAG: model})
        case StartEndpoint():
            started = (
                replace(found, state="ready") if found.state == "stopped" else found
                for found in endpoint.deployments
            )
            return replace(endpoint, state="ready", deployments=tuple(started))
        case CreateDeployment(spec):
            # One that is created again keeps its place and, as on every platform, its traffic.
            old = endpoint.deployment(spec.name)
            new = Deployment(
                name=spec.name,
                traffic=old.traffic if old else 0,
                state="ready",
                model=spec.model,
                version=spec.version,
                instance_type=spec.instance_type,
                instance_count=spec.instance_count,
                tags=spec.tags,
            )
            kept = [new if found is old else found for found in endpoint.deployments]
            return replace(endpoint, deployments=(*kept, *(() if old else (new,))))
        case TrafficShift():
            shifted = (
                replace(found, traffic=step.traffic.get(found.name, 0))
                for found in endpoint.deployments
            )
            # Without the time: the same plan must come out whenever it is made.
            pending = write_pending(step.roles, "") if step.pending else {}
            tags = {**endpoint.tags, MODEL_TAG: step.model, **write_roles(step.roles), **pending}
            return replace(endpoint, deployments=tuple(shifted), tags=tags)
        case FinishRollback():
            tags = {name: value for name, value in endpoint.tags.items() if name != PENDING_TAG}
            return replace(endpoint, tags=tags)
        case DeleteDeployment(name):
            others = (found for found in endpoint.deployments if found.name != name)
            return replace(endpoint, deployments=tuple(others))
        case ProbeDeployment():
            return endpoint
