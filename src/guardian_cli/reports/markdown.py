"""The output format `md`: a table for a pull request, the worst first."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from guardian_cli.reports.elements import source_severity, worst_category, worst_first
from guardian_cli.reports.text import count, visible
from guardian_cli.verdict.policy import WORST_FIRST

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from guardian_cli.reports.formats import BatchReport

COLUMNS = ("Verdict", "Severity", "Source", "Category", "Score", "Why")


def render_markdown(report: BatchReport) -> str:
    """Return the output format `md`, GitHub's tables."""
    verdicts = [element["verdict"] for element in report.scans]
    sums = ", ".join(f"{verdicts.count(one)} {one}" for one in WORST_FIRST if one in verdicts)
    lines = [f"### guardian: {report.verdict}", ""]
    total = f"{count(len(verdicts), 'source')}{': ' if sums else ''}{sums}"
    left_out = f"; {sum(report.skipped.values())} skipped" if report.skipped else ""
    ended = "; interrupted" if report.interrupted else ""
    lost = f"; {report.unscanned} more were not scanned" if report.unscanned else ""
    lines += [f"{total}{left_out}{ended}{lost}.", ""]
    rows = []
    for element in worst_first(report.scans):
        name = worst_category(element)
        score = element["categories"][name]["score"] if name is not None else None
        verdict = element["verdict"]
        rows.append(
            [
                f"**{verdict}**" if verdict != "allow" else verdict,
                source_severity(element).word,
                literal(element["source"]),
                literal(name) if name is not None else "",
                "" if score is None else f"{score:g}",
                # A cell has no other line break.
                "<br>".join(literal(reason) for reason in element["reasons"]),
            ]
        )
    return "\n".join([*lines, *table_lines(COLUMNS, rows)]) + "\n"


def literal(text: str) -> str:
    """Return text as code in a cell of a table: no markup, no link, no mention, no line break."""
    shown = visible(text)
    # A code span ends at as many backticks as it begins with: so one more than any within.
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    if not shown:
        return ""
    # A code span that is more than blanks loses one at each end, and may not touch a backtick.
    pad = " " if shown.strip(" ") and {shown[0], shown[-1]} & {"`", " "} else ""
    return f"{fence}{pad}{shown}{pad}{fence}".replace("|", r"\|")


def table_lines(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table; what is in the cells must be escaped already."""
    return [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows)]
