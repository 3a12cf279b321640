"""The terminal output as text or as an SVG picture, for documents and tests."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType


def to_text(renderable: RenderableType, *, width: int = 80) -> str:
    """Return what a pipe `width` cells wide would get: no colour, no trailing blanks."""
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=width, no_color=True, highlight=False, legacy_windows=False).print(
        renderable
    )
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def to_svg(renderable: RenderableType, *, title: str, width: int = 92) -> str:
    """Return a picture of a terminal `width` cells wide; it loads no font from anywhere."""
    from rich.console import Console

    console = Console(
        file=io.StringIO(),
        record=True,
        width=width,
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
        legacy_windows=False,
    )
    console.print(renderable)
    svg = console.export_svg(title=title, unique_id="guardian")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
