"""Two versions of a model on the same files, each run in this process: no endpoint is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.evaluation.evaluate import collect_results
from guardian_cli.evaluation.labels import Label, match_sources, read_labels
from guardian_cli.reports.elements import score_of
from guardian_cli.reports.results_file import key_of
from guardian_cli.scanning.pipeline import ScanRequest
from guardian_cli.training.evaluation.metrics import auc

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from guardian_cli.console import Console
    from guardian_cli.lifecycle.models import Model
    from guardian_cli.settings import Settings

Json = dict[str, Any]


def read_data(data: Path, category: str) -> tuple[list[str], list[Label]]:
    """The sources of a folder, or of a CSV as `evaluate` reads it with its labels of a category.

    Raises UsageError for what is neither, or has nothing of this category.
    """
    if data.is_dir():
        return [str(data)], []
    if not data.is_file():
        raise UsageError(
            f"{data}: no such file or folder",
            hint="name a folder, or a CSV path,category,label[,group]",
        )
    labels = [one for one in read_labels(data) if one.category == category]
    if not labels:
        raise UsageError(f"{data}: no row is of the category {category}")
    return list(dict.fromkeys(one.location for one in labels)), labels


def scan_with(
    model: Model, version: str, sources: Sequence[str], settings: Settings, console: Console
) -> list[Json]:
    """Scan with one version of a model, and CLIP beside it, for the model's category alone.

    Raises UsageError, MissingError, and PlatformError where the version did not score a source:
    then nothing can be said of it.
    """
    config = settings.config
    if model.category not in config.categories:
        raise UsageError(f"the category {model.category} of {model.name} is switched off")
    category = config.categories[model.category].model_copy(
        update={"model": f"{model.name}@{version}", "endpoint": None}
    )
    # An endpoint serves the version that is deployed, and this is about two that may not be.
    others = [one for one in config.scan.detectors if one not in {"endpoint", "model"}]
    scan = config.scan.model_copy(update={"detectors": (*others, "model")})
    config = config.model_copy(update={"categories": {model.category: category}, "scan": scan})
    request = ScanRequest(tuple(sources), output="jsonl", fail_on="never", no_endpoints=True)
    console.note(f"scanning with {model.name}@{version}")
    results = collect_results(request, replace(settings, config=config, endpoints={}), console)
    for one in results:
        is_scored = any((by["name"], by["status"]) == ("model", "ok") for by in one["detectors"])
        if one["verdict"] != "error" and not is_scored:
            raise PlatformError(
                f"{model.name}@{version} did not score {one['source']}",
                hint=f"guardian scan {one['source']} --json says why",
            )
    return results


def measure_auc(results: Sequence[Json], labels: Sequence[Label]) -> float:
    """The AUC of a category's scores, NaN where one class is missing.

    What was not scored is taken for wrong: a version that fails on hard files gains nothing.
    """
    keys = match_sources(labels, results)
    by_key = {key_of(one): one for one in results}
    scores = []
    for label in labels:
        one = by_key.get(keys.get(label.location, ""), {})
        score = score_of(one, label.category)
        scores.append((0.0 if label.positive else 1.0) if score is None else score)
    return auc([label.positive for label in labels], scores)
