"""`guardian evaluate`: labelled videos against what a scan says of them."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardian_cli.console import Console
from guardian_cli.errors import UsageError
from guardian_cli.evaluation.calibrate import calibrate
from guardian_cli.evaluation.compare import FLAGGED, agrees
from guardian_cli.evaluation.figures import Scored, measure
from guardian_cli.evaluation.labels import match_sources
from guardian_cli.reports.elements import score_of
from guardian_cli.reports.results_file import key_of, read_results
from guardian_cli.scanning.pipeline import run_scan
from guardian_cli.training.data.grouping import join_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from guardian_cli.evaluation.calibrate import Fitted
    from guardian_cli.evaluation.figures import Figures
    from guardian_cli.evaluation.labels import Label
    from guardian_cli.scanning.pipeline import ScanRequest
    from guardian_cli.settings import Settings

    Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class CategoryEvaluation:
    """What came of one category's labels.

    `videos` have a label; of these `positives` are positive, `missing` have no result, `errors`
    could not be scanned and `unscored` have no score: `scored` has the rest, which `figures` are
    of. `thresholds` are those of most results.
    """

    videos: int
    positives: int
    missing: int
    errors: int
    unscored: int
    groups: int
    thresholds: Json | None
    scored: Scored
    figures: Figures
    fitted: Fitted | None = None


@dataclass(frozen=True, slots=True)
class Mistake:
    """A label that a result does not agree with; `verdict` is the category's, or `error`."""

    label: Label
    verdict: str


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """All categories, by name, and the labels that were not agreed with."""

    categories: Mapping[str, CategoryEvaluation]
    mistakes: tuple[Mistake, ...]


def scan_labelled(
    labels: Sequence[Label], request: ScanRequest, settings: Settings, console: Console
) -> list[dict[str, Any]]:
    """Scan every labelled file and return the results.

    Raises UsageError for a category that is not scanned for and for a folder, and what `run_scan`
    raises.
    """
    unknown = sorted({one.category for one in labels} - settings.config.categories.keys())
    if unknown:
        known = ", ".join(settings.config.categories)
        raise UsageError(
            f"no category is named {unknown[0]!r}; there is {known}",
            hint="guardian evaluate --config FILE, with categories: in it",
        )
    for label in labels:
        if Path(label.location).is_dir():
            raise UsageError(
                f"{label.where}: {label.written} is a folder", hint="a label is of one file"
            )
    # A file may be called -, which is no list of names here.
    locations = (label.location if label.location != "-" else "./-" for label in labels)
    sources = tuple(dict.fromkeys(locations))
    return collect_results(replace(request, sources=sources), settings, console)


def collect_results(
    request: ScanRequest, settings: Settings, console: Console
) -> list[dict[str, Any]]:
    """Scan, and return the results instead of showing them. Raises what `run_scan` raises."""
    with tempfile.TemporaryDirectory(prefix="guardian-") as folder:
        # Results go through a file: those of a hundred thousand videos need no memory meanwhile.
        path = Path(folder) / "results.jsonl"
        with path.open("w", encoding="utf-8") as lines:
            # The progress still goes to the screen; only what would be the result is caught.
            sink = Console(quiet=console.quiet, out=lines)
            run_scan(replace(request, output="jsonl"), settings, sink)
        # With --resume stdout gets only what is new; its file has the earlier results as well.
        return list(read_results(request.resume or path))


def evaluate(
    labels: Sequence[Label],
    results: Sequence[Json],
    *,
    false_alarms: float | None = None,
    warn: Callable[[str], None],
) -> Evaluation:
    """Compare results with labels, and fit thresholds where a rate of false alarms is given.

    Raises UsageError where no label has a result, and for results that cannot be calibrated.
    """
    keys = match_sources(labels, results)
    by_key = {key_of(one): one for one in results}
    found = {location: by_key[key] for location, key in keys.items()}
    categories: dict[str, CategoryEvaluation] = {}
    for name in dict.fromkeys(label.category for label in labels):
        own = [label for label in labels if label.category == name]
        categories[name] = _evaluate_category(name, own, found, false_alarms, warn)
    # A file without a result is missing, which is counted elsewhere, and no mistake.
    mistakes = [
        Mistake(label, _verdict(found[label.location], label.category))
        for label in labels
        if label.location in found
        and not agrees(found[label.location], label.category, label.positive)
    ]
    return Evaluation(categories, tuple(mistakes))


def _evaluate_category(
    name: str,
    labels: Sequence[Label],
    found: Mapping[str, Json],
    false_alarms: float | None,
    warn: Callable[[str], None],
) -> CategoryEvaluation:
    import numpy as np

    there = [(label, found[label.location]) for label in labels if label.location in found]
    groups = _group(there)
    # An error says nothing of the category: it must count neither as a miss nor as a hit.
    errors = sum(result["verdict"] == "error" for _, result in there)
    rows = [
        (label, result, group)
        for (label, result), group in zip(there, groups, strict=True)
        if result["verdict"] != "error" and score_of(result, name) is not None
    ]
    verdicts = [_verdict(result, name) for _, result, _ in rows]
    scored = Scored(
        np.array([label.positive for label, _, _ in rows], dtype=bool),
        np.array([score_of(result, name) for _, result, _ in rows], dtype=float),
        np.array([("allow", *FLAGGED).index(one) for one in verdicts], dtype=np.int64),
        [group for _, _, group in rows],
        [result.get("media") or {} for _, result, _ in rows],
    )
    limits = [
        ((result.get("made") or {}).get("thresholds") or {}).get(name) for _, result, _ in rows
    ]
    evaluation = CategoryEvaluation(
        videos=len(labels),
        positives=sum(label.positive for label in labels),
        missing=len(labels) - len(there),
        errors=errors,
        unscored=len(there) - errors - len(rows),
        groups=len(set(groups)),
        # Those of most: a video's length raises them, and results may be of several runs.
        thresholds=max((one for one in limits if one), key=limits.count, default=None),
        scored=scored,
        figures=measure(scored),
    )
    for note in evaluation.figures.notes:
        warn(f"{name}: {note}")
    for count, what in (
        (evaluation.missing, "have no result"),
        (evaluation.errors, "could not be scanned"),
        (evaluation.unscored, "are unscored"),
    ):
        if count:
            warn(f"{name}: {count} of {len(labels)} videos {what}: the figures leave them out")
    if false_alarms is None:
        return evaluation
    fitted = calibrate(name, rows, false_alarms, warn)
    for note in fitted.warnings:
        warn(f"{name}: {note}")
    return replace(evaluation, fitted=fitted)


def write_mistakes(path: Path, mistakes: Iterable[Mistake]) -> str:
    """Return a CSV `path,category,label,group,verdict` of labels that results do not agree with.

    Paths are relative to `path`, where it is going to lie, as `train --data` reads them.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("path", "category", "label", "group", "verdict"))
    for one in mistakes:
        label, place = one.label, one.label.location
        # As seen from the CSV itself, which is how `train --data` reads paths.
        if "://" not in place:
            place = Path(os.path.relpath(place, path.parent)).as_posix()
        table.writerow((place, label.category, label.text, label.group or "", one.verdict))
    return text.getvalue()


def _group(there: Sequence[tuple[Label, Json]]) -> list[int]:
    """Number the groups: those that are named, and copies of one file."""
    # Copies of one file share a group: with one on each side of a split, what is tested would be
    # known already.
    first: dict[str, int] = {}
    links = [
        (first.setdefault(result["sha256"], at), at)
        for at, (_, result) in enumerate(there)
        if result.get("sha256")
    ]
    return join_groups([label.group for label, _ in there], links)


def _verdict(result: Json, category: str) -> str:
    if result["verdict"] == "error":
        return "error"
    if score_of(result, category) is None:
        return "unscored"
    return str(result["categories"][category]["verdict"])
