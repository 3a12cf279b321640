"""What all pages share: their frame, escaping, and how numbers read."""

from __future__ import annotations

from typing import Any, TypeGuard

from guardian_cli import __version__
from guardian_cli.reports.text import escape_html

# Nothing but what lies beside the page, and no inline script or style: a name that slipped through
# escaping could not run.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " base-uri 'none'; form-action 'none'"
)
# A shape beside each colour, for those who see no difference between red and green.
MARKS = {"block": "■", "error": "✕", "review": "▲", "allow": "●"}


def page(title: str, body: str, *, root: str = "", scripts: tuple[str, ...] = ()) -> str:
    """Return a whole page; `root` is the way to the report's folder, `scripts` lie in it."""
    tags = "".join(f'<script src="{root}{name}" defer></script>\n' for name in scripts)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta name="robots" content="noindex">
<title>{escape_html(title)}</title>
<link rel="stylesheet" href="{root}report.css">
{tags}<script src="{root}report.js" defer></script>
</head>
<body>
<a class="skip" href="#main">Skip to the verdict</a>
{body}
<footer>Made by guardian {__version__}. This page loads nothing but the files beside it.</footer>
</body>
</html>
"""


def badge(verdict: str, word: str | None = None) -> str:
    """A verdict as a mark and a word."""
    mark = MARKS.get(verdict, "")
    return (
        f'<span class="badge v-{escape_html(verdict)}"><span aria-hidden="true">{mark}</span> '
        f"{escape_html(word or verdict)}</span>"
    )


def seconds(value: Any) -> str:
    """A time on the video's clock: `12.0 s`, then `1:03.2`, and from an hour `1:00:03.2`."""
    if not is_number(value):
        return "unknown"
    # Rounded before it is divided: 59.97 s is 1:00.0, not 60.0 s.
    tenths = round(10 * value)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest / 10:04.1f}"
    return f"{minutes}:{rest / 10:04.1f}" if minutes else f"{rest / 10:.1f} s"


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a stored value can be drawn."""
    # JSON's true is an int to Python.
    return isinstance(value, int | float) and not isinstance(value, bool)
