"""The model registry of a workspace, and where its runs are logged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.azure.failures import is_missing, missing_group, sdk_errors
from guardian_cli.lifecycle.platform import ModelVersion, Tracking

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from guardian_cli.lifecycle.azure.client import AzureClient

# Azure's limit for the value of a tag, in characters.
_LONGEST_TAG = 256


class AzureRegistry:
    """Versions of models in an Azure ML workspace."""

    def __init__(self, client: AzureClient) -> None:
        self._client = client

    def versions(self, model: str) -> Sequence[ModelVersion]:
        """All versions, oldest first; archived ones are left out."""
        with self._client.calls("listing the versions", model):
            try:
                found = [_version(model, one) for one in self._client.ml.models.list(name=model)]
            except sdk_errors() as error:
                if is_missing(error) or missing_group(error):
                    return []
                raise
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
            return _version(model, self._client.ml.models.create_or_update(wanted))

    def tracking(self) -> Tracking:
        """The workspace's MLflow: parameters and metrics; its files travel with the version."""
        with self._client.calls("looking for the workspace's MLflow"):
            uri = self._client.ml.workspaces.get(self._client.place.workspace).mlflow_tracking_uri
        if not uri:
            raise PlatformError(
                f"the workspace {self._client.place} has no MLflow tracking yet",
                hint="guardian setup --check",
            )
        return Tracking(str(uri), takes_artifacts=False, needed=False)


def _version(model: str, found: Any) -> ModelVersion:
    created = getattr(found.creation_context, "created_at", None)
    return ModelVersion(model, str(found.version), dict(found.tags or {}), created)


def _age(version: ModelVersion) -> tuple[int, str]:
    """Numbers count as numbers; versions that people named come before them."""
    number = version.version
    return (int(number), "") if number.isdecimal() else (-1, number)


def _cut(value: str) -> str:
    return value if len(value) <= _LONGEST_TAG else value[: _LONGEST_TAG - 1] + "…"
