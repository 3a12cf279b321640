"""The model registry of a workspace, and where its runs are logged.

Versions are read as Azure's own documents: the SDK stumbles over those that somebody else made.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.azure.client import WORKSPACE_API, unreadable
from guardian_cli.lifecycle.azure.failures import was_missing
from guardian_cli.lifecycle.platform import ModelVersion, Tracking

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from guardian_cli.lifecycle.azure.client import AzureClient

# The version that azure-ai-ml uses itself.
_API = "2023-08-01-preview"
# Azure's limit for the value of a tag, in characters.
_LONGEST_TAG = 256


class AzureRegistry:
    """Versions of models in an Azure ML workspace."""

    def __init__(self, client: AzureClient) -> None:
        self._client = client

    def versions(self, model: str) -> Sequence[ModelVersion]:
        """All versions, oldest first; archived ones are left out."""
        path = f"{self._client.place.workspace_path}/models/{model}/versions"
        active = {"listViewType": "ActiveOnly"}
        try:
            documents = list(
                self._client.list(path, _API, f"listing the versions of {model}", active)
            )
        except PlatformError as error:
            if was_missing(error):
                return []
            raise
        found = [_read(model, one) for one in documents if not _is_archived(one)]
        return sorted(found, key=_age)

    def get(self, model: str, version: str) -> ModelVersion | None:
        """One version, or None."""
        return next((one for one in self.versions(model) if one.version == version), None)

    def register(self, model: str, folder: Path, tags: Mapping[str, str]) -> ModelVersion:
        """Upload a model folder as the next version; bytes that are there are not sent again."""
        return self.register_path(model, str(folder), tags)

    def register_path(self, model: str, path: str, tags: Mapping[str, str]) -> ModelVersion:
        """Register a folder, or an `azureml://` address that a job has written to."""
        with self._client.calls("registering the model", model):
            from azure.ai.ml.constants import AssetTypes
            from azure.ai.ml.entities import Model

            wanted = Model(
                name=model,
                path=path,
                type=AssetTypes.MLFLOW_MODEL,
                tags={name: _cut(value) for name, value in tags.items()},
            )
            made = self._client.ml.models.create_or_update(wanted)
            created = getattr(made.creation_context, "created_at", None)
            return ModelVersion(model, str(made.version), dict(made.tags or {}), created)

    def tracking(self) -> Tracking:
        """The workspace's MLflow: parameters and metrics; its files travel with the version."""
        path, doing = self._client.place.workspace_path, "looking for the workspace's MLflow"
        found = self._client.get(path, WORKSPACE_API, doing)
        uri = (found.get("properties") or {}).get("mlFlowTrackingUri") or ""
        return Tracking(str(uri), takes_artifacts=False, needed=False)


def _read(model: str, document: Mapping[str, Any]) -> ModelVersion:
    properties = document.get("properties") or {}
    told = (document.get("systemData") or {}).get("createdAt")
    try:
        created = datetime.fromisoformat(told) if told else None
    except ValueError:
        created = None
    tags = {name: str(value) for name, value in (properties.get("tags") or {}).items()}
    if not document.get("name"):
        raise unreadable(f"listing the versions of {model}", "a version has no name")
    return ModelVersion(model, str(document["name"]), tags, created)


def _is_archived(document: Mapping[str, Any]) -> bool:
    return bool((document.get("properties") or {}).get("isArchived"))


def _age(version: ModelVersion) -> tuple[int, str]:
    """Numbers count as numbers; versions that people named come before them."""
    number = version.version
    return (int(number), "") if number.isdecimal() else (-1, number)


def _cut(value: str) -> str:
    return value if len(value) <= _LONGEST_TAG else value[: _LONGEST_TAG - 1] + "…"
