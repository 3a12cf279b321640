"""Endpoints for Kubernetes: a ConfigMap with the URIs and a Secret with the keys. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIGMAP_NAME = "guardian-config"
SECRET_NAME = "guardian-secrets"  # noqa: S105 - the name of an object, no password


def write_manifest(uris: Mapping[str, str], keys: Mapping[str, str]) -> str:
    """Return both objects as YAML for `kubectl apply -f`; names are environment variables."""
    import yaml

    documents = [
        _document("ConfigMap", CONFIGMAP_NAME, data=dict(uris)),
        _document("Secret", SECRET_NAME, type="Opaque", stringData=dict(keys)),
    ]
    return yaml.safe_dump_all(documents, sort_keys=False, explicit_start=True, allow_unicode=True)


def _document(kind: str, name: str, **rest: object) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **rest}
