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
