"""What a training has found, as data: for the table, the JSON, the version's tags."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardian_cli.training.data import LeftOut
    from guardian_cli.training.evaluation import Metrics

_LONGEST_TAG = 256
_MOST_LEFT_OUT = 1000

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TrainReport:
    """One training. `metrics`, `data` and `training` are the parts of guardian.train/1."""

    model: str
    version: str
    run_id: str | None
    metrics: Mapping[str, Any]
    data: Mapping[str, Any]
    training: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def conclusion(self) -> str | None:
        """Why the version is not worth deploying; None for one that may be."""
        return conclude(self.metrics)


def conclude(metrics: Mapping[str, Any]) -> str | None:
    """Say why a model with these metrics is not worth deploying; None where nothing says so.

    The AUC has to be over what metadata alone reaches, and over a coin's 0.5, with its whole
    interval: what lies within the interval cannot be told apart from it.
    """
    low, high = metrics["auc_interval"]
    metadata = metrics["metadata_auc"]
    if low is None or metadata is None:
        return "too little data to tell how good it is: not worth deploying"
    reach = f"the AUC's interval, {low:.3f} to {high:.3f}, reaches down to"
    if low <= metadata:
        return f"no better than metadata: not worth deploying ({reach} {metadata:.3f})"
    if low <= 0.5:
        return f"no better than guessing: not worth deploying ({reach} 0.5)"
    if not metrics["true_positive_rate"]:
        return "its threshold finds none of the positives (recall 0): not worth deploying"
    return None


def metrics_part(metrics: Metrics, false_positives: float) -> Json:
    """The `metrics` of guardian.train/1: numbers that are not there are null."""
    point = metrics.operating
    return {
        "auc": _number(metrics.auc),
        "auc_interval": [_number(bound) for bound in metrics.auc_interval],
        "average_precision": _number(metrics.average_precision),
        "ece": _number(metrics.ece),
        "threshold": _number(point.threshold),
        "threshold_false_positive_rate": false_positives,
        "false_positive_rate": _number(point.false_positive_rate),
        "true_positive_rate": _number(point.true_positive_rate),
        "temporal_auc": _number(metrics.temporal_auc),
        "metadata_auc": _number(metrics.metadata_auc),
        "metadata_auc_interval": [_number(bound) for bound in metrics.metadata_auc_interval],
        "n": metrics.n,
        "positives": metrics.positives,
    }


def add_left_out(data: Mapping[str, Any], left_out: Sequence[LeftOut]) -> Json:
    """The `data` of guardian.train/1 with more files that were left out, before all others."""
    known = data.get("left_out", [])
    return {
        **data,
        "left_out_count": len(left_out) + data.get("left_out_count", 0),
        "contradictions": sum(one.contradiction for one in left_out)
        + data.get("contradictions", 0),
        "left_out": [*(asdict(one) for one in left_out), *known][:_MOST_LEFT_OUT],
    }


def flat_metrics(part: Mapping[str, Any]) -> dict[str, float | None]:
    """The same for MLflow, which knows single numbers only."""
    flat: dict[str, float | None] = {}
    for name, value in part.items():
        if isinstance(value, list):
            flat[f"{name}_low"], flat[f"{name}_high"] = value
        else:
            flat[name] = value
    return flat


def version_tags(report: TrainReport) -> dict[str, str]:
    """What is stored with the version; every value is short enough for any platform."""
    metrics, data, training = report.metrics, report.data, report.training
    low, high = metrics["auc_interval"]
    values = {
        "data": "simulated" if data["simulated"] else data["source"],
        "data_digest": data["digest"],
        "data_files": data["n"],
        "data_left_out": data["left_out_count"],
        "positive": data["positive"],
        "backbone": training["backbone"],
        "seed": training["seed"],
        "judged_by": training["method"],
        "auc": metrics["auc"],
        "auc_low": low,
        "auc_high": high,
        "ece": metrics["ece"],
        "threshold": metrics["threshold"],
        "threshold_false_positive_rate": metrics["threshold_false_positive_rate"],
        "recall": metrics["true_positive_rate"],
        "metadata_auc": metrics["metadata_auc"],
        "conclusion": report.conclusion,
        "guardian": training["environment"]["version.guardian"],
    }
    tags = {name: _tag(value) for name, value in values.items() if value is not None}
    return tags | ({"run_id": report.run_id} if report.run_id else {})


def _tag(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST_TAG else "…" + text[1 - _LONGEST_TAG :]


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), 6)
