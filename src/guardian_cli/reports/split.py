"""What `guardian compare --by deployment` found: guardian.deployments/1, or a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guardian_cli.reports.document import dumps, rounded
from guardian_cli.reports.grid import new_table
from guardian_cli.reports.text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardian_cli.console import Console
    from guardian_cli.watching.split import DeploymentShare, Difference

SCHEMA = "guardian.deployments/1"


def show_split(
    console: Console,
    results: str,
    shares: Sequence[DeploymentShare],
    differences: Sequence[Difference],
    *,
    as_json: bool,
) -> None:
    """Show what each deployment flags, and whether that is more than another's."""
    if as_json:
        console.result(dumps(split_document(results, shares, differences), indent=2))
        return
    from rich.text import Text

    table = new_table(
        *("category", "deployment", "sources", "flagged", "share", "95% interval"),
        right={"sources", "flagged", "share"},
    )
    for one in shares:
        low, high = one.interval
        table.add_row(
            Text(visible(one.category)),
            Text(visible(one.deployment)),
            str(one.sources),
            str(one.flagged),
            f"{one.share:.1%}",
            f"{low:.1%} to {high:.1%}",
        )
    console.show(table)
    for other in differences:
        low, high = other.interval
        much = f"{other.value:+.1%} ({low:+.1%} to {high:+.1%})"
        told = "flags more" if other.value > 0 else "flags less"
        # Said in so many words: an interval alone is often read as a difference.
        words = told if other.is_told else "no difference can be told yet"
        pair = f"{visible(other.deployment)} against {visible(other.against)}"
        console.result(f"{visible(other.category)}: {pair}: {much}: {words}")


def split_document(
    results: str, shares: Sequence[DeploymentShare], differences: Sequence[Difference]
) -> dict[str, Any]:
    """Return guardian.deployments/1."""
    return {
        "schema": SCHEMA,
        "results": results,
        "deployments": [
            {
                "category": one.category,
                "deployment": one.deployment,
                "sources": one.sources,
                "flagged": one.flagged,
                "share": rounded(one.share),
                "interval": [rounded(end) for end in one.interval],
            }
            for one in shares
        ],
        "differences": [
            {
                "category": one.category,
                "deployment": one.deployment,
                "against": one.against,
                "value": rounded(one.value),
                "interval": [rounded(end) for end in one.interval],
                "told": one.is_told,
            }
            for one in differences
        ],
    }
