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
from guardian_cli.evaluation.calibrate import Levels, fit
from guardian_cli.evaluation.compare import FLAGGED, agrees
from guardian_cli.evaluation.figures import Scored, measure
from guardian_cli.evaluation.labels import match_sources
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
) -> list[Json]:
    """Scan every labelled file and return the results.

    Raises UsageError for a category that is not scanned for, and what `run_scan` raises.
    """
    unknown = sorted({one.category for one in labels} - settings.config.categories.keys())
    if unknown:
        known = ", ".join(settings.config.categories)
        raise UsageError(
            f"no category is named {unknown[0]!r}; there is {known}",
            hint="guardian evaluate --config FILE, with categories: in it",
        )
    sources = tuple(dict.fromkeys(label.location for label in labels))
    with tempfile.TemporaryDirectory(prefix="guardian-") as folder:
        # Results go through a file: those of a hundred thousand videos need no memory meanwhile.
        path = request.resume or Path(folder) / "results.jsonl"
        with (Path(folder) / "lines.jsonl").open("w+", encoding="utf-8") as lines:
            sink = Console(quiet=console.quiet, out=lines)
            run_scan(replace(request, sources=sources, output="jsonl"), settings, sink)
            if request.resume is None:
                path = Path(lines.name)
        return list(read_results(path))


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
    if not keys:
        raise UsageError(
            f"none of the labelled files has a result, such as {labels[0].written}",
            hint="paths in the CSV count from its own folder, those of results from this one",
        )
    by_key = {key_of(one): one for one in results}
    found = {location: by_key[key] for location, key in keys.items()}
    # What most results were made with; lengths raise thresholds, and results may be of many runs.
    categories: dict[str, CategoryEvaluation] = {}
    for name in dict.fromkeys(label.category for label in labels):
        own = [label for label in labels if label.category == name]
        categories[name] = _evaluate_category(name, own, found, false_alarms, warn)
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
    errors = sum(result["verdict"] == "error" for _, result in there)
    rows = [
        (label, result, group)
        for (label, result), group in zip(there, groups, strict=True)
        if result["verdict"] != "error" and _score(result, name) is not None
    ]
    verdicts = [_verdict(result, name) for _, result, _ in rows]
    scored = Scored(
        np.array([label.positive for label, _, _ in rows], dtype=bool),
        np.array([_score(result, name) for _, result, _ in rows], dtype=float),
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
    fitted = _calibrate(name, rows, false_alarms, warn)
    for note in fitted.warnings:
        warn(f"{name}: {note}")
    return replace(evaluation, fitted=fitted)


def _calibrate(
    name: str,
    rows: Sequence[tuple[Label, Json, int]],
    false_alarms: float,
    warn: Callable[[str], None],
) -> Fitted:
    import numpy as np

    made = [result.get("made") or {} for _, result, _ in rows]
    if any(name in (one.get("calibration") or {}) for one in made):
        raise UsageError(
            f"{name}: these results are calibrated already, and a scale is fitted to what is not",
            hint="guardian evaluate LABELS.csv --calibrate OUT.yaml, without --results",
        )
    every = {float(one.get("every") or 1.0) for one in made}
    if len(every) > 1:
        raise UsageError(f"{name}: these results are of different sampling intervals: {every}")
    categories = [result["categories"][name] for _, result, _ in rows]
    if any("level" not in one for one in categories):
        warn(
            f"{name}: these results do not say which threshold they would reach: the highest frame"
            " is taken, which is too strict; evaluate without --results looks closer"
        )
    (every_s,) = every or {1.0}
    data = Levels(
        np.array([label.positive for label, _, _ in rows], dtype=bool),
        np.array([_level(result, name) for _, result, _ in rows], dtype=float),
        np.array([_samples(result, name, every_s) for _, result, _ in rows], dtype=np.int64),
        [group for _, _, group in rows],
        [label.written for label, _, _ in rows],
    )
    try:
        return fit(data, rate=false_alarms, every_s=every_s)
    except UsageError as error:
        raise UsageError(f"{name}: {error}", hint="label more videos") from error


def write_mistakes(path: Path, mistakes: Iterable[Mistake]) -> str:
    """Return a CSV `path,category,label,group,verdict` of labels that results do not agree with.

    Paths are relative to `path`, where it is going to lie, as `train --data` reads them.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("path", "category", "label", "group", "verdict"))
    for one in mistakes:
        label, place = one.label, one.label.location
        if "://" not in place:
            place = Path(os.path.relpath(place, path.parent)).as_posix()
        table.writerow((place, label.category, label.text, label.group or "", one.verdict))
    return text.getvalue()


def _group(there: Sequence[tuple[Label, Json]]) -> list[int]:
    """Number the groups: those that are named, and copies of one file."""
    first: dict[str, int] = {}
    links = [
        (first.setdefault(result["sha256"], at), at)
        for at, (_, result) in enumerate(there)
        if result.get("sha256")
    ]
    return join_groups([label.group for label, _ in there], links)


def _score(result: Json, category: str) -> float | None:
    score: float | None = ((result.get("categories") or {}).get(category) or {}).get("score")
    return score


def _verdict(result: Json, category: str) -> str:
    if result["verdict"] == "error":
        return "error"
    one = (result.get("categories") or {}).get(category)
    return "unscored" if one is None or one.get("score") is None else str(one["verdict"])


def _level(result: Json, category: str) -> float:
    """The highest threshold that a video would reach, or what it reaches at the most."""
    one = result["categories"][category]
    peaks = [segment["peak"] for segment in one["segments"]]
    peaks += [
        score
        for frame in result.get("frames") or ()
        if (score := frame["scores"].get(category, {}).get("fused")) is not None
    ]
    return float(one.get("level", max([one["score"], *peaks])))


def _samples(result: Json, category: str, every_s: float) -> int:
    """How many pictures the first pass saw, as far as the result tells."""
    one, coverage = result["categories"][category], result.get("coverage") or {}
    seen, length_s = coverage.get("frames_scored") or 1, coverage.get("duration_s")
    by_length = seen if length_s is None else round(length_s / every_s) + 2
    return int(one.get("pictures", min(seen, by_length)))
