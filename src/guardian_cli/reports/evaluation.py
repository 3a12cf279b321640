"""Shows how good verdicts are on labelled videos: guardian.evaluate/1, or a table a category."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guardian_cli.reports.document import dumps
from guardian_cli.reports.text import count, visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

    from guardian_cli.console import Console
    from guardian_cli.evaluation.calibrate import Fitted
    from guardian_cli.evaluation.evaluate import CategoryEvaluation, Evaluation
    from guardian_cli.evaluation.figures import AtThreshold, Bin, Figure

SCHEMA = "guardian.evaluate/1"
DIGITS = 6
Json = dict[str, Any]


def show_evaluation(
    console: Console, evaluation: Evaluation, labels: str, results: str | None, *, as_json: bool
) -> None:
    """Show an evaluation as the result of a run; `labels` and `results` are the files' names."""
    if as_json:
        console.result(dumps(evaluation_document(evaluation, labels, results), indent=2))
        return
    for name, one in evaluation.categories.items():
        console.show(category_table(name, one))


def evaluation_document(evaluation: Evaluation, labels: str, results: str | None) -> Json:
    """Return guardian.evaluate/1; numbers to a millionth."""
    return {
        "schema": SCHEMA,
        "labels": labels,
        "results": results,
        "categories": {name: _category(one) for name, one in evaluation.categories.items()},
        "mistakes": len(evaluation.mistakes),
    }


def _category(one: CategoryEvaluation) -> Json:
    figures = one.figures
    auc = _figure(figures.auc)
    return {
        "auc": auc,
        "interval": auc["interval"],
        "metadata_auc": _figure(figures.metadata_auc),
        "review": _at(figures.review),
        "block": _at(figures.block),
        "videos": one.videos,
        "positives": one.positives,
        "unscored": one.unscored,
        "errors": one.errors,
        "missing": one.missing,
        "groups": one.groups,
        "thresholds": one.thresholds,
        "ece": _number(figures.ece),
        "reliability": [
            {
                "videos": row.videos,
                "mean_score": _number(row.mean_score),
                "share": _number(row.share),
            }
            for row in figures.reliability
        ],
        "notes": list(figures.notes),
        "calibration": None if one.fitted is None else _fitted(one.fitted),
    }


def _fitted(one: Fitted) -> Json:
    return {
        "method": one.method,
        "review": one.review,
        "block": one.block,
        "samples": one.calibration.samples,
        "scale": one.calibration.scale,
        "clean": one.clean,
        "positives": one.positives,
        "false_alarms": _figure(one.false_alarms),
        "recall": _figure(one.recall),
        "warnings": list(one.warnings),
    }


def _at(one: AtThreshold) -> Json:
    return {name: _figure(getattr(one, name)) for name in ("precision", "recall", "false_alarms")}


def _figure(one: Figure) -> Json:
    ends = None if one.interval is None else [_number(end) for end in one.interval]
    return {"value": _number(one.value), "interval": ends}


def _number(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def category_table(name: str, one: CategoryEvaluation) -> RenderableType:
    """A few lines: on how many videos, how good, against what, and how far scores are shares."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    figures = one.figures
    clean = one.videos - one.positives
    counts = f"{one.positives} positive, {clean} clean, {count(one.groups, 'group')}"
    lost = {"missing": one.missing, "errors": one.errors, "unscored": one.unscored}
    counts += "".join(f", {number} {what}" for what, number in lost.items() if number)
    rows = {
        "videos": counts,
        "AUC": _text(figures.auc),
        "metadata alone": _text(figures.metadata_auc),
    }
    for edge, at in (("review", figures.review), ("block", figures.block)):
        limit = f" ({one.thresholds[edge]:g})" if one.thresholds else ""
        rows[f"{edge}{limit}"] = f"precision {_text(at.precision)}"
        rows[f"{edge} recall"] = _text(at.recall)
        rows[f"{edge} false alarms"] = _text(at.false_alarms)
    if figures.ece is not None:
        rows["reliability"] = f"ECE {figures.ece:.3f}: {_bins(figures.reliability)}"
    if one.fitted is not None:
        rows |= _fitted_rows(one.fitted)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for heading, value in rows.items():
        table.add_row(f"  {heading}", Text(value))
    return Group(Text(visible(name), style="bold"), table)


def _fitted_rows(one: Fitted) -> Mapping[str, str]:
    return {
        "calibrated": f"by {one.method}: review {one.review:.4g}, block {one.block:.4g}",
        "calibrated false alarms": f"{_text(one.false_alarms)}, on videos held out",
        "calibrated recall": f"{_text(one.recall)}, on videos held out",
    }


def _bins(bins: tuple[Bin, ...]) -> str:
    """Mean score, share of positives and number of each bin."""
    return "; ".join(f"{row.mean_score:.2f} is {row.share:.2f} of {row.videos}" for row in bins)


def _text(one: Figure) -> str:
    if one.value is None or one.interval is None:
        return "too little data"
    low, high = one.interval
    return f"{one.value:.3f}  (95%: {low:.3f} to {high:.3f})"
