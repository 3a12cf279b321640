"""The environment variables by which a scan finds the endpoints, for .env and for Kubernetes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardian_cli.endpoint_keys import COMMON_KEY, origin_of
from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.settings import environment_name

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from guardian_cli.lifecycle.endpoints import EndpointStatus
    from guardian_cli.lifecycle.platform import Platform
    from guardian_cli.settings import EndpointSetting

CONFIGMAP_NAME = "guardian-config"
SECRET_NAME = "guardian-secrets"  # noqa: S105 - the name of an object, no password
_URI_SUFFIX = "_MODEL_ENDPOINT"


@dataclass(frozen=True, slots=True)
class ScanVariables:
    """Environment variables by name; `keys` are secret."""

    uris: dict[str, str]
    keys: dict[str, str]

    # A dataclass's own would show the keys.
    def __repr__(self) -> str:
        return f"ScanVariables({sorted(self.uris)}, {sorted(self.keys)}: ***)"


def gather_variables(
    platform: Platform,
    endpoints: Sequence[EndpointStatus],
    configured: Mapping[str, EndpointSetting],
) -> ScanVariables:
    """Return what a scan needs to find the endpoints, each with its key.

    The common key is there where one key opens all endpoints that are `configured`. Raises
    UsageError when two models want the same name, PlatformError for an endpoint that has no
    address yet.
    """
    # The names come from categories, not from models: two models could want the same.
    for category, times in Counter(one.category for one in endpoints).items():
        if times > 1:
            raise UsageError(
                f"{times} models have the category {category}: both want "
                f"{environment_name(category)}",
                hint="name the model: guardian endpoints MODEL --write-env",
            )
    for one in endpoints:
        if not one.uri:
            hint = f"guardian endpoints {one.model} --start"
            raise PlatformError(f"{one.name} has no address yet", hint=hint)
    uris = {environment_name(one.category): one.uri for one in endpoints}
    keys = {
        f"{environment_name(one.category)}_KEY": platform.key(one.name).get_secret_value()
        for one in endpoints
    }
    # A scan would send the common key to every other endpoint that it knows, too.
    known = {environment_name(name) for name, setting in configured.items() if setting.uri}
    if len(set(keys.values())) == 1 and known <= set(uris):
        keys[COMMON_KEY] = next(iter(keys.values()))
    return ScanVariables(uris, keys)


def env_values(old: Mapping[str, str], variables: ScanVariables) -> dict[str, str | None]:
    """Return what to set in a .env file that has `old`; None removes a variable.

    Each key is written with the host that it is for, and goes to no other. The common key is
    there only while the file has no other endpoint; one that guardian did not write stays.
    """
    values: dict[str, str | None] = {}
    for name, uri in variables.uris.items():
        values[name] = uri
        values[f"{name}_KEY"] = variables.keys[f"{name}_KEY"]
        values[f"{name}_KEY_FOR"] = origin_of(uri)
    common = variables.keys.get(COMMON_KEY)
    # The keys that guardian wrote itself: the common key is only ever removed where it is one.
    written = [value for name, value in old.items() if name.endswith(f"_{COMMON_KEY}")]
    if common is not None and not _other_endpoints(old, variables.uris):
        values[COMMON_KEY] = common
    elif old.get(COMMON_KEY) in written:
        values[COMMON_KEY] = None
    return values


def left_without_key(old: Mapping[str, str], values: Mapping[str, str | None]) -> list[str]:
    """Return the endpoints in a file that have no key once the common one is removed."""
    if values.get(COMMON_KEY, "") is not None:
        return []
    return [name for name in _other_endpoints(old, values) if not old.get(f"{name}_KEY")]


def to_manifest(variables: ScanVariables) -> str:
    """Return a ConfigMap with the URIs and a Secret with the keys, as YAML for `kubectl apply`."""
    import yaml

    head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIGMAP_NAME}}
    config = {**head, "data": variables.uris}
    head = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET_NAME}}
    # `stringData` is plain text, which Kubernetes encodes; `data` would want base64.
    secret = {**head, "type": "Opaque", "stringData": variables.keys}
    return yaml.safe_dump_all(
        [config, secret], sort_keys=False, explicit_start=True, allow_unicode=True
    )


def _other_endpoints(old: Mapping[str, str], written: Container[str]) -> list[str]:
    """Return the endpoints in a file that are not among those that are written now."""
    return [
        name
        for name, value in old.items()
        if name.endswith(_URI_SUFFIX) and value and name not in written
    ]
