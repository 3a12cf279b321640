"""The last steps of a training: the run in MLflow, the model folder, the version; each once.

A run in MLflow has parameters, metrics by epoch, plots, and where it ran. All of it is logged when
the numbers are known, so that no unfinished run is left behind; a run that a killed process has
begun is found by its tag and finished.
"""

from __future__ import annotations

import math
import platform
import shutil
import time
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from guardian_cli import __version__
from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.quiet_mlflow import quiet_mlflow
from guardian_cli.serving.packaging import write_mlflow_model
from guardian_cli.settings import count_cores
from guardian_cli.training.evaluation.report import TrainReport, version_tags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from guardian_cli.lifecycle.platform import Registry, Reporter, Tracking
    from guardian_cli.training.run.directory import RunDirectory

REPORT_NAME = "report.json"
ARTIFACT_NAME = "artifact"
PLOTS_NAME = "plots"
# The SHA-256 of every file that was learned from, one a line: what a later retraining calls new.
DIGESTS_NAME = "data_digests.txt"
# Ties runs and versions to the one training that made them, so that there is one of each.
TRAINING_TAG = "guardian.training"
EXPERIMENT = "guardian"
# Limits of MLflow's server: metrics in one request, characters of a parameter.
_MAX_METRICS = 1000
_MAX_PARAM = 250


def publish(
    directory: RunDirectory, registry: Registry, model: str, reporter: Reporter
) -> TrainReport:
    """Log and register what the directory holds, or find it registered already.

    Raises PlatformError; the same training again then goes on here.
    """
    kept = directory.read(REPORT_NAME)
    tracking = registry.tracking()
    versions = registry.versions(model)
    known = next((one for one in versions if one.tags.get(TRAINING_TAG) == directory.run), None)
    log = log_run(directory, kept, tracking, model, reporter, whole=known is None)
    parts = {name: kept[name] for name in ("metrics", "data", "training")}
    run_id = log.run_id if log else ""
    report = TrainReport(model, "", run_id, **parts, notes=tuple(kept["notes"]))
    # The version is registered last, for it is what others see; the run is closed only after it.
    if known is None:
        packed = directory.folder / "model"
        shutil.rmtree(packed, ignore_errors=True)
        with quiet_mlflow("the model could not be packed", None):
            write_mlflow_model(directory.folder / ARTIFACT_NAME, packed)
        # The plots travel with the model where a server takes no artifacts.
        shutil.copytree(directory.folder / PLOTS_NAME, packed / PLOTS_NAME)
        digests = "".join(f"{one}\n" for one in kept.get("digests", ()))
        (packed / DIGESTS_NAME).write_text(digests, encoding="ascii")
        tags = version_tags(report)
        known = registry.register(model, packed, {**tags, TRAINING_TAG: directory.run})
    if log is not None:
        with quiet_mlflow("the run could not be closed", tracking.uri):
            log.finish()
    return replace(report, version=known.version)


def log_run(
    directory: RunDirectory,
    kept: Mapping[str, Any],
    tracking: Tracking,
    model: str,
    reporter: Reporter,
    *,
    whole: bool,
) -> RunLog | None:
    """The run, with everything in it if `whole`; None where it could not be logged and need not."""
    if not tracking.uri:
        reporter.warn(f"{model}: there is no MLflow to log to; its numbers stand on the version")
        return None
    try:
        with quiet_mlflow("the run could not be logged", tracking.uri):
            log = RunLog(tracking, model, directory.run)
            if whole:
                log.log(kept, sorted((directory.folder / PLOTS_NAME).iterdir()))
    except Exception as error:
        # A plug-in of somebody else talks to a server of somebody else: whatever comes up in
        # there must not cost the version, where the version does not need the run.
        if tracking.needed:
            raise
        problem = "" if isinstance(error, PlatformError) else "the run could not be logged: "
        reporter.warn(f"{model}: {problem}{error}; its numbers stand on the version")
        return None
    return log


class RunLog:
    """A run in MLflow, begun or found. `training` is the name that only this training has."""

    def __init__(self, tracking: Tracking, model: str, training: str) -> None:
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(tracking.uri)
        self._tracking = tracking
        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        here = tracking.artifacts_uri
        if experiment and here is not None and experiment.artifact_location.rstrip("/") != here:
            # The project was moved, and an experiment's files cannot be: new runs get a new one.
            left = f"{EXPERIMENT} {experiment.experiment_id} ({experiment.artifact_location})"
            self._client.rename_experiment(experiment.experiment_id, left)
            experiment = None
        if experiment:
            number = str(experiment.experiment_id)
        else:
            number = str(self._client.create_experiment(EXPERIMENT, artifact_location=here))
        found = self._client.search_runs(
            [number], f"tags.`{TRAINING_TAG}` = '{training}'", max_results=1
        )
        if found:
            run = found[0]
        else:
            tags = {TRAINING_TAG: training, "guardian.model": model}
            run = self._client.create_run(number, run_name=f"train {model}", tags=tags)
        self.run_id = str(run.info.run_id)

    def log(self, kept: Mapping[str, Any], files: Sequence[Path]) -> None:
        """Log everything, once: parameters, then plots, then metrics."""
        from mlflow.entities import Metric, Param

        # The last metric that is logged: with it everything is there.
        if "positives" in self._client.get_run(self.run_id).data.metrics:
            return
        data, training = kept["data"], kept["training"]
        names = ("source", "simulated", "digest", "kind", "positive", "n", "positives", "groups")
        named = {
            "backbone": training["backbone"],
            "judged_by": training["method"],
            **training["settings"],
            **{f"data.{name}": data[name] for name in (*names, "left_out_count")},
            # The device's own name stands over `cpu` or `cuda` of the settings.
            **training["environment"],
        }
        params = [Param(name, str(value)[:_MAX_PARAM]) for name, value in named.items()]
        self._client.log_batch(self.run_id, params=params)
        if self._tracking.takes_artifacts:
            for file in files:
                self._client.log_artifact(self.run_id, str(file), PLOTS_NAME)
        now_ms = int(time.time() * 1000)
        metrics = [
            Metric(name, float(value), now_ms, step)
            for name, value, step in list_metrics(kept)
            if value is not None and math.isfinite(value)
        ]
        for start in range(0, len(metrics), _MAX_METRICS):
            self._client.log_batch(self.run_id, metrics=metrics[start : start + _MAX_METRICS])

    def finish(self) -> None:
        """Say that the run has ended well."""
        self._client.set_terminated(self.run_id, "FINISHED")


def list_metrics(kept: Mapping[str, Any]) -> list[tuple[str, float | None, int]]:
    """List name, value and step: those of every epoch first, an interval as its two ends."""
    rows: list[tuple[str, float | None, int]] = [
        (f"network_{number}.{name}", epoch[name], epoch["number"])
        for number, history in enumerate(kept["histories"], start=1)
        for epoch in history
        for name in ("loss", "val_loss", "val_auc")
    ]
    for name, value in kept["metrics"].items():
        if isinstance(value, list):
            rows += [(f"{name}_low", value[0], 0), (f"{name}_high", value[1], 0)]
        else:
            rows.append((name, value, 0))
    return rows


def describe_environment() -> dict[str, str]:
    """What numbers may depend on besides data and settings."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    packages = ("torch", "numpy", "scikit-learn", "open_clip_torch", "mlflow")
    return {
        "version.guardian": __version__,
        "version.python": platform.python_version(),
        **{f"version.{name}": version(name) for name in packages},
        "system": platform.platform(),
        "device": device,
        "cores": str(count_cores()),
        "threads": str(torch.get_num_threads()),
    }
