"""What `guardian endpoints` does: look, check, hand out addresses and keys, rotate, stop."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardian_cli.config import environment_name
from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.lifecycle.environment_file import set_variables, variables_in
from guardian_cli.lifecycle.manifests import write_manifest
from guardian_cli.lifecycle.plan import Row, rows_of
from guardian_cli.lifecycle.platform import Stoppable
from guardian_cli.lifecycle.private_files import read_if_there, replace_private

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from guardian_cli.lifecycle.models import Model
    from guardian_cli.lifecycle.platform import Endpoint, Platform, Probe

COMMON_KEY = "MODEL_ENDPOINT_KEY"


@dataclass(frozen=True, slots=True)
class Sight:
    """A model's endpoint as it is now."""

    model: str
    category: str
    name: str
    uri: str
    state: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Variables:
    """Environment variables that lead a scan to the endpoints; `keys` are secret."""

    uris: dict[str, str]
    keys: dict[str, str]

    def __repr__(self) -> str:
        return f"Variables({sorted(self.uris)}, {sorted(self.keys)}: ***)"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all."""
        return (*self.uris, *self.keys)


def look(platform: Platform, models: Sequence[Model]) -> list[Sight]:
    """Return those models' endpoints that are there."""
    found = ((model, platform.endpoint(model.endpoint)) for model in models)
    return [_sight(model, endpoint) for model, endpoint in found if endpoint is not None]


def _sight(model: Model, endpoint: Endpoint) -> Sight:
    return Sight(
        model.name, model.category, endpoint.name, endpoint.uri, endpoint.state, rows_of(endpoint)
    )


def check(platform: Platform, sights: Sequence[Sight]) -> dict[str, Probe]:
    """Score a picture through each endpoint, as a client would; probes by endpoint name."""
    return {sight.name: platform.probe(sight.name) for sight in sights}


def gather_variables(platform: Platform, sights: Sequence[Sight]) -> Variables:
    """Return what a scan needs to find the endpoints; one key for all where one serves all.

    Raises UsageError when two models want the same name.
    """
    for category, times in Counter(sight.category for sight in sights).items():
        if times > 1:
            raise UsageError(
                f"{times} models have the category {category}: both want "
                f"{environment_name(category)}",
                hint="name the model: guardian endpoints MODEL --write-env",
            )
    uris = {environment_name(sight.category): sight.uri for sight in sights}
    keys = {
        f"{environment_name(sight.category)}_KEY": platform.key(sight.name).get_secret_value()
        for sight in sights
    }
    if len(set(keys.values())) == 1:
        keys[COMMON_KEY] = next(iter(keys.values()))
    return Variables(uris, keys)


def write_env(path: Path, variables: Variables) -> tuple[bool, list[str]]:
    """Set the variables in a .env file; whether it changed, and who else loses its key by that.

    Raises UsageError when it cannot be written; it is then as it was.
    """
    old = read_if_there(path)
    changed = replace_private(path, set_variables(old, {**variables.uris, **variables.keys}))
    return changed, _left_without_key(variables_in(old), variables)


def write_configmap(path: Path, variables: Variables) -> bool:
    """Write the Kubernetes objects; whether the file changed. Raises UsageError."""
    return replace_private(path, write_manifest(variables.uris, variables.keys).encode())


def stop(platform: Platform, sights: Sequence[Sight]) -> list[str]:
    """Stop the endpoints' servers; the names of those that ran. Raises UsageError."""
    if not isinstance(platform, Stoppable):
        raise UsageError(
            f"{platform.target} endpoints cannot be stopped: they bill while they are deployed",
            hint="guardian deploy MODEL --prune removes deployments without role and traffic",
        )
    return [sight.name for sight in sights if platform.stop(sight.name)]


def require(sights: Sequence[Sight], models: Sequence[Model]) -> None:
    """Raise PlatformError when there is no endpoint at all."""
    if not sights:
        names = ", ".join(model.endpoint for model in models) or "no model in guardian.yaml"
        raise PlatformError(
            f"there is no endpoint ({names})",
            hint=f"guardian deploy {models[0].name}" if models else None,
        )


def _left_without_key(old: dict[str, str], variables: Variables) -> list[str]:
    """Return the endpoints in a file that relied on the common key, which is now another."""
    if variables.keys.get(COMMON_KEY, old.get(COMMON_KEY)) == old.get(COMMON_KEY):
        return []
    return [
        name
        for name, value in old.items()
        if name.endswith("_MODEL_ENDPOINT")
        and value
        and name not in variables.uris
        and not old.get(f"{name}_KEY")
    ]
