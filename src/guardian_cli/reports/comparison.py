"""Shows what flipped between two sets of results: guardian.compare/1, a table, Markdown."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from guardian_cli.reports.document import dumps, rounded
from guardian_cli.reports.grid import new_table
from guardian_cli.reports.markdown import table_lines
from guardian_cli.reports.table import STYLES
from guardian_cli.reports.text import count, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from guardian_cli.console import Console
    from guardian_cli.evaluation.compare import Comparison, FlipLimit

SCHEMA = "guardian.compare/1"
_NAMED = 3


def show_comparison(
    console: Console,
    comparison: Comparison,
    names: tuple[str, str],
    limit: FlipLimit | None = None,
    *,
    as_json: bool,
) -> None:
    """Show a comparison as the result of a run; what was not compared is said on stderr."""
    for warning in warnings(comparison):
        console.warn(warning)
    if as_json:
        console.result(dumps(comparison_document(comparison, names, limit), indent=2))
    else:
        console.show(comparison_table(comparison))


def comparison_document(
    comparison: Comparison, names: tuple[str, str], limit: FlipLimit | None = None
) -> dict[str, Any]:
    """Return guardian.compare/1; `names` are what the two sides are called."""
    one = comparison
    exceeded = limit is not None and limit.is_exceeded(one)
    return {
        "schema": SCHEMA,
        "old": names[0],
        "new": names[1],
        "flips": [
            {
                "source": flip.source,
                "from": flip.old,
                "to": flip.new,
                "why": flip.why,
                "score_change": rounded(flip.score_change),
                "right": flip.right,
            }
            for flip in one.flips
        ],
        "counts": {
            "compared": one.compared,
            "flipped": len(one.flips),
            "only_old": len(one.only_old),
            "only_new": len(one.only_new),
        },
        "only_old": list(one.only_old),
        "only_new": list(one.only_new),
        "other_content": list(one.other_content),
        "mcnemar": None if one.mcnemar is None else asdict(one.mcnemar),
        "gate": None if limit is None else {"max_flips": limit.text, "passed": not exceeded},
    }


def warnings(comparison: Comparison) -> Iterator[str]:
    """Say what was not compared, and why."""
    for sources, what in (
        (comparison.only_old, "only in the old results"),
        (comparison.only_new, "only in the new results"),
        (comparison.other_content, "of the same name but other content"),
    ):
        if sources:
            named = ", ".join(visible(one) for one in sources[:_NAMED])
            more = f" and {len(sources) - _NAMED} more" if len(sources) > _NAMED else ""
            yield f"not compared, {what}: {count(len(sources), 'source')}: {named}{more}"
    if comparison.renamed:
        yield (
            f"{count(comparison.renamed, 'source')} of the same content but another name:"
            " scan both times from the same folder"
        )
    # Not one flip among no sources must not read as good news.
    if not comparison.compared:
        yield "nothing was compared: the two sides have no source in common"


def summary(comparison: Comparison) -> str:
    """Return one line: how many flipped, of how many, and with labels which side is right."""
    text = f"{len(comparison.flips)} of {count(comparison.compared, 'source')} flipped"
    one = comparison.mcnemar
    if one is None:
        return text
    return (
        f"{text}; of {count(one.labels, 'label')} {one.old_right} only the old side has right,"
        f" {one.new_right} only the new one (McNemar's exact test, p {one.p_value:.2g})"
    )


def comparison_table(comparison: Comparison) -> RenderableType:
    """Return a row for each flip, the furthest first, and a line with the sums."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    if comparison.flips:
        has_labels = comparison.mcnemar is not None
        right = ["right"] if has_labels else []
        table = new_table("from", "to", *right, "source", "why", wraps={"source", "why"})
        for flip in comparison.flips:
            table.add_row(
                *(Text(one.upper(), style=STYLES[one]) for one in (flip.old, flip.new)),
                *([Text(flip.right or "-")] if has_labels else []),
                Text(visible(flip.source)),
                Text(visible(flip.why), style="dim"),
            )
        parts += [table, ""]
    return Group(*parts, Text(summary(comparison)))


def comparison_markdown(
    comparison: Comparison, names: tuple[str, str], limit: FlipLimit | None = None
) -> str:
    """Return a comparison for a pull request: a headline, a table of flips, what was left out."""
    heads = ["from", "to", *(["right"] if comparison.mcnemar else []), "source", "why"]
    lines = [f"### Verdicts: {escape(names[0])} -> {escape(names[1])}", "", summary(comparison)]
    if limit is not None:
        # In the headline, where a reviewer sees it before the table.
        over = limit.is_exceeded(comparison)
        lines[-1] += f": {'over' if over else 'within'} the limit of {limit.text}"
    if comparison.flips:
        rows = []
        for flip in comparison.flips:
            right = [flip.right or "-"] if comparison.mcnemar else []
            rows.append([flip.old, flip.new, *right, escape(flip.source), escape(flip.why)])
        lines += ["", *table_lines(heads, rows)]
    lines += [f"\n- {escape(one)}" for one in warnings(comparison)]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Return text that Markdown shows as it is, on one line, in a cell of a table too."""
    # HTML as well: Markdown lets it through, and names come from strangers.
    shown = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{char}" if char in "\\`*_[]|#~" else char for char in shown)
