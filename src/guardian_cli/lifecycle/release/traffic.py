"""Which roles and whole percents of traffic a deploy or a rollback leads to. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardian_cli.errors import UsageError
from guardian_cli.lifecycle.release.plan import TrafficShift
from guardian_cli.lifecycle.release.roles import (
    Roles,
    deployment_name,
    is_ours,
    read_roles,
    version_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardian_cli.lifecycle.platform import Deployment, Endpoint
    from guardian_cli.lifecycle.release.plan import DeployGoal, RollbackGoal

DEFAULT_TRAFFIC_PERCENT = 10


class NotDeployedError(UsageError):
    """The version that a rollback leads to is not deployed any more, or never was."""

    def __init__(self, model: str, version: str) -> None:
        super().__init__(
            f"version {version} of {model} is not deployed: a rollback makes no new deployment",
            hint=f"guardian deploy {model} --version {version} --promote",
        )
        self.version = version


def foreign_percent(endpoint: Endpoint | None) -> int:
    """Return the percent of traffic of the deployments that guardian did not make."""
    deployments = endpoint.deployments if endpoint else ()
    return sum(found.traffic for found in deployments if not is_ours(found))


def percent_of(endpoint: Endpoint, version: str | None) -> int:
    """Return the percent of the endpoint's traffic that a version of guardian's has."""
    ours = (found for found in endpoint.deployments if version and version_of(found) == version)
    return sum(found.traffic for found in ours)


def share_out(
    deployments: Sequence[Deployment], roles: Roles, challenger_percent: int
) -> dict[str, int]:
    """Return each deployment's percent: foreign ones keep theirs, the rest is for the roles.

    The challenger gets `challenger_percent` of the endpoint's whole traffic, as far as foreign
    deployments leave so much; the champion what remains, and every other version 0.
    """
    # Percents are of the endpoint's whole traffic, so that the number typed is the number shown,
    # whatever foreign deployments have.
    rest = 100 - sum(found.traffic for found in deployments if not is_ours(found))
    there = roles.among(version for version in map(version_of, deployments) if version)
    challenger = min(challenger_percent, rest)
    # Where only one of the two is deployed, it gets all that is left.
    if there.challenger is None or there.champion is None:
        challenger = 0 if there.champion else rest
    shares = {"champion": rest - challenger, "challenger": challenger}
    return {
        found.name: shares.get(roles.of(version_of(found)) or "", 0)
        if is_ours(found)
        else found.traffic
        for found in deployments
    }


def deploy_shift(endpoint: Endpoint, goal: DeployGoal, old: Roles) -> TrafficShift | None:
    """Return the change that makes `goal.version` champion or challenger; None where it is."""
    version, request = goal.version, goal.request
    if old.champion is None:
        roles = Roles(champion=version)
    elif request.promote:
        previous = old.previous if version == old.champion else old.champion
        roles = Roles(champion=version, previous=previous)
    elif version == old.champion:
        roles = old
    else:
        previous = old.previous if old.previous != version else None
        roles = Roles(champion=old.champion, challenger=version, previous=previous)

    challenger = old.challenger if version == old.champion else version
    percent = percent_of(endpoint, challenger) if challenger == old.challenger else 0
    if request.traffic_percent is not None and challenger == version:
        percent = request.traffic_percent
    elif not percent and version != old.champion:
        # Nobody asked for so much that the champion would have less than its challenger.
        percent = min(DEFAULT_TRAFFIC_PERCENT, (100 - foreign_percent(endpoint)) // 2)

    traffic = share_out(endpoint.deployments, roles, percent)
    if roles == old and traffic == endpoint.traffic:
        return None
    return TrafficShift(
        model=goal.model.name,
        roles=roles,
        old_traffic=endpoint.traffic,
        traffic=traffic,
        # The first version of all has nobody to be promoted over.
        action="promote" if request.promote and old.champion is not None else "deploy",
        source=old.champion if old.champion != version else old.challenger,
        target=version,
        why=request.why,
    )


def rollback_shift(endpoint: Endpoint, goal: RollbackGoal, old: Roles) -> TrafficShift | None:
    """Return the change back, or to `goal.to`; None where nothing changes.

    A live challenger is taken off first; without one the previous champion comes back.
    Raises UsageError where there is nothing to go back to, NotDeployedError where it is gone.
    """
    if old.champion is None:
        raise UsageError(
            f"{goal.model.endpoint} has no champion: nothing to roll back",
            hint=f"guardian deploy {goal.model.name}",
        )
    is_live = percent_of(endpoint, old.challenger) > 0
    if goal.to is not None:
        target = goal.to
        found = endpoint.deployment(deployment_name(target))
        if found is None or not is_ours(found):
            raise NotDeployedError(goal.model.name, target)
    elif is_live:
        target = old.champion
    elif old.previous is not None:
        target = old.previous
    else:
        # `old` has only what is deployed; the tag may name a previous champion that was deleted.
        deleted = read_roles(endpoint.tags).previous
        if deleted is not None:
            raise NotDeployedError(goal.model.name, deleted)
        raise UsageError(
            f"{goal.model.name} has no live challenger and no previous champion: nothing to roll "
            "back to",
            hint=f"guardian rollback {goal.model.name} --history",
        )
    # A live challenger loses its role with its traffic: the next rollback goes further back.
    challenger = None if is_live or target == old.challenger else old.challenger
    previous = old.previous if target == old.champion else old.champion
    roles = Roles(champion=target, challenger=challenger, previous=previous)
    traffic = share_out(endpoint.deployments, roles, 0)
    if roles == old and traffic == endpoint.traffic:
        return None
    return TrafficShift(
        model=goal.model.name,
        roles=roles,
        old_traffic=endpoint.traffic,
        traffic=traffic,
        action="rollback",
        source=old.challenger if is_live and target == old.champion else old.champion,
        target=target,
        why=goal.why,
        # With a version named the same command again is no undo: no tag is needed.
        pending=goal.to is None,
    )
