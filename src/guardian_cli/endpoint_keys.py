"""Which key goes to an endpoint: only one that was written for its host. Pure.

`guardian endpoints --write-env` writes `<NAME>_MODEL_ENDPOINT_KEY_FOR` beside each key. A key that
a person sets without it goes wherever that person's address says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

# The key of every endpoint that has none of its own.
COMMON_KEY = "MODEL_ENDPOINT_KEY"
_PORTS = {"http": 80, "https": 443}


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
    keys = (f"{variable}_KEY", COMMON_KEY)
    return next((names[one] for one in keys if names.get(one) and _may_go(one, uri, names)), None)


def why_withheld(variable: str, uri: str, names: Mapping[str, str]) -> str | None:
    """Say that an endpoint has no key because the one that is set is for another host."""
    kept = [one for one in (f"{variable}_KEY", COMMON_KEY) if names.get(one)]
    if not kept or choose_key(variable, uri, names) is not None:
        return None
    return (
        f"{kept[0]} was written for another host than {origin_of(uri)} and is not sent there: set "
        f"{variable}_KEY to its key, and {variable}_KEY_FOR={origin_of(uri)}"
    )


def _may_go(key: str, uri: str, names: Mapping[str, str]) -> bool:
    """Whether the key in a variable may be sent to an address.

    The key for all goes anywhere, unless it is an endpoint's own key: that is lent to no other.
    """
    if key != COMMON_KEY:
        return names.get(f"{key}_FOR") in {None, "", origin_of(uri)}
    hosts = {
        names.get(f"{name}_KEY_FOR") or origin_of(names[name])
        for name in names
        if name.endswith("_MODEL_ENDPOINT")
        and names[name]
        and names.get(f"{name}_KEY") == names[COMMON_KEY]
    }
    return not hosts or origin_of(uri) in hosts
