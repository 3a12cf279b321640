"""The registry over MLflow: SQLite in the workspace, or a tracking server."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.files import PRIVATE, hold_lock, is_locked
from guardian_cli.lifecycle.local.workspace import checked_name
from guardian_cli.lifecycle.platform import ModelVersion, Registry, Tracking
from guardian_cli.lifecycle.quiet_mlflow import quiet_mlflow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardian_cli.lifecycle.local.workspace import Layout

# Where the folder of a version is, relative to the workspace: a project may be moved.
PATH_TAG = "guardian.path"
RUN_TAG = "run_id"
EXPERIMENT = "guardian"
# No endpoint can have this name.
DATABASE_LOCK = ".database.lock"
DATABASE_TIMEOUT_S = 120.0
PAGE_SIZE = 1000
# What ends a URI's path, or stands for another character in it: no way to write it suits every
# version of SQLAlchemy and MLflow.
_NOT_IN_URIS = re.compile(r"\?|%[0-9A-Fa-f]{2}")


class LocalRegistry(Registry):
    """Versions of models in MLflow; `server_uri` None means SQLite in the workspace."""

    def __init__(self, layout: Layout, server_uri: str | None = None) -> None:
        self._layout = layout
        self._server_uri = server_uri

    def create(self) -> None:
        """Make the database, whole or not at all; a server is only asked whether it is there."""
        if self._server_uri is not None:
            with quiet_mlflow("the tracking server does not answer", self._server_uri):
                self._client().search_experiments(max_results=1)
            return
        database, partial = self._layout.database, self._layout.root / ".mlflow.db.part"
        with hold_lock(self._layout.locks / DATABASE_LOCK, DATABASE_TIMEOUT_S):
            if database.exists():
                return
            partial.unlink(missing_ok=True)
            with quiet_mlflow("the registry could not be made", None):
                from mlflow.tracking import MlflowClient

                client = MlflowClient(database_uri(partial), database_uri(partial))
                artifacts = self._layout.artifacts.as_uri()
                client.create_experiment(EXPERIMENT, artifact_location=artifacts)
            partial.chmod(PRIVATE)
            partial.replace(database)

    def tracking(self) -> Tracking:
        """Where runs are logged. Raises UsageError for a folder that can hold no database."""
        if self._server_uri is not None:
            return Tracking(self._server_uri)
        here = str(Path.cwd())
        # MLflow writes the folder that it is started in into SQL, as Python writes a string.
        if not self._layout.database.exists() and "'" in here and '"' in here:
            raise UsageError(
                f"{here}: MLflow cannot make a database in a folder with both kinds of quotes in "
                "its name",
                hint="work in a folder with another name, or set MLFLOW_TRACKING_URI",
            )
        artifacts = self._layout.artifacts.as_uri()
        return Tracking(database_uri(self._layout.database), artifacts_uri=artifacts)

    def versions(self, model: str) -> Sequence[ModelVersion]:
        """All versions that are ready, oldest first."""
        if self._server_uri is None and not self._layout.database.exists():
            return []
        with quiet_mlflow("the versions could not be listed", self._server_uri):
            found, token = [], None
            while True:
                page = self._client().search_model_versions(
                    f"name='{checked_name(model)}'", max_results=PAGE_SIZE, page_token=token
                )
                found += [_version(one) for one in page if one.status == "READY"]
                token = page.token
                if not token:
                    return sorted(found, key=lambda one: int(one.version))

    def register(self, model: str, folder: Path, tags: Mapping[str, str]) -> ModelVersion:
        """Store a model folder as the next version; the tag `run_id` ties it to its run."""
        self._layout.require()
        checked_name(model)
        with quiet_mlflow(f"{model} could not be registered", self._server_uri):
            from mlflow.exceptions import MlflowException

            client = self._client()
            try:
                client.create_registered_model(model)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            run_id = tags.get(RUN_TAG)
            if self._server_uri is None:
                kept = keep_model(folder, self._layout.models / model)
                source = kept.as_uri()
                tags = {**tags, PATH_TAG: kept.relative_to(self._layout.root).as_posix()}
            else:
                source = _upload(client, model, folder, run_id)
            made = client.create_model_version(
                name=model, source=source, run_id=run_id, tags=dict(tags), await_creation_for=0
            )
            self._layout.hand_over()
            return _version(made)

    def fetch(self, model: str, version: str, destination: Path) -> None:
        """Copy a version's folder to a destination that is not there yet."""
        with quiet_mlflow(f"version {version} of {model} could not be had", self._server_uri):
            client = self._client()
            relative = client.get_model_version(model, version).tags.get(PATH_TAG)
            if relative is None or self._server_uri is not None:
                from mlflow.artifacts import download_artifacts

                destination.mkdir(parents=True)
                download_artifacts(
                    artifact_uri=client.get_model_version_download_uri(model, version),
                    dst_path=str(destination),
                    tracking_uri=client.tracking_uri,
                )
                return
        source = self._layout.root / relative
        if not source.is_dir():
            raise PlatformError(f"{source}: the files of {model} version {version} are gone")
        shutil.copytree(source, destination, copy_function=_link_or_copy)

    def _client(self) -> Any:
        from mlflow.tracking import MlflowClient

        uri = self.tracking().uri
        return MlflowClient(uri, uri)


def database_uri(path: Path) -> str:
    """The SQLAlchemy URI of an SQLite file. Raises UsageError for a path that it cannot say."""
    text = path.resolve().as_posix()
    if found := _NOT_IN_URIS.search(text):
        raise UsageError(
            f"{text}: MLflow cannot keep a database in a folder with {found.group()!r} in its name",
            hint="work in a folder with another name, or set MLFLOW_TRACKING_URI",
        )
    return f"sqlite:///{text}"


def keep_model(folder: Path, models: Path) -> Path:
    """Copy a folder into the workspace under a name of its own, whole or not at all."""
    models.mkdir(parents=True, exist_ok=True)
    for left_over in models.glob(".*.part"):
        lock = left_over.with_suffix(".lock")
        # Another training may be copying its own right now.
        if not is_locked(lock):
            shutil.rmtree(left_over, ignore_errors=True)
            lock.unlink(missing_ok=True)
    name = uuid.uuid4().hex[:12]
    partial, lock = models / f".{name}.part", models / f".{name}.lock"
    with hold_lock(lock):
        shutil.copytree(folder, partial)
        kept = partial.replace(models / name)
        lock.unlink()
    return kept


def _upload(client: Any, model: str, folder: Path, run_id: str | None) -> str:
    """Log a folder to a run, to one made for it where `run_id` is None; return its address."""
    if run_id is None:
        found = client.get_experiment_by_name(EXPERIMENT)
        experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT)
        run_id = client.create_run(experiment, run_name=f"register {model}").info.run_id
        client.set_terminated(run_id)
    place = f"model-{uuid.uuid4().hex[:8]}"
    client.log_artifacts(run_id, str(folder), place)
    return f"{client.get_run(run_id).info.artifact_uri}/{place}"


def _version(found: Any) -> ModelVersion:
    created = datetime.fromtimestamp(found.creation_timestamp / 1000, tz=UTC)
    return ModelVersion(found.name, str(found.version), dict(found.tags), created)


def _link_or_copy(source: str, destination: str) -> None:
    # Weights are never written again: a second name costs nothing where the disk knows links.
    try:
        os.link(source, destination)
    except OSError:
        shutil.copy2(source, destination)
