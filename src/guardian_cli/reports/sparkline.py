"""A time-line of scores in one line of characters, high peaks never averaged away."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, ConsoleOptions
    from rich.measure import Measurement
    from rich.text import Text

    from guardian_cli.verdict.category import CategoryLimits

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.:-=+*#"
UNSCORED = "?"
Cells = tuple[float | None, ...]


def squeeze(cells: Sequence[float | None], width: int) -> Cells:
    """Return at most `width` cells, each the highest of those it stands for."""
    width = max(1, min(width, len(cells)))
    if width == len(cells) or not cells:
        return tuple(cells)
    edges = [round(i * len(cells) / width) for i in range(width + 1)]
    groups = [cells[start:end] for start, end in pairwise(edges)]
    return tuple(max((c for c in group if c is not None), default=None) for group in groups)


def draw(cells: Sequence[float | None], *, ascii_only: bool = False) -> str:
    """Draw one character a cell, from 0 to 1 in eight steps."""
    ramp = ASCII if ascii_only else BLOCKS
    return "".join(UNSCORED if c is None else ramp[min(7, int(c * 8))] for c in cells)


@dataclass(frozen=True, slots=True)
class Sparkline:
    """A time-line for a rich table, as wide as its column lets it; hot cells are coloured."""

    cells: Cells
    limits: CategoryLimits | None = None
    ascii_only: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text

        text = Text(no_wrap=True, overflow="crop", end="")
        for cell in squeeze(self.cells, options.max_width):
            text.append(draw([cell], ascii_only=self.ascii_only), style=self._style(cell))
        yield text

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.measure import Measurement

        wide = len(self.cells)
        return Measurement(min(8, wide), min(wide, options.max_width))

    def _style(self, cell: float | None) -> str:
        if cell is None or self.limits is None:
            return "dim"
        if cell >= self.limits.block:
            return "red"
        return "yellow" if cell >= self.limits.review else "green"
