"""What a training found, as data: for the table, the JSON, the version's tags."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardian_cli.training.data.dataset import Dataset, LeftOut
    from guardian_cli.training.data.frame_store import FrameStore
    from guardian_cli.training.data.grouping import Grouping
    from guardian_cli.training.data.splits import SplitPlan
    from guardian_cli.training.evaluation.metrics import Metrics

# Azure's limit for the value of a tag.
_MAX_TAG = 256
# The count beside the list is whole; a report with a million names helps nobody.
_MAX_LEFT_OUT = 1000

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


@dataclass(frozen=True, slots=True, eq=False)
class PreparedData:
    """What is trained and tested on. `positive` and the groups are in the order of `store.stored`.

    `unusable` are files that gave no picture or contradict each other, `digest` names the data.
    """

    dataset: Dataset
    positive_label: str
    store: FrameStore
    unusable: tuple[LeftOut, ...]
    positive: tuple[bool, ...]
    grouping: Grouping
    plan: SplitPlan
    digest: str


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
    # A good AUC with outliers among the negatives: nothing would ever be flagged.
    if not metrics["true_positive_rate"]:
        return "its threshold finds none of the positives (recall 0): not worth deploying"
    return None


def describe_metrics(metrics: Metrics) -> Json:
    """The `metrics` of guardian.train/1, to a millionth; numbers that are not there are null."""

    def to_json(value: Any) -> Any:
        if isinstance(value, tuple):
            return [to_json(one) for one in value]
        if isinstance(value, float):
            return round(value, 6) if math.isfinite(value) else None
        return value

    return {name: to_json(value) for name, value in asdict(metrics).items()}


def describe_data(data: PreparedData) -> Json:
    """The `data` of guardian.train/1: what was trained and tested on."""
    stored, grouping = data.store.stored, data.grouping
    videos = sum(one.facts.duration_s is not None for one in stored)
    part = {
        "source": data.dataset.source,
        "simulated": data.dataset.simulated,
        "digest": data.digest,
        "kind": "videos" if videos == len(stored) else "mixed" if videos else "images",
        "positive": data.positive_label,
        "labels": dict(sorted(Counter(one.sample.label for one in stored).items())),
        "n": len(stored),
        "positives": sum(data.positive),
        "groups": grouping.count,
        "near_duplicates": {
            "pairs": grouping.pairs,
            "conflicts": grouping.conflicts,
            "distance": grouping.distance,
            "dropped": len(data.plan.dropped),
        },
        "folds": [
            {"train": len(one.train), "val": len(one.val), "test": len(one.test)}
            for one in data.plan.folds
        ],
    }
    return add_left_out(part, (*data.dataset.left_out, *data.unusable))


def describe_duplicates(data: PreparedData) -> list[str]:
    """Say in words what near-duplicates have done to the data."""
    notes = []
    stored, grouping, dropped = data.store.stored, data.grouping, len(data.plan.dropped)
    if grouping.pairs and not any(one.sample.group for one in stored):
        notes.append(
            f"{grouping.pairs} pairs of files look alike; {len(stored)} files were kept"
            f" together in {grouping.count} groups"
        )
    if grouping.conflicts:
        notes.append(
            f"{grouping.conflicts} pairs of files look alike and have different labels:"
            " one of each may be labelled wrongly"
        )
    if dropped:
        notes.append(
            f"{dropped} files of train or val look like files of test: they were not trained on"
        )
    return notes


def add_left_out(data: Mapping[str, Any], left_out: Sequence[LeftOut]) -> Json:
    """The `data` of guardian.train/1 with more files that were left out, before all others."""
    contradictions = sum(one.contradiction for one in left_out)
    return {
        **data,
        "left_out_count": len(left_out) + data.get("left_out_count", 0),
        "contradictions": contradictions + data.get("contradictions", 0),
        "left_out": [*map(asdict, left_out), *data.get("left_out", [])][:_MAX_LEFT_OUT],
    }


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
        "run_id": report.run_id or None,
    }
    tags = {}
    for name, value in values.items():
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        if value is not None:
            # The end of a path tells more than its start.
            tags[name] = text if len(text) <= _MAX_TAG else "…" + text[1 - _MAX_TAG :]
    return tags
