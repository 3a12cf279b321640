"""The model registry of a workspace, and where its runs are logged.

Versions are read as Azure's own documents: the SDK stumbles over those that somebody else made.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.azure.client import WORKSPACE_API
from guardian_cli.lifecycle.azure.endpoints import read_tags
from guardian_cli.lifecycle.azure.errors import (
    GroupNotFoundError,
    NotFoundError,
    UnreadableAnswerError,
    shorten,
)
from guardian_cli.lifecycle.platform import ModelVersion, Registry, Tracking

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardian_cli.lifecycle.azure.client import AzureClient

# The version that azure-ai-ml uses itself.
_API = "2023-08-01-preview"
# Azure's limit for the value of a tag, in characters.
_MAX_TAG_LENGTH = 256


class AzureRegistry(Registry):
    """Versions of models in an Azure ML workspace."""

    def __init__(self, client: AzureClient) -> None:
        self._client = client

    def versions(self, model: str) -> Sequence[ModelVersion]:
        """All versions, oldest first; archived ones are left out."""
        path = f"{self._client.address.workspace_path}/models/{model}/versions"
        doing = f"listing the versions of {model}"
        found = []
        try:
            for document in self._client.list(path, _API, doing, {"listViewType": "ActiveOnly"}):
                properties = document.get("properties") or {}
                if properties.get("isArchived"):
                    continue
                if not document.get("name"):
                    raise UnreadableAnswerError(doing, "a version has no name")
                created = None
                # Some documents have no time, and some a time in another format.
                with contextlib.suppress(KeyError, TypeError, ValueError):
                    created = datetime.fromisoformat(document["systemData"]["createdAt"])
                found.append(
                    ModelVersion(model, str(document["name"]), read_tags(properties), created)
                )
        except (NotFoundError, GroupNotFoundError):
            # A model without versions is not there at all.
            return []

        def age(one: ModelVersion) -> tuple[int, str]:
            # Numbers count as numbers; versions that people named come before them.
            return (int(one.version), "") if one.version.isdecimal() else (-1, one.version)

        return sorted(found, key=age)

    def register(self, model: str, folder: Path, tags: Mapping[str, str]) -> ModelVersion:
        """Upload a model folder as the next version; bytes that are there are not sent again."""
        return self.register_path(model, str(folder), tags)

    def register_path(self, model: str, path: str, tags: Mapping[str, str]) -> ModelVersion:
        """Register a folder, or an `azureml://` address that a job has written to."""
        with self._client.calls("registering the model", model):
            from azure.ai.ml.constants import AssetTypes
            from azure.ai.ml.entities import Model

            short_tags = {name: shorten(value, _MAX_TAG_LENGTH) for name, value in tags.items()}
            wanted = Model(name=model, path=path, type=AssetTypes.MLFLOW_MODEL, tags=short_tags)
            made = self._client.ml.models.create_or_update(wanted)
            created = getattr(made.creation_context, "created_at", None)
            return ModelVersion(model, str(made.version), dict(made.tags or {}), created)

    def fetch(self, model: str, version: str, destination: Path) -> None:
        """Download a version's folder to a destination that is not there yet."""
        with (
            tempfile.TemporaryDirectory(prefix="guardian-model-") as scratch,
            self._client.calls(f"downloading version {version} of the model", model),
        ):
            self._client.ml.models.download(model, version, download_path=scratch)
            # The SDK puts the files into a folder with the model's name, as deep as it likes.
            found = sorted(Path(scratch).rglob("MLmodel"), key=lambda one: len(one.parts))
            if not found:
                raise PlatformError(f"version {version} of {model} holds no MLflow model")
            shutil.copytree(found[0].parent, destination)

    def tracking(self) -> Tracking:
        """The workspace's MLflow: parameters and metrics; its files travel with the version."""
        path, doing = self._client.address.workspace_path, "looking for the workspace's MLflow"
        found = self._client.send("GET", path, WORKSPACE_API, doing)
        uri = (found.get("properties") or {}).get("mlFlowTrackingUri") or ""
        return Tracking(str(uri), takes_artifacts=False, needed=False)
