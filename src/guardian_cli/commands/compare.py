"""`guardian compare OLD NEW`"""

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from guardian_cli.commands._options import Common, common_options

if TYPE_CHECKING:
    from guardian_cli.console import Console
    from guardian_cli.evaluation.compare import Comparison, FlipLimit
    from guardian_cli.evaluation.labels import Label


class By(StrEnum):
    """What the results of one file are parted by."""

    deployment = "deployment"


@common_options(target=True)
def compare(
    common: Common,
    old: Annotated[
        Path,
        typer.Argument(
            metavar="OLD",
            help="Results of scan: a JSON document or JSON lines. With --on a MODEL@VERSION.",
        ),
    ],
    new: Annotated[
        Path | None,
        typer.Argument(
            metavar="[NEW]", help="Other results of the same sources, or another MODEL@VERSION."
        ),
    ] = None,
    on: Annotated[
        Path | None,
        typer.Option(
            "--on",
            metavar="FOLDER|LABELS.csv",
            help="Scan this with two versions of a model, and compare them.",
        ),
    ] = None,
    by: Annotated[
        By | None,
        typer.Option(
            "--by", help="Say of one file of results which deployment of an endpoint flags what."
        ),
    ] = None,
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
    from guardian_cli.errors import UsageError
    from guardian_cli.evaluation.compare import FlipLimit, compare_results
    from guardian_cli.evaluation.labels import labels_by_source, read_labels
    from guardian_cli.files import check_outputs
    from guardian_cli.reports.results_file import read_results

    console = Console(quiet=common.quiet)
    limit = FlipLimit.parse(max_flips) if max_flips is not None else None
    if by is not None:
        if new is not None or on is not None or labels is not None or limit or markdown:
            raise UsageError(
                "--by deployment takes one file of results and nothing else",
                hint=f"guardian compare --by deployment {old}",
            )
        by_deployment(console, old, as_json=common.as_json)
        return
    if new is None:
        raise UsageError("there is nothing to compare with", hint=f"guardian compare {old} NEW")
    if markdown is not None:
        check_outputs([markdown], read=[one for one in (old, new, labels, on) if one])
    if on is not None:
        before, after, rows = scan_both(common, str(old), str(new), on)
    elif "@" in old.name and not old.exists():
        both = shlex.join((str(old), str(new)))
        hint = f"two versions of a model: guardian compare {both} --on FOLDER|LABELS.csv"
        raise UsageError(f"{old}: no such file", hint=hint)
    else:
        rows = []
        before, after = list(read_results(old)), list(read_results(new))
    rows = rows if labels is None else read_labels(labels)
    by_source = labels_by_source(rows, [*before, *after], console.warn) if rows else None
    comparison = compare_results(before, after, labels=by_source)
    names = str(old), str(new)
    show(console, comparison, names, limit, markdown, on=on, as_json=common.as_json)


def scan_both(
    common: Common, old: str, new: str, on: Path
) -> "tuple[list[dict[str, Any]], list[dict[str, Any]], list[Label]]":
    """Scan with two versions of models of one category; the results, and the labels."""
    from guardian_cli.commands._lifecycle import open_context
    from guardian_cli.errors import UsageError
    from guardian_cli.lifecycle.model_files import choose_version
    from guardian_cli.watching.challenge import read_data, scan_with

    context = open_context(common)
    platform, settings, console = context.platform, context.settings, context.console
    sides = [choose_version(one, settings, platform) for one in (old, new)]
    # Verdicts on different things can't flip.
    categories = [model.category for model, _ in sides]
    if len(set(categories)) > 1:
        raise UsageError(f"{old} is of {categories[0]}, {new} of {categories[1]}")
    sources, labels = read_data(on, categories[0])
    before, after = (
        scan_with(model, one.version, sources, settings, console) for model, one in sides
    )
    return before, after, labels


def by_deployment(console: "Console", results: Path, *, as_json: bool) -> None:
    """Say which deployment flags what."""
    from guardian_cli.errors import UsageError
    from guardian_cli.reports.results_file import read_results
    from guardian_cli.reports.split import show_split
    from guardian_cli.watching.split import count_shares, find_differences

    shares = count_shares(read_results(results))
    if not shares:
        raise UsageError(
            f"{results}: no source was scored by a deployment of an endpoint",
            hint="guardian endpoints --write-env, then scan",
        )
    show_split(console, str(results), shares, find_differences(shares), as_json=as_json)


def show(
    console: "Console",
    comparison: "Comparison",
    names: tuple[str, str],
    limit: "FlipLimit | None",
    markdown: Path | None,
    *,
    on: Path | None,
    as_json: bool,
) -> None:
    """Show a comparison. Raises GateError where more flipped than the limit allows."""
    from guardian_cli.errors import GateError
    from guardian_cli.reports.comparison import comparison_markdown, show_comparison
    from guardian_cli.reports.formats import write_report

    if markdown is not None:
        write_report(comparison_markdown(comparison, names, limit), markdown)
    # Shown before the gate fails: whoever it stops wants to see what flipped.
    show_comparison(console, comparison, names, limit, as_json=as_json)
    if limit is not None and limit.is_exceeded(comparison):
        again = ["guardian", "compare", *names, *(("--on", str(on)) if on is not None else ())]
        flipped = f"{len(comparison.flips)} of {comparison.compared} verdicts flipped"
        raise GateError(
            f"{flipped}, and --max-flips allows {limit.text}"
            if comparison.compared
            else "nothing was compared: --max-flips cannot be kept",
            hint=f"{shlex.join(again)} lists them",
        )
