"""Who is champion, challenger and previous on an endpoint, and what guardian means to finish.

They live in the endpoint's tags, so that two machines see the same. Pure.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from guardian_cli.lifecycle.platform import Deployment

Role = Literal["champion", "challenger", "previous"]
MODEL_TAG = "guardian.model"
VERSION_TAG = "guardian.version"
ROLES_TAG = "guardian.roles"
PENDING_TAG = "guardian.pending"
_ROLES: tuple[Role, ...] = ("champion", "challenger", "previous")


@dataclass(frozen=True, slots=True)
class Roles:
    """The version that has each role; no version has two."""

    champion: str | None = None
    challenger: str | None = None
    previous: str | None = None

    def of(self, version: str | None) -> Role | None:
        """The role of a version."""
        named: Mapping[str, str | None] = asdict(self)
        return next((role for role in _ROLES if version and named[role] == version), None)

    def among(self, versions: Iterable[str]) -> Roles:
        """The roles of those versions that are still deployed."""
        there = set(versions)
        return replace(
            self, **{role: None for role, version in asdict(self).items() if version not in there}
        )


def read_roles(tags: Mapping[str, str]) -> Roles:
    """Read the roles from an endpoint's tags; what makes no sense counts as no role."""
    found = _load(tags.get(ROLES_TAG))
    named: dict[str, str] = {}
    for role in _ROLES:
        version = found.get(role)
        if isinstance(version, str) and version and version not in named.values():
            named[role] = version
    return Roles(**named)


def write_roles(roles: Roles) -> dict[str, str]:
    """Return the tag that holds the roles."""
    return {ROLES_TAG: _dump({role: v for role, v in asdict(roles).items() if v is not None})}


@dataclass(frozen=True, slots=True)
class Pending:
    """A rollback whose end has not been noted yet: the state that it leads to."""

    roles: Roles
    when: str


def read_pending(tags: Mapping[str, str]) -> Pending | None:
    """Read the rollback that is to be finished, if there is one."""
    found = _load(tags.get(PENDING_TAG))
    if not found:
        return None
    roles = {role: found[role] for role in _ROLES if isinstance(found.get(role), str)}
    return Pending(Roles(**roles), str(found.get("when", "")))


def write_pending(pending: Pending) -> dict[str, str]:
    """Return the tag that holds a rollback until it is finished."""
    named = {role: version for role, version in asdict(pending.roles).items() if version}
    return {PENDING_TAG: _dump({"when": pending.when, **named})}


def is_ours(deployment: Deployment) -> bool:
    """Whether guardian made a deployment; it touches no other."""
    return MODEL_TAG in deployment.tags and VERSION_TAG in deployment.tags


def version_of(deployment: Deployment) -> str | None:
    """The version that guardian put there, None for a foreign deployment."""
    return deployment.tags[VERSION_TAG] if is_ours(deployment) else None


def deployment_name(version: str) -> str:
    """The name that a version's deployment has."""
    return f"version-{version}"


def _load(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _dump(value: Mapping[str, str]) -> str:
    return json.dumps(value, separators=(",", ":"))
