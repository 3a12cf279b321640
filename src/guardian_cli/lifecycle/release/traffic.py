"""Whole percent of traffic, of what guardian did not make and of what it did. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardian_cli.lifecycle.release.roles import is_ours, version_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardian_cli.lifecycle.platform import Deployment, Endpoint
    from guardian_cli.lifecycle.release.roles import Roles


def foreign_share(endpoint: Endpoint | None) -> int:
    """The percent that deployments have which guardian did not make."""
    if endpoint is None:
        return 0
    return sum(found.traffic for found in endpoint.deployments if not is_ours(found))


def share_out(
    deployments: Sequence[Deployment], roles: Roles, challenger_percent: int
) -> dict[str, int]:
    """Return each deployment's percent: foreign ones keep theirs, the rest is for the roles.

    The challenger gets `challenger_percent` of the endpoint's whole traffic, as far as foreign
    ones leave so much; the champion what remains, and every other deployment of guardian's 0.
    """
    rest = 100 - sum(found.traffic for found in deployments if not is_ours(found))
    versions = {version_of(found) for found in deployments}
    there = roles.among(version for version in versions if version)
    challenger = min(challenger_percent, rest)
    if there.challenger is None or there.champion is None:
        challenger = 0 if there.champion else rest
    shares = {"champion": rest - challenger, "challenger": challenger}
    return {
        found.name: shares.get(roles.of(version_of(found)) or "", 0)
        if is_ours(found)
        else found.traffic
        for found in deployments
    }


def percent_of(endpoint: Endpoint, version: str | None) -> int:
    """The percent of the endpoint's traffic that a version of guardian's has."""
    return sum(
        found.traffic
        for found in endpoint.deployments
        if version is not None and version_of(found) == version
    )
