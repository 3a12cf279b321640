"""Which steps a deploy or a rollback takes from where the endpoint stands now. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.lifecycle.models import check_deployment_name
from guardian_cli.lifecycle.platform import REQUEST_TIMEOUT_S, DeploymentSpec
from guardian_cli.lifecycle.release.figures import find_faults
from guardian_cli.lifecycle.release.plan import (
    CreateDeployment,
    CreateEndpoint,
    DeleteDeployment,
    Draft,
    Plan,
    ProbeDeployment,
    Settle,
    Shift,
    StartEndpoint,
    rows_of,
)
from guardian_cli.lifecycle.release.roles import (
    MODEL_TAG,
    VERSION_TAG,
    Roles,
    deployment_name,
    is_ours,
    read_pending,
    read_roles,
    version_of,
)
from guardian_cli.lifecycle.release.traffic import foreign_share, percent_of, share_out

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardian_cli.lifecycle.platform import Deployment, Endpoint
    from guardian_cli.lifecycle.release.figures import Figures

DEFAULT_TRAFFIC_PERCENT = 10


@dataclass(frozen=True, slots=True)
class DeployGoal:
    """What a deploy is for. `traffic_percent` None: as it is, or 10 for a new challenger.

    `bills` is for platforms on which a deployment costs money and runs on an instance type;
    `figures` are what the registry knows, by version.
    """

    model: str
    endpoint: str
    version: str
    instance_type: str
    instance_count: int
    traffic_percent: int | None = None
    promote: bool = False
    prune: bool = False
    why: str | None = None
    request_timeout_s: float = REQUEST_TIMEOUT_S
    bills: bool = False
    figures: Mapping[str, Figures] = field(default_factory=dict)
    allow_simulated: bool = False

    def spec(self, version: str) -> DeploymentSpec:
        """The deployment of a version of this model."""
        return DeploymentSpec(
            name=deployment_name(version),
            model=self.model,
            version=version,
            instance_type=self.instance_type if self.bills else "",
            instance_count=self.instance_count,
            tags={MODEL_TAG: self.model, VERSION_TAG: version},
            request_timeout_s=self.request_timeout_s,
        )


@dataclass(frozen=True, slots=True)
class RollbackGoal:
    """What a rollback is for. `to` None: back to where it was before the last change."""

    model: str
    endpoint: str
    to: str | None = None
    why: str | None = None
    bills: bool = False


class NotDeployedError(UsageError):
    """The version that a rollback leads to is not deployed any more, or never was."""

    def __init__(self, model: str, version: str) -> None:
        super().__init__(
            f"version {version} of {model} is not deployed: a rollback makes no new deployment",
            hint=f"guardian deploy {model} --version {version} --promote",
        )
        self.version = version


def plan_deploy(endpoint: Endpoint | None, goal: DeployGoal) -> Plan:
    """Plan so that `goal.version` is deployed, and champion or challenger.

    Raises PlatformError for a foreign deployment that has its name, UsageError for a share of the
    traffic that foreign deployments do not leave, or that a simulated version would take from a
    real one.
    """
    check_deployment_name(deployment_name(goal.version), goal.version)
    _check_room(endpoint, goal)
    draft = Draft(endpoint)
    _wake(draft, goal.endpoint, goal.model)
    _finish(draft, goal.model)
    ready = draft.endpoint
    if ready is None:
        raise PlatformError(f"endpoint {goal.endpoint} could not be planned")
    before = roles_on(ready)
    _heal(draft, goal, before)
    _provide(draft, goal.spec(goal.version))
    shift = _deploy_shift(draft.endpoint or ready, goal, before)
    if shift is not None:
        _check_simulated(ready, goal, shift)
        draft.add(ProbeDeployment(deployment_name(goal.version)))
        draft.add(shift)
    for found in idle_deployments(draft.endpoint) if goal.prune else ():
        draft.add(DeleteDeployment(found.name))
    plan = _finished(endpoint, draft, goal, "promote" if goal.promote else "deploy")
    champion = before.champion if before.champion != goal.version else None
    ours, theirs = goal.figures.get(goal.version), goal.figures.get(champion or "")
    return replace(
        plan,
        notes=(*plan.notes, *_traffic_note(goal, before)),
        warnings=tuple(f"{goal.model}: {one}" for one in find_faults(ours, theirs)) if ours else (),
        figures=tuple(one for one in (ours, theirs) if one and ours),
    )


def plan_rollback(endpoint: Endpoint | None, goal: RollbackGoal) -> Plan:
    """Plan the way back, or to `goal.to`.

    Raises PlatformError or UsageError when there is none, NotDeployedError where it was deleted.
    """
    if endpoint is None:
        raise PlatformError(
            f"{goal.model} has no endpoint {goal.endpoint}: nothing to roll back",
            hint=f"guardian deploy {goal.model}",
        )
    draft = Draft(endpoint)
    _wake(draft, goal.endpoint, goal.model)
    was_pending = _finish(draft, goal.model)
    if was_pending and goal.to is None:
        plan = _finished(endpoint, draft, goal, "rollback")
        note = "an interrupted rollback is finished, not repeated: run again for another one"
        return replace(plan, notes=(note, *plan.notes))
    ready = draft.endpoint or endpoint
    shift = _rollback_shift(ready, goal, roles_on(ready))
    if shift is not None:
        draft.add(ProbeDeployment(deployment_name(shift.roles.champion or "")))
        draft.add(shift)
    if shift is not None and shift.pending:
        draft.add(Settle())
    return _finished(endpoint, draft, goal, "rollback")


def roles_on(endpoint: Endpoint) -> Roles:
    """The roles of the versions that are deployed by guardian."""
    versions = (version_of(found) for found in endpoint.deployments)
    return read_roles(endpoint.tags).among(version for version in versions if version)


def idle_deployments(endpoint: Endpoint | None) -> list[Deployment]:
    """Guardian's deployments that have neither role nor traffic."""
    if endpoint is None:
        return []
    roles = roles_on(endpoint)
    return [
        found
        for found in endpoint.deployments
        if is_ours(found) and found.traffic == 0 and roles.of(version_of(found)) is None
    ]


def _check_room(endpoint: Endpoint | None, goal: DeployGoal) -> None:
    """Check that foreign deployments leave a name and a share of the traffic."""
    found = endpoint.deployment(deployment_name(goal.version)) if endpoint else None
    left = 100 - foreign_share(endpoint)
    if (goal.traffic_percent or 0) > left:
        raise UsageError(
            f"--traffic {goal.traffic_percent}: deployments that guardian did not make leave "
            f"{left}% of {goal.endpoint}",
            hint=f"guardian deploy {goal.model} --version {goal.version} --traffic {left}",
        )
    if found is not None and not is_ours(found):
        raise PlatformError(
            f"{found.name} on {goal.endpoint} was not made by guardian, and stands in the way",
            hint=f"remove or rename {found.name}, then: guardian deploy {goal.model} "
            f"--version {goal.version}",
        )


def _check_simulated(endpoint: Endpoint, goal: DeployGoal, shift: Shift) -> None:
    """Let a version from simulated data take traffic from a real one only where that is meant."""
    name, ours = deployment_name(goal.version), goal.figures.get(goal.version)
    gains = shift.traffic.get(name, 0) > endpoint.traffic.get(name, 0)
    if ours is None or not ours.simulated or goal.allow_simulated or not gains:
        return
    for found in endpoint.deployments:
        version = version_of(found)
        known = goal.figures.get(version or "")
        if version and found.traffic and not (known and known.simulated):
            raise UsageError(
                f"version {goal.version} of {goal.model} was trained on simulated data: it takes no"
                f" traffic from version {version}, which was not",
                hint=f"guardian train {goal.model} --data PATH, or if that is meant: guardian"
                f" deploy {goal.model} --version {goal.version} --allow-simulated",
            )


def _wake(draft: Draft, name: str, model: str) -> None:
    found = draft.endpoint
    if found is None or (found.state == "failed" and not found.deployments):
        draft.add(CreateEndpoint(name, model))
    elif found.state == "stopped":
        draft.add(StartEndpoint(name))


def _finish(draft: Draft, model: str) -> bool:
    """Add what an interrupted rollback still needs; whether there was one."""
    found = draft.endpoint
    pending = read_pending(found.tags) if found else None
    if found is None or pending is None:
        return False
    traffic = share_out(found.deployments, pending.roles, 0)
    there = pending.roles.among(v for v in map(version_of, found.deployments) if v)
    if there.champion and (read_roles(found.tags) != pending.roles or traffic != found.traffic):
        draft.add(
            Shift(
                model, pending.roles, found.traffic, traffic, "rollback",
                source=read_roles(found.tags).champion, target=pending.roles.champion,
                noted=read_roles(found.tags) != pending.roles,
            )
        )  # fmt: skip
    draft.add(Settle())
    return True


def _heal(draft: Draft, goal: DeployGoal, roles: Roles) -> None:
    """Make anew what has traffic, failed, and is to keep its traffic."""
    if goal.promote:
        return
    for found in draft.endpoint.deployments if draft.endpoint else ():
        version = version_of(found)
        broken = found.state == "failed" and found.traffic > 0
        if broken and version and version != goal.version and roles.of(version):
            draft.add(CreateDeployment(goal.spec(version), anew=True))


def _provide(draft: Draft, spec: DeploymentSpec) -> None:
    found = draft.endpoint.deployment(spec.name) if draft.endpoint else None
    if found is None or found.state == "failed":
        draft.add(CreateDeployment(spec, anew=found is not None))


def _deploy_shift(endpoint: Endpoint, goal: DeployGoal, old: Roles) -> Shift | None:
    version = goal.version
    percent = _challenger_percent(endpoint, goal, old)
    if old.champion is None:
        roles = Roles(champion=version)
    elif goal.promote and version != old.champion:
        roles = Roles(champion=version, previous=old.champion)
    elif goal.promote:
        roles = Roles(champion=version, previous=old.previous)
    elif version == old.champion:
        roles = old
    else:
        previous = old.previous if old.previous != version else None
        roles = Roles(champion=old.champion, challenger=version, previous=previous)
    traffic = share_out(endpoint.deployments, roles, percent)
    if roles == old and traffic == endpoint.traffic:
        return None
    promoted = goal.promote and old.champion is not None
    return Shift(
        goal.model, roles, endpoint.traffic, traffic, "promote" if promoted else "deploy",
        source=_source(old, version), target=version, why=goal.why,
    )  # fmt: skip


def _source(old: Roles, version: str) -> str | None:
    return old.champion if old.champion != version else old.challenger


def _challenger_percent(endpoint: Endpoint, goal: DeployGoal, old: Roles) -> int:
    """The challenger's percent of the endpoint's traffic."""
    challenger = old.challenger if goal.version == old.champion else goal.version
    if goal.traffic_percent is not None and challenger == goal.version:
        return goal.traffic_percent
    now = percent_of(endpoint, challenger) if challenger == old.challenger else 0
    if now or goal.version == old.champion:
        return now
    # Nobody asked for so much that the champion would have less than its challenger.
    return min(DEFAULT_TRAFFIC_PERCENT, (100 - foreign_share(endpoint)) // 2)


def _rollback_shift(endpoint: Endpoint, goal: RollbackGoal, old: Roles) -> Shift | None:
    if old.champion is None:
        raise UsageError(
            f"{goal.endpoint} has no champion: nothing to roll back",
            hint=f"guardian deploy {goal.model}",
        )
    live = percent_of(endpoint, old.challenger) > 0
    target = _rollback_target(endpoint, goal, old, live=live)
    challenger = None if live or target == old.challenger else old.challenger
    if target == old.champion:
        roles = Roles(champion=target, challenger=challenger, previous=old.previous)
    else:
        roles = Roles(champion=target, challenger=challenger, previous=old.champion)
    traffic = share_out(endpoint.deployments, roles, 0)
    if roles == old and traffic == endpoint.traffic:
        return None
    return Shift(
        goal.model, roles, endpoint.traffic, traffic, "rollback",
        source=old.challenger if live and target == old.champion else old.champion,
        target=target, why=goal.why, pending=goal.to is None,
    )  # fmt: skip


def _rollback_target(endpoint: Endpoint, goal: RollbackGoal, old: Roles, *, live: bool) -> str:
    if goal.to is not None:
        found = endpoint.deployment(deployment_name(goal.to))
        if found is not None and is_ours(found):
            return goal.to
        raise NotDeployedError(goal.model, goal.to)
    if live and old.champion is not None:
        return old.champion
    if old.previous is not None:
        return old.previous
    gone = read_roles(endpoint.tags).previous
    if gone is not None:
        raise NotDeployedError(goal.model, gone)
    raise UsageError(
        f"{goal.model} has no live challenger and no previous champion: nothing to roll back to",
        hint=f"guardian rollback {goal.model} --history",
    )


def _idle_hint(found: Deployment, endpoint: Endpoint, goal: DeployGoal | RollbackGoal) -> str:
    bills = ", and it still bills" if goal.bills else ""
    # The champion's version, because what is newest may be what was rolled back.
    champion = roles_on(endpoint).champion
    version = f" --version {champion}" if champion else ""
    prune = f"guardian deploy {goal.model}{version} --prune"
    return f"{found.name} stays deployed at 0%{bills}; {prune} removes it"


def _finished(
    endpoint: Endpoint | None, draft: Draft, goal: DeployGoal | RollbackGoal, action: str
) -> Plan:
    return Plan(
        model=goal.model,
        endpoint=goal.endpoint,
        action=action,
        steps=tuple(draft.steps),
        before=rows_of(endpoint),
        after=rows_of(draft.endpoint),
        notes=_foreign_notes(draft.endpoint),
        hints=tuple(
            _idle_hint(one, draft.endpoint, goal)
            for one in idle_deployments(draft.endpoint)
            if draft.endpoint
        ),
    )


def _traffic_note(goal: DeployGoal, old: Roles) -> tuple[str, ...]:
    if goal.traffic_percent is None:
        return ()
    if old.champion not in {None, goal.version}:
        return ()
    return (f"--traffic is for a challenger: version {goal.version} is the champion",)


def _foreign_notes(endpoint: Endpoint | None) -> tuple[str, ...]:
    share = foreign_share(endpoint)
    foreign = [d for d in endpoint.deployments if not is_ours(d)] if endpoint else []
    if not foreign:
        return ()
    names = ", ".join(f"{found.name} {found.traffic}%" for found in foreign)
    kept = f"not made by guardian, kept as they are: {names}"
    return (f"{kept}; guardian divides the other {100 - share}%",)
