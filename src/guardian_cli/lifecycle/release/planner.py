"""Which steps a deploy or a rollback takes from where the endpoint stands now. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.lifecycle.models import check_deployment_name
from guardian_cli.lifecycle.platform import ChangedMeanwhileError, Endpoint
from guardian_cli.lifecycle.release.metrics import find_concerns
from guardian_cli.lifecycle.release.plan import (
    CreateDeployment,
    CreateEndpoint,
    DeleteDeployment,
    FinishRollback,
    Plan,
    ProbeDeployment,
    StartEndpoint,
    TrafficShift,
    apply,
    rows_of,
)
from guardian_cli.lifecycle.release.roles import (
    deployment_name,
    is_ours,
    read_pending,
    read_roles,
    roles_on,
    version_of,
)
from guardian_cli.lifecycle.release.traffic import (
    deploy_shift,
    foreign_percent,
    rollback_shift,
    share_out,
)

if TYPE_CHECKING:
    from guardian_cli.lifecycle.platform import Deployment
    from guardian_cli.lifecycle.release.plan import DeployGoal, RollbackGoal, Step


class Draft:
    """A plan in the making: `endpoint` is what the steps so far lead to."""

    def __init__(self, endpoint: Endpoint | None, goal: DeployGoal | RollbackGoal) -> None:
        self.before = endpoint
        self.goal = goal
        self.endpoint = endpoint or Endpoint(goal.model.endpoint, "", "ready")
        self.steps: list[Step] = []
        # A failed endpoint is created again only while there is nothing on it to lose.
        if endpoint is None or (endpoint.state == "failed" and not endpoint.deployments):
            self.add(CreateEndpoint(goal.model.endpoint, goal.model.name))
        elif endpoint.state == "stopped":
            self.add(StartEndpoint(goal.model.endpoint))

    def add(self, step: Step) -> None:
        """Add a step, and move the endpoint on."""
        self.steps.append(step)
        self.endpoint = apply(self.endpoint, step)

    def idle_deployments(self) -> list[Deployment]:
        """Return guardian's deployments that have neither role nor traffic."""
        roles = roles_on(self.endpoint)
        return [
            found
            for found in self.endpoint.deployments
            if is_ours(found) and found.traffic == 0 and roles.of(version_of(found)) is None
        ]

    def finish_rollback(self) -> bool:
        """Add what an interrupted rollback still needs; whether there was one."""
        found = self.endpoint
        pending, roles = read_pending(found.tags), read_roles(found.tags)
        if pending is None:
            return False
        # Some platforms write tags before traffic: the tag may be there without what it stands for.
        traffic = share_out(found.deployments, pending, 0)
        deployed = {version_of(one) for one in found.deployments} - {None}
        if pending.champion in deployed and (roles != pending or traffic != found.traffic):
            self.add(
                TrafficShift(
                    model=self.goal.model.name,
                    roles=pending,
                    old_traffic=found.traffic,
                    traffic=traffic,
                    action="rollback",
                    source=roles.champion,
                    target=pending.champion,
                    # Roles and history are one operation: where the roles are, the history is.
                    in_history=roles != pending,
                )
            )
        self.add(FinishRollback())
        return True

    def to_plan(self, action: str, *notes: str) -> Plan:
        """Return the plan, with notes on foreign deployments and hints on idle ones."""
        model, bills = self.goal.model, ", and it still bills" if self.goal.bills else ""
        foreign = [found for found in self.endpoint.deployments if not is_ours(found)]
        if foreign:
            names = ", ".join(f"{found.name} {found.traffic}%" for found in foreign)
            left = 100 - foreign_percent(self.endpoint)
            kept = f"not made by guardian, kept as they are: {names}"
            notes = (f"{kept}; guardian divides the other {left}%", *notes)
        # The champion's version, because the newest may be the one that was rolled back.
        champion = roles_on(self.endpoint).champion
        prune = (
            f"guardian deploy {model.name}{f' --version {champion}' if champion else ''} --prune"
        )
        return Plan(
            model=model,
            action=action,
            steps=tuple(self.steps),
            before=rows_of(self.before),
            after=rows_of(self.endpoint),
            notes=notes,
            hints=tuple(
                f"{found.name} stays deployed at 0%{bills}; {prune} removes it"
                for found in self.idle_deployments()
            ),
        )


def plan_deploy(endpoint: Endpoint | None, goal: DeployGoal) -> Plan:
    """Plan so that `goal.version` is deployed, and champion or challenger.

    Raises PlatformError for a foreign deployment that has its name, UsageError for a share of the
    traffic that foreign deployments do not leave, or that a simulated version would take from a
    real one, ChangedMeanwhileError for a gate that was passed against another champion.
    """
    name = deployment_name(goal.version)
    check_deployment_name(name, goal.version)
    _check_room(endpoint, goal)
    draft = Draft(endpoint, goal)
    # The roles are read after it: they are those of before the rollback until it is finished.
    draft.finish_rollback()
    before = roles_on(draft.endpoint)
    # A gate takes minutes, in which somebody may have promoted another version.
    if goal.gated and before.champion not in {goal.gated_against, goal.version}:
        raise ChangedMeanwhileError(
            f"version {goal.version} passed its gate against version {goal.gated_against}, and"
            f" {before.champion} is the champion now: nothing was changed",
            hint=f"guardian deploy {goal.model.name} --version {goal.version} --promote",
        )
    # What failed while it had traffic is created again, unless a promotion takes that from it.
    for found in () if goal.request.promote else draft.endpoint.deployments:
        version = version_of(found)
        has_failed = found.state == "failed" and found.traffic > 0
        if has_failed and version and version != goal.version and before.of(version):
            draft.add(CreateDeployment(goal.spec(version), replaces_failed=True))
    own = draft.endpoint.deployment(name)
    if own is None or own.state == "failed":
        draft.add(CreateDeployment(goal.spec(goal.version), replaces_failed=own is not None))
    shift = deploy_shift(draft.endpoint, goal, before)
    if shift is not None:
        _check_simulated(draft.endpoint, goal, shift)
        draft.add(ProbeDeployment(name))
        draft.add(shift)
    # Last, when traffic has moved: what had it a step ago may be idle now.
    for found in draft.idle_deployments() if goal.request.prune else ():
        draft.add(DeleteDeployment(found.name))

    notes = []
    if goal.request.traffic_percent is not None and before.champion in {None, goal.version}:
        notes.append(f"--traffic is for a challenger: version {goal.version} is the champion")
    # A version is not compared with itself.
    champion = before.champion if before.champion != goal.version else None
    ours, theirs = goal.metrics.get(goal.version), goal.metrics.get(champion or "")
    plan = draft.to_plan("promote" if goal.request.promote else "deploy", *notes)
    if ours is None:
        return plan
    return replace(
        plan,
        warnings=tuple(f"{goal.model.name}: {concern}" for concern in find_concerns(ours, theirs)),
        metrics=(ours, theirs) if theirs else (ours,),
    )


def plan_rollback(endpoint: Endpoint | None, goal: RollbackGoal) -> Plan:
    """Plan the way back, or to `goal.to`.

    Raises PlatformError or UsageError when there is none, NotDeployedError where it was deleted.
    """
    if endpoint is None:
        raise PlatformError(
            f"{goal.model.name} has no endpoint {goal.model.endpoint}: nothing to roll back",
            hint=f"guardian deploy {goal.model.name}",
        )
    draft = Draft(endpoint, goal)
    was_interrupted = draft.finish_rollback()
    if was_interrupted and goal.to is None:
        note = "an interrupted rollback is finished, not repeated: run again for another one"
        return draft.to_plan("rollback", note)
    shift = rollback_shift(draft.endpoint, goal, roles_on(draft.endpoint))
    if shift is not None:
        draft.add(ProbeDeployment(deployment_name(shift.roles.champion or "")))
        draft.add(shift)
        if shift.pending:
            draft.add(FinishRollback())
    return draft.to_plan("rollback")


def _check_room(endpoint: Endpoint | None, goal: DeployGoal) -> None:
    """Check that foreign deployments leave the name, and the share of the traffic."""
    model, version, percent = goal.model, goal.version, goal.request.traffic_percent or 0
    left = 100 - foreign_percent(endpoint)
    if percent > left:
        raise UsageError(
            f"--traffic {percent}: deployments that guardian did not make leave {left}% of "
            f"{model.endpoint}",
            hint=f"guardian deploy {model.name} --version {version} --traffic {left}",
        )
    found = endpoint.deployment(deployment_name(version)) if endpoint else None
    if found is not None and not is_ours(found):
        raise PlatformError(
            f"{found.name} on {model.endpoint} was not made by guardian, and stands in the way",
            hint=f"remove or rename {found.name}, then: guardian deploy {model.name} "
            f"--version {version}",
        )


def _check_simulated(endpoint: Endpoint, goal: DeployGoal, shift: TrafficShift) -> None:
    """Let a version from simulated data take traffic from a real one only where that is meant."""
    model, name = goal.model.name, deployment_name(goal.version)
    ours = goal.metrics.get(goal.version)
    gains = shift.traffic.get(name, 0) > endpoint.traffic.get(name, 0)
    if ours is None or not ours.simulated or goal.request.allow_simulated or not gains:
        return
    for found in endpoint.deployments:
        version = version_of(found)
        theirs = goal.metrics.get(version or "")
        if version and found.traffic and not (theirs and theirs.simulated):
            raise UsageError(
                f"version {goal.version} of {model} was trained on simulated data: it takes no"
                f" traffic from version {version}, which was not",
                hint=f"guardian train {model} --data PATH, or if that is meant: guardian"
                f" deploy {model} --version {goal.version} --allow-simulated",
            )
