"""Kubernetes' own schemas, from the newest version of a package that carries them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import yaml

if TYPE_CHECKING:
    from pathlib import Path

# What the API server asks of keys, and the schemas do not.
KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")


def read_manifests(path: Path) -> list[Any]:
    """The objects in a file, each as strict as Kubernetes is about unknown fields."""
    found = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    for one in found:
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)
        for name in {**one.get("data", {}), **one.get("stringData", {})}:
            assert KEY.fullmatch(name), name
    return found
