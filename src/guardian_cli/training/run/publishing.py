"""The last steps of a training: the run in MLflow, the model folder, the version; each once."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.quiet_mlflow import quiet_mlflow
from guardian_cli.serving.packaging import write_mlflow_model
from guardian_cli.training.evaluation.report import TrainReport, flat_metrics, version_tags
from guardian_cli.training.model.loop import Epoch
from guardian_cli.training.run.learning import ARTIFACT_NAME, PLOTS_NAME, REPORT_NAME
from guardian_cli.training.run.tracking import TRAINING_TAG, RunLog

if TYPE_CHECKING:
    from pathlib import Path

    from guardian_cli.lifecycle.platform import ModelVersion, Registry, Tracking
    from guardian_cli.training.progress import Reporter
    from guardian_cli.training.run.directory import Workplace

MODEL_NAME = "model"


def publish(place: Workplace, registry: Registry, model: str, reporter: Reporter) -> TrainReport:
    """Log and register what the folder holds, or find it registered already.

    Raises PlatformError; the same training again then goes on here.
    """
    kept = place.read(REPORT_NAME)
    tracking = registry.tracking()
    known = find_version(registry, model, place.run)
    log = log_run(place, kept, tracking, model, reporter, whole=known is None)
    report = _report(kept, model, log.run_id if log else "")
    if known is None:
        with quiet_mlflow("the model could not be packed", None):
            folder = _pack(place.folder)
        tags = {**version_tags(report), TRAINING_TAG: place.run}
        known = registry.register(model, folder, tags)
    if log is not None:
        with quiet_mlflow("the run could not be closed", tracking.uri):
            log.finish()
    return _report(kept, model, log.run_id if log else "", known.version)


def log_run(
    place: Workplace,
    kept: Any,
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
            log = RunLog(tracking, model, place.run)
            if whole:
                plots = sorted((place.folder / PLOTS_NAME).iterdir())
                report = _report(kept, model, log.run_id)
                log.log(_params(report), _histories(kept), flat_metrics(report.metrics), plots)
    except Exception as error:
        # A plug-in of somebody else talks to a server of somebody else: whatever comes up in
        # there must not cost the version, where the version does not need the run.
        if tracking.needed:
            raise
        told = (
            error if isinstance(error, PlatformError) else f"the run could not be logged: {error}"
        )
        reporter.warn(f"{model}: {told}; its numbers stand on the version")
        return None
    return log


def find_version(registry: Registry, model: str, training: str) -> ModelVersion | None:
    """The version that a training has registered, or None."""
    versions = registry.versions(model)
    return next((one for one in versions if one.tags.get(TRAINING_TAG) == training), None)


def _pack(folder: Path) -> Path:
    """The model folder, with the plots in it: they travel where a server takes no artifacts."""
    packed = folder / MODEL_NAME
    shutil.rmtree(packed, ignore_errors=True)
    write_mlflow_model(folder / ARTIFACT_NAME, packed)
    shutil.copytree(folder / PLOTS_NAME, packed / PLOTS_NAME)
    return packed


def _report(kept: Any, model: str, run_id: str, version: str = "") -> TrainReport:
    return TrainReport(
        model,
        version,
        run_id,
        kept["metrics"],
        kept["data"],
        kept["training"],
        tuple(kept["notes"]),
    )


def _params(report: TrainReport) -> dict[str, Any]:
    data, training = report.data, report.training
    named = ("source", "simulated", "digest", "kind", "positive", "n", "positives", "groups")
    return {
        "backbone": training["backbone"],
        "judged_by": training["method"],
        **training["settings"],
        **{f"data.{name}": data[name] for name in (*named, "left_out_count")},
        **training["environment"],
    }


def _histories(kept: Any) -> list[list[Epoch]]:
    return [[Epoch(**epoch) for epoch in history] for history in kept["histories"]]
