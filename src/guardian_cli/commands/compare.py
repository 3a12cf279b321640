"""`guardian compare OLD NEW`"""

from pathlib import Path
from typing import Annotated

import typer

from guardian_cli.commands._options import Common, common_options


@common_options()
def compare(
    common: Common,
    old: Annotated[
        Path, typer.Argument(metavar="OLD", help="Results of scan: a JSON document or JSON lines.")
    ],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Other results of the same sources.")],
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="LABELS.csv",
            help="path,category,label[,group]: say which side is right, with a McNemar test.",
        ),
    ] = None,
    max_flips: Annotated[
        str | None,
        typer.Option(
            "--max-flips", metavar="N|P%", help="Exit 12 when more than so many verdicts flipped."
        ),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE", help="Write it for a pull request as well."),
    ] = None,
) -> None:
    """Say which verdicts flipped between two results of the same sources, and why.

    Exit codes: 0 compared, 12 more flipped than --max-flips allows, 2 usage or unreadable results.
    """
    from guardian_cli.console import Console
    from guardian_cli.errors import GateError
    from guardian_cli.evaluation.compare import FlipLimit, compare_results
    from guardian_cli.evaluation.labels import labels_by_source, read_labels
    from guardian_cli.reports.comparison import comparison_markdown, show_comparison
    from guardian_cli.reports.formats import write_report
    from guardian_cli.reports.results_file import read_results

    console = Console(quiet=common.quiet)
    limit = FlipLimit.parse(max_flips) if max_flips is not None else None
    rows = read_labels(labels) if labels is not None else None
    before, after = list(read_results(old)), list(read_results(new))
    by_source = None if rows is None else labels_by_source(rows, [*before, *after], console.warn)
    comparison = compare_results(before, after, labels=by_source)
    names = str(old), str(new)
    if markdown is not None:
        write_report(comparison_markdown(comparison, names, limit), markdown)
    show_comparison(console, comparison, names, limit, as_json=common.as_json)
    if limit is not None and limit.is_exceeded(comparison):
        flipped = f"{len(comparison.flips)} of {comparison.compared} verdicts flipped"
        raise GateError(
            f"{flipped}, and --max-flips allows {limit.text}"
            if comparison.compared
            else "nothing was compared: --max-flips cannot be kept",
            hint=f"guardian compare {old} {new} lists them",
        )
