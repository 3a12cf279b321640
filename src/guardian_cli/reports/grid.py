"""The two kinds of table that reports show on a terminal: rows below headings, and facts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from rich.table import Table


def new_table(*headings: str, right: Container[str] = (), wraps: Container[str] = ()) -> Table:
    """Return a table without lines; columns in `right` hold numbers, those in `wraps` may break."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for heading in headings:
        # Folded, not cut: the ends of paths and reasons are what tells them apart.
        table.add_column(
            heading,
            no_wrap=heading not in wraps,
            justify="right" if heading in right else "left",
            overflow="fold" if heading in wraps else "ellipsis",
        )
    return table


def fact_table(facts: Mapping[str, str]) -> Table:
    """Return an indented line for each fact, its name in front."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, value in facts.items():
        # Text, so that what stands in a path or a label is no markup.
        table.add_row(f"  {name}", Text(value))
    return table
