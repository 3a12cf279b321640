"""Words for people: counts, numbers, names that are safe to show, and names that fit."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_DOTS = "..."


def visible(text: str) -> str:
    """Return text on one line in which nothing can steer a terminal: control characters escaped."""
    return "".join(
        # Python counts as unprintable also line separators and marks that reverse the direction.
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def count(number: int, noun: str) -> str:
    """Return `1 frame`, `2 frames`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def number(value: float | None, form: str = ".3f") -> str:
    """Return a figure, `-` where there is none."""
    return "-" if value is None else format(value, form)


def with_interval(value: float | None, interval: Sequence[float | None]) -> str:
    """Return a figure with the ends of its 95% interval."""
    low, high = map(number, interval)
    return f"{number(value)}  (95%: {low} to {high})"


def escape_html(value: Any) -> str:
    """Return text for HTML, in which nothing is markup, steers the line or breaks it."""
    return escape(visible(str(value)))


def shorten(text: str, width: int) -> str:
    """Cut text to `width` terminal cells, dots in the middle where something is missing."""
    from rich.cells import cell_len

    if cell_len(text) <= width:
        return text
    if width <= len(_DOTS):
        return _DOTS[: max(0, width)]
    room = width - len(_DOTS)
    # More of the end: names differ there, and endings say what a file is.
    head = _fitting(text, room // 3)
    return head + _DOTS + _fitting(text[::-1], room - cell_len(head))[::-1]


def shorten_path(path: str, width: int) -> str:
    """Cut a path to `width` terminal cells: of the folders first, of the file's name last."""
    from rich.cells import cell_len

    name = path.rsplit("/", 1)[-1]
    if cell_len(path) <= width:
        return path
    if cell_len(name) + len(_DOTS) > width:
        return shorten(name, width)
    return _DOTS + _fitting(path[::-1], width - len(_DOTS))[::-1]


def _fitting(text: str, width: int) -> str:
    """Return the longest beginning that takes at most `width` cells; wide characters take two."""
    from rich.cells import get_character_cell_size

    used = 0
    for at, char in enumerate(text):
        used += get_character_cell_size(char)
        if used > width:
            return text[:at]
    return text
