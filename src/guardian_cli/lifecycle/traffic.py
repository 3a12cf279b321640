"""Whole percent of traffic that sum to what there is to divide. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardian_cli.lifecycle.roles import Roles, is_ours, version_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardian_cli.lifecycle.platform import Deployment, Endpoint


def divide(total: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Divide `total` by weights into whole numbers that sum to it, by the largest remainder.

    All weights 0 gives zeros. Ties go to the name that stands first.
    """
    whole = sum(weights.values())
    if whole <= 0:
        return dict.fromkeys(weights, 0)
    shares = {name: total * weight // whole for name, weight in weights.items()}
    by_remainder = sorted(weights, key=lambda name: -(total * weights[name] % whole))
    for name in by_remainder[: total - sum(shares.values())]:
        shares[name] += 1
    return shares


def foreign_share(endpoint: Endpoint | None) -> int:
    """The percent that deployments have which guardian did not make."""
    if endpoint is None:
        return 0
    return sum(found.traffic for found in endpoint.deployments if not is_ours(found))


def share_out(
    deployments: Sequence[Deployment], roles: Roles, challenger_percent: int
) -> dict[str, int]:
    """Return each deployment's percent: foreign ones keep theirs, the rest is for the roles.

    The challenger gets `challenger_percent` of the rest, the champion what remains of it, and
    every other deployment of guardian's 0.
    """
    rest = 100 - sum(found.traffic for found in deployments if not is_ours(found))
    versions = {version_of(found) for found in deployments}
    there = roles.among(version for version in versions if version)
    wanted = {"champion": 100 - challenger_percent, "challenger": challenger_percent}
    if there.challenger is None or there.champion is None:
        wanted = {"champion" if there.champion else "challenger": 100}
    shares = divide(rest, wanted)
    return {
        found.name: shares.get(roles.of(version_of(found)) or "", 0)
        if is_ours(found)
        else found.traffic
        for found in deployments
    }


def percent_of_rest(endpoint: Endpoint, version: str | None) -> int | None:
    """The percent that a version has of what guardian divides; None when it has no traffic."""
    rest = 100 - foreign_share(endpoint)
    for found in endpoint.deployments:
        if version is not None and version_of(found) == version and found.traffic and rest > 0:
            return round(100 * found.traffic / rest)
    return None
