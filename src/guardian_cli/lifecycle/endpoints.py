"""What `guardian endpoints` does: look, check, hand out addresses and keys, stop and start."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardian_cli.endpoint_keys import COMMON_KEY, origin_of
from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.files import read_if_there, replace_private
from guardian_cli.lifecycle.environment_file import set_variables
from guardian_cli.lifecycle.manifests import write_manifest
from guardian_cli.lifecycle.platform import Probe, Stoppable
from guardian_cli.lifecycle.release.ownership import own_endpoint
from guardian_cli.lifecycle.release.plan import Row, rows_of
from guardian_cli.settings import environment_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from guardian_cli.lifecycle.models import Model
    from guardian_cli.lifecycle.platform import Platform
    from guardian_cli.settings import EndpointSetting

NOT_DEPLOYED = "not deployed"


@dataclass(frozen=True, slots=True)
class Sight:
    """A model's endpoint as it is now; where it has none, the state is `not deployed`."""

    model: str
    category: str
    name: str
    uri: str
    state: str
    rows: tuple[Row, ...]

    @property
    def deployed(self) -> bool:
        """Whether there is an endpoint."""
        return self.state != NOT_DEPLOYED


@dataclass(frozen=True, slots=True)
class Variables:
    """Environment variables that lead a scan to the endpoints; `keys` are secret."""

    uris: dict[str, str]
    keys: dict[str, str]

    def __repr__(self) -> str:
        return f"Variables({sorted(self.uris)}, {sorted(self.keys)}: ***)"

    @property
    def names(self) -> list[str]:
        """The names of all."""
        return [*self.uris, *self.keys]


def look(platform: Platform, models: Sequence[Model]) -> list[Sight]:
    """Return each model's endpoint. Raises UsageError for one that belongs to another model."""
    sights = []
    for model in models:
        found = own_endpoint(platform, model.name, model.endpoint)
        uri, state = (found.uri, found.state) if found else ("", NOT_DEPLOYED)
        sights.append(Sight(model.name, model.category, model.endpoint, uri, state, rows_of(found)))
    return sights


def check(platform: Platform, sights: Sequence[Sight]) -> dict[str, dict[str, Probe]]:
    """Score a picture through each deployment, by its header; by endpoint and deployment."""
    return {
        sight.name: {
            row.name: platform.probe(sight.name, row.name)
            for row in sight.rows
            if sight.state != "stopped"
        }
        for sight in sights
    }


def verdict_on(sight: Sight, probes: Mapping[str, Probe]) -> Probe:
    """Say in one probe how an endpoint answers: what fails, or how most of its requests are met."""
    failed = [f"{name}: {probe.problem}" for name, probe in probes.items() if not probe.good]
    busiest = max(sight.rows, key=lambda row: row.traffic, default=None)
    if sight.state == "stopped":
        failed = ["it is stopped"]
    elif busiest is None:
        failed = ["it has no deployment"]
    elif not failed and not busiest.traffic:
        failed = ["no deployment has traffic"]
    return Probe(problem="; ".join(failed)) if failed or not busiest else probes[busiest.name]


def gather_variables(
    platform: Platform, sights: Sequence[Sight], configured: Mapping[str, EndpointSetting]
) -> Variables:
    """Return what a scan needs to find the endpoints, each with its key.

    One key for all is there where one serves all that is `configured`. Raises UsageError when
    two models want the same name, PlatformError for an endpoint that has no address yet.
    """
    for category, times in Counter(sight.category for sight in sights).items():
        if times > 1:
            raise UsageError(
                f"{times} models have the category {category}: both want "
                f"{environment_name(category)}",
                hint="name the model: guardian endpoints MODEL --write-env",
            )
    for sight in sights:
        if not sight.uri:
            hint = f"guardian endpoints {sight.model} --start"
            raise PlatformError(f"{sight.name} has no address yet", hint=hint)
    uris = {environment_name(sight.category): sight.uri for sight in sights}
    keys = {
        f"{environment_name(sight.category)}_KEY": platform.key(sight.name).get_secret_value()
        for sight in sights
    }
    if len(set(keys.values())) == 1 and not _others(uris, configured):
        keys[COMMON_KEY] = next(iter(keys.values()))
    return Variables(uris, keys)


def _others(uris: Mapping[str, str], configured: Mapping[str, EndpointSetting]) -> bool:
    """Whether a scan knows endpoints beside these, which a key for all would be sent to."""
    names = {environment_name(name) for name, setting in configured.items() if setting.uri}
    return not names <= set(uris)


def env_values(old: Mapping[str, str], variables: Variables) -> dict[str, str | None]:
    """Return what to set in a .env file that has `old`; None takes a variable out.

    Each key is written with the host that it is for, and goes to no other. One key for all is
    there only while no other endpoint is; one that guardian did not write stays as it is.
    """
    values: dict[str, str | None] = {}
    for name, uri in variables.uris.items():
        values[name] = uri
        values[f"{name}_KEY"] = variables.keys[f"{name}_KEY"]
        values[f"{name}_KEY_FOR"] = origin_of(uri)
    common = variables.keys.get(COMMON_KEY)
    written = [value for name, value in old.items() if name.endswith(f"_{COMMON_KEY}")]
    if common is not None and not _strangers(old, variables):
        values[COMMON_KEY] = common
    elif old.get(COMMON_KEY) in written:
        values[COMMON_KEY] = None
    return values


def _strangers(old: Mapping[str, str], variables: Variables) -> list[str]:
    """The endpoints in a file that are not among those that are written now."""
    return [
        name
        for name, value in old.items()
        if name.endswith("_MODEL_ENDPOINT") and value and name not in variables.uris
    ]


def lent_to(old: Mapping[str, str], values: Mapping[str, str | None]) -> list[str]:
    """The endpoints in a file that have no key any more once the one for all is taken out."""
    if values.get(COMMON_KEY, "") is not None:
        return []
    names = [name for name in old if name.endswith("_MODEL_ENDPOINT") and name not in values]
    return [name for name in names if old[name] and not old.get(f"{name}_KEY")]


def write_env(path: Path, values: Mapping[str, str | None]) -> bool:
    """Set variables in a .env file, take out those that are None; whether it changed.

    Raises UsageError when it cannot be written; it is then as it was.
    """
    return replace_private(path, set_variables(read_if_there(path), values))


def write_configmap(path: Path, variables: Variables) -> bool:
    """Write the Kubernetes objects; whether the file changed. Raises UsageError."""
    return replace_private(path, write_manifest(variables.uris, variables.keys).encode())


def stoppable(platform: Platform) -> Stoppable:
    """Return a platform that can stop and start its endpoints. Raises UsageError."""
    if isinstance(platform, Stoppable):
        return platform
    raise UsageError(
        f"{platform.target} endpoints can be neither stopped nor started: they bill while they "
        "are deployed",
        hint="guardian deploy MODEL --prune removes deployments without role and traffic",
    )


def require(sights: Sequence[Sight]) -> None:
    """Raise PlatformError when there is no endpoint at all."""
    if not any(sight.deployed for sight in sights):
        names = ", ".join(sight.name for sight in sights) or "no model in guardian.yaml"
        raise PlatformError(
            f"there is no endpoint ({names})",
            hint=f"guardian deploy {sights[0].model}" if sights else None,
        )
