"""Shows how good verdicts are on labelled videos: guardian.evaluate/1, or a table a category."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guardian_cli.reports.document import dumps, rounded
from guardian_cli.reports.grid import fact_table
from guardian_cli.reports.text import count, visible, with_interval

if TYPE_CHECKING:
    from rich.console import RenderableType

    from guardian_cli.console import Console
    from guardian_cli.evaluation.calibrate import Fitted
    from guardian_cli.evaluation.evaluate import CategoryEvaluation, Evaluation
    from guardian_cli.evaluation.figures import Figure

SCHEMA = "guardian.evaluate/1"
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
        **{
            edge: {
                name: _figure(getattr(at, name)) for name in ("precision", "recall", "false_alarms")
            }
            for edge, at in (("review", figures.review), ("block", figures.block))
        },
        "videos": one.videos,
        "positives": one.positives,
        "unscored": one.unscored,
        "errors": one.errors,
        "missing": one.missing,
        "groups": one.groups,
        "thresholds": one.thresholds,
        "ece": rounded(figures.ece),
        "reliability": [
            {
                "videos": row.videos,
                "mean_score": rounded(row.mean_score),
                "share": rounded(row.share),
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


def _figure(one: Figure) -> Json:
    ends = None if one.interval is None else [rounded(end) for end in one.interval]
    return {"value": rounded(one.value), "interval": ends}


def category_table(name: str, one: CategoryEvaluation) -> RenderableType:
    """A few lines: on how many videos, how good, against what, and how far scores are shares."""
    from rich.console import Group
    from rich.text import Text

    figures = one.figures
    clean = one.videos - one.positives
    counts = f"{one.positives} positive, {clean} clean, {count(one.groups, 'group')}"
    # Said only where there are some: they are what the figures leave out.
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
        # Of each bin: its mean score, the share of positives, and of how many videos that is.
        bins = "; ".join(
            f"{row.mean_score:.2f} is {row.share:.2f} of {row.videos}"
            for row in figures.reliability
        )
        rows["reliability"] = f"ECE {figures.ece:.3f}: {bins}"
    fitted = one.fitted
    if fitted is not None:
        edges = f"review {fitted.review:.4g}, block {fitted.block:.4g}"
        rows["calibrated"] = f"by {fitted.method}: {edges}"
        rows["calibrated false alarms"] = f"{_text(fitted.false_alarms)}, on videos held out"
        rows["calibrated recall"] = f"{_text(fitted.recall)}, on videos held out"
    return Group(Text(visible(name), style="bold"), fact_table(rows))


def _text(one: Figure) -> str:
    if one.value is None or one.interval is None:
        return "too little data"
    return with_interval(one.value, one.interval)
