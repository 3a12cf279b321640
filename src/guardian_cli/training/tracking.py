"""One MLflow run for each training: parameters, metrics by epoch, plots, and where it ran.

All of it is logged when the numbers are known, so no half-told run is left behind; a run that a
killed process has begun is found by its tag and finished.
"""

from __future__ import annotations

import math
import platform
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from guardian_cli import __version__
from guardian_cli.settings import count_cores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from guardian_cli.lifecycle.platform import Tracking
    from guardian_cli.training.loop import Epoch

# Ties runs and versions to the one training that made them, so that there is one of each.
TRAINING_TAG = "guardian.training"
EXPERIMENT = "guardian"
_BATCH = 1000
_LONGEST_VALUE = 250


class RunLog:
    """A run in MLflow, begun or found. `training` is the name that only this training has."""

    def __init__(self, tracking: Tracking, model: str, training: str) -> None:
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(tracking.uri)
        self._takes_artifacts = tracking.takes_artifacts
        self._artifacts_uri = tracking.artifacts_uri
        self.run_id = self._find_or_begin(model, training)

    def _find_or_begin(self, model: str, training: str) -> str:
        experiment = self._experiment()
        found = self._client.search_runs(
            [experiment], f"tags.`{TRAINING_TAG}` = '{training}'", max_results=1
        )
        if found:
            return str(found[0].info.run_id)
        tags = {TRAINING_TAG: training, "guardian.model": model}
        run = self._client.create_run(experiment, run_name=f"train {model}", tags=tags)
        return str(run.info.run_id)

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        here = self._artifacts_uri
        if found and here is not None and found.artifact_location.rstrip("/") != here:
            # The project was moved, and an experiment's files cannot be: new runs get a new one.
            left = f"{EXPERIMENT} {found.experiment_id} ({found.artifact_location})"
            self._client.rename_experiment(found.experiment_id, left)
            found = None
        if found:
            return str(found.experiment_id)
        return str(self._client.create_experiment(EXPERIMENT, artifact_location=here))

    def log(
        self,
        params: Mapping[str, Any],
        histories: Sequence[Sequence[Epoch]],
        metrics: Mapping[str, float | None],
        files: Sequence[Path],
    ) -> None:
        """Log everything; the metrics last, so that a run with them has all the rest."""
        known = self._client.get_run(self.run_id).data.metrics
        if any(name in known for name in metrics):
            return
        self._log_params(params)
        if self._takes_artifacts:
            for file in files:
                self._client.log_artifact(self.run_id, str(file), "plots")
        self._log_metrics(histories, metrics)

    def _log_params(self, params: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        rows = [Param(name, str(value)[:_LONGEST_VALUE]) for name, value in params.items()]
        self._client.log_batch(self.run_id, params=rows)

    def _log_metrics(
        self, histories: Sequence[Sequence[Epoch]], metrics: Mapping[str, float | None]
    ) -> None:
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        rows = [
            Metric(f"network_{number}.{name}", value, now_ms, epoch.number)
            for number, history in enumerate(histories, start=1)
            for epoch in history
            for name, value in (
                ("loss", epoch.loss),
                ("val_loss", epoch.val_loss),
                ("val_auc", epoch.val_auc),
            )
            if math.isfinite(value)
        ]
        rows += [
            Metric(name, float(value), now_ms, 0)
            for name, value in metrics.items()
            if value is not None and math.isfinite(value)
        ]
        for start in range(0, len(rows), _BATCH):
            self._client.log_batch(self.run_id, metrics=rows[start : start + _BATCH])

    def finish(self) -> None:
        """Say that the run has ended well."""
        self._client.set_terminated(self.run_id, "FINISHED")


def describe_environment() -> dict[str, str]:
    """What numbers may depend on besides data and settings."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    packages = {
        f"version.{name}": version(name) for name in ("torch", "numpy", "open_clip_torch", "mlflow")
    }
    return {
        "version.guardian": __version__,
        "version.python": platform.python_version(),
        **packages,
        "system": platform.platform(),
        "device": device,
        "cores": str(count_cores()),
        "threads": str(torch.get_num_threads()),
    }
