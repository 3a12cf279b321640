"""The endpoints that a user names, and which key goes to which: one that was written for its host.

`guardian endpoints --write-env` writes `<NAME>_MODEL_ENDPOINT_KEY_FOR` beside each key. A key that
a person sets without it goes wherever that person's address says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import SecretStr

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardian_cli.config import CategorySection

# The key of every endpoint that has none of its own.
COMMON_KEY = "MODEL_ENDPOINT_KEY"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class EndpointSetting:
    """Where a category's custom model is; a `uri` of None switches it off."""

    uri: str | None
    key: SecretStr | None
    named_by: str = ""


def environment_name(category: str) -> str:
    """The name that a category's endpoint has in the environment: `NSFW_MODEL_ENDPOINT`."""
    return re.sub(r"\W", "_", category).upper() + "_MODEL_ENDPOINT"


def origin_of(uri: str) -> str:
    """Where a key for this address may go: scheme, host and port."""
    try:
        parts = urlsplit(uri.strip())
        return f"{parts.scheme}://{parts.hostname}:{parts.port or _PORTS.get(parts.scheme)}"
    except ValueError:
        return uri.strip()


def choose_key(variable: str, uri: str, names: Mapping[str, str]) -> str | None:
    """Return the key for the endpoint in a variable: its own, else the one for all.

    None where neither is set, or what is set was written for another host.
    """
    origin = origin_of(uri)
    own, common = names.get(f"{variable}_KEY"), names.get(COMMON_KEY)
    if own and names.get(f"{variable}_KEY_FOR") in {None, "", origin}:
        return own
    # The key for all goes anywhere, unless it is an endpoint's own key: that is lent to no other.
    owners = {
        names.get(f"{name}_KEY_FOR") or origin_of(names[name])
        for name in names
        if name.endswith("_MODEL_ENDPOINT") and names[name] and names.get(f"{name}_KEY") == common
    }
    return common if common and (not owners or origin in owners) else None


def read_endpoints(
    categories: Mapping[str, CategorySection], names: Mapping[str, str]
) -> tuple[dict[str, EndpointSetting], list[str]]:
    """Return the endpoints that the environment or guardian.yaml names, and what to warn of."""
    endpoints: dict[str, EndpointSetting] = {}
    known = {environment_name(category) for category in categories}
    warnings = [
        f"{name} is set, but guardian.yaml has no category of that name: it is not used"
        for name in sorted(names)
        if name.endswith("_MODEL_ENDPOINT") and name not in known and names[name]
    ]
    for category, section in categories.items():
        variable = environment_name(category)
        uri = names.get(variable, section.endpoint)
        if uri is None:
            continue
        key = choose_key(variable, uri, names)
        named_by = variable if variable in names else f"categories.{category}.endpoint"
        uri = uri.strip() or None
        endpoints[category] = EndpointSetting(uri, SecretStr(key) if key else None, named_by)
        withheld = [one for one in (f"{variable}_KEY", COMMON_KEY) if names.get(one)]
        if uri and withheld and key is None:
            origin = origin_of(uri)
            warnings.append(
                f"{withheld[0]} was written for another host than {origin} and is not sent there: "
                f"set {variable}_KEY to its key, and {variable}_KEY_FOR={origin}"
            )
    return endpoints, warnings
