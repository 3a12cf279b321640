"""Which version is champion, challenger or previous, and which endpoint and deployment is whose.

All of it is kept in tags at the platform, so that two machines see the same.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from guardian_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from guardian_cli.lifecycle.models import Model
    from guardian_cli.lifecycle.platform import Deployment, Endpoint, Platform

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
        """Return the role of a version."""
        return next((role for role in _ROLES if version and getattr(self, role) == version), None)

    def among(self, versions: Iterable[str]) -> Roles:
        """Return the roles without the versions that are not among `versions`."""
        kept = set(versions)
        gone = {role: None for role, version in asdict(self).items() if version not in kept}
        return replace(self, **gone)


def read_roles(tags: Mapping[str, str], tag: str = ROLES_TAG) -> Roles:
    """Read the roles from an endpoint's tags; a value that makes no sense counts as no role."""
    found = _parse_object(tags.get(tag))
    named: dict[str, str] = {}
    for role in _ROLES:
        version = found.get(role)
        # People edit tags, too: a version with two roles would get its traffic twice.
        if isinstance(version, str) and version and version not in named.values():
            named[role] = version
    return Roles(**named)


def write_roles(roles: Roles) -> dict[str, str]:
    """Return the tag that holds the roles."""
    # Compact, because a tag holds 256 characters.
    named = {role: version for role, version in asdict(roles).items() if version is not None}
    return {ROLES_TAG: json.dumps(named, separators=(",", ":"))}


def read_pending(tags: Mapping[str, str]) -> Roles | None:
    """Return the roles to which an unfinished rollback leads; None where none is under way."""
    return read_roles(tags, PENDING_TAG) if _parse_object(tags.get(PENDING_TAG)) else None


def write_pending(roles: Roles, when: str) -> dict[str, str]:
    """Return the tag that marks a rollback as unfinished; `when` is for people who read it."""
    named = {"when": when, **json.loads(write_roles(roles)[ROLES_TAG])}
    return {PENDING_TAG: json.dumps(named, separators=(",", ":"))}


def roles_on(endpoint: Endpoint) -> Roles:
    """Return the roles of the versions that guardian has deployed on an endpoint."""
    deployed = map(version_of, endpoint.deployments)
    return read_roles(endpoint.tags).among(version for version in deployed if version)


def is_ours(deployment: Deployment) -> bool:
    """Whether guardian made a deployment; it changes no other."""
    return MODEL_TAG in deployment.tags and VERSION_TAG in deployment.tags


def version_of(deployment: Deployment) -> str | None:
    """Return the version that guardian deployed there; None for a foreign deployment."""
    return deployment.tags[VERSION_TAG] if is_ours(deployment) else None


def deployment_name(version: str) -> str:
    """Return the name of a version's deployment."""
    # Azure's names begin with a letter, and versions are numbers.
    return f"version-{version}"


def own_endpoint(platform: Platform, model: Model) -> Endpoint | None:
    """Return a model's endpoint, or None. Raises UsageError where it belongs to another model.

    Every verb gets endpoints from here. One without a model's name belongs to whoever asks.
    """
    endpoint = platform.endpoint(model.endpoint)
    owner = endpoint.tags.get(MODEL_TAG, model.name) if endpoint else model.name
    if owner != model.name:
        raise UsageError(
            f"endpoint {model.endpoint} belongs to the model {owner}",
            hint=f"give {model.name} a name of its own: models.{model.name}.endpoint_name",
        )
    return endpoint


def _parse_object(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
