"""Words for people: times, counts, names that are safe to show, and text that fits its column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions
    from rich.measure import Measurement
    from rich.text import Text

_DOTS = "..."


def visible(text: str) -> str:
    """Return text on one line in which nothing can steer a terminal: control characters escaped."""
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def clock(time_s: float) -> str:
    """Return a time as m:ss.s, or h:mm:ss.s from an hour upwards."""
    tenths = round(max(0.0, time_s) * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest // 10:02d}.{rest % 10}"
    return f"{hours}:{minutes:02d}:{seconds}" if hours else f"{minutes}:{seconds}"


def count(number: int, noun: str) -> str:
    """Return `1 frame`, `2 frames`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def shorten(text: str, width: int, where: Literal["middle", "end"] = "middle") -> str:
    """Cut text to `width` terminal cells, dots where something is missing."""
    from rich.cells import cell_len

    if cell_len(text) <= width:
        return text
    if width <= len(_DOTS):
        return _DOTS[: max(0, width)]
    room = width - len(_DOTS)
    head = _fitting(text, room if where == "end" else room // 3)
    tail = "" if where == "end" else _fitting(text[::-1], room - cell_len(head))[::-1]
    return head + _DOTS + tail


def _fitting(text: str, width: int) -> str:
    """Return the longest beginning that takes at most `width` cells; wide characters take two."""
    from rich.cells import get_character_cell_size

    used = 0
    for at, char in enumerate(text):
        used += get_character_cell_size(char)
        if used > width:
            return text[:at]
    return text


@dataclass(frozen=True, slots=True)
class Fitted:
    """Text for a rich table that is cut to the width its column gets, never wrapped."""

    text: str
    style: str = ""
    where: Literal["middle", "end"] = "middle"
    least: int = 8

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text

        text = shorten(self.text, options.max_width, self.where)
        yield Text(text, style=self.style, no_wrap=True, overflow="crop")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.cells import cell_len
        from rich.measure import Measurement

        wide = cell_len(self.text)
        return Measurement(min(self.least, wide), min(wide, options.max_width))
