"""Shows what trainings found: guardian.train/1, or a table for each."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from guardian_cli.reports.document import dumps
from guardian_cli.reports.grid import fact_table
from guardian_cli.reports.text import number, with_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from guardian_cli.console import Console
    from guardian_cli.training.evaluation.report import TrainReport

Json = dict[str, Any]
SCHEMA = "guardian.train/1"


def show_trainings(
    console: Console, target: str, reports: Sequence[TrainReport], *, as_json: bool, named: bool
) -> None:
    """Show one training, or all of a `train` that named no model."""
    for report in reports:
        for note in report.notes:
            console.note(f"{report.model}: {note}")
        if report.conclusion:
            console.warn(f"{report.model}: version {report.version}: {report.conclusion}")
    if as_json:
        # Whoever named a model gets its document, not a list of one.
        one = named and len(reports) == 1
        parts = [training_part(report, target) for report in reports]
        document = {"schema": SCHEMA, **(parts[0] if one else {"trainings": parts})}
        console.result(dumps(document, indent=2))
    else:
        for report in reports:
            console.show(training_table(report))
    for report in reports:
        if report.conclusion is None:
            console.note(f"hint: guardian deploy {report.model}")
        else:
            console.note(
                "hint: more files of both classes, from other sources, then:"
                f" guardian train {report.model} --data PATH"
            )


def training_part(report: TrainReport, target: str) -> Json:
    """The part of guardian.train/1 that one model takes."""
    return {"target": target, **asdict(report), "conclusion": report.conclusion}


def training_table(report: TrainReport) -> RenderableType:
    """A few lines: how good, against what, on which data."""
    from rich.console import Group
    from rich.text import Text

    metrics, data, training = report.metrics, report.data, report.training
    left_out = f", {data['left_out_count']} left out" if data["left_out_count"] else ""
    if data["contradictions"]:
        left_out += f" ({data['contradictions']} labelled in contradiction)"
    rows = {
        "AUC": with_interval(metrics["auc"], metrics["auc_interval"]),
        "metadata alone": with_interval(metrics["metadata_auc"], metrics["metadata_auc_interval"]),
        "ECE": number(metrics["ece"]),
        f"threshold for {metrics['threshold_false_positive_rate']:.0%}": (
            f"{number(metrics['threshold'])} (served as 0.5) finds"
            f" {metrics['true_positive_rate']:.0%} of the positives"
        ),
        "data": (
            f"{data['source']}: {data['n']} {data['kind']}, {data['positives']} positive"
            f" ({data['positive']}), {data['groups']} groups{left_out}"
        ),
        "judged by": f"{training['method']}, {metrics['n']} files",
        "backbone": f"{training['backbone']}, seed {training['seed']}",
    }
    title = Text.assemble((report.model, "bold"), f"  version {report.version}")
    return Group(title, fact_table(rows))
