"""The JSON Schemas (draft 2020-12) of guardian's documents, one file each, by name."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from guardian_cli.errors import UsageError


def schema_names() -> list[str]:
    """Return the names of all schemas, sorted."""
    found = (item.name for item in files(__name__).iterdir())
    return sorted(name.removesuffix(".json") for name in found if name.endswith(".json"))


def schema_text(name: str) -> str:
    """Return a schema as it stands in the package; UsageError when there is none of that name."""
    names = schema_names()
    if name not in names:
        raise UsageError(
            f"there is no schema {name!r}; there is {', '.join(names)}",
            hint=f"guardian --schema {names[0]}",
        )
    return (files(__name__) / f"{name}.json").read_text(encoding="utf-8")


def load_schema(name: str) -> dict[str, Any]:
    """Return a schema, parsed; UsageError when there is none of that name."""
    schema: dict[str, Any] = json.loads(schema_text(name))
    return schema
