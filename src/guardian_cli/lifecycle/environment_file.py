"""Set variables in a .env file and leave every other line as it is, to the byte. Pure.

Lines are found as python-dotenv reads them, so a quoted value of several lines is one binding.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from dotenv.parser import parse_stream

if TYPE_CHECKING:
    from collections.abc import Mapping

_BOM = b"\xef\xbb\xbf"
# What dotenv and every shell read as it stands, without quotes.
_SAFE = re.compile(r"[\w./:=+~,@%-]*", re.ASCII)
# One binding as python-dotenv's parser hands it over: quoted values may go over several lines.
_VALUE = re.compile(
    r"(?P<head>\s*(?:export[^\S\r\n]+)?(?:'[^']+'|[^=#\s]+)[^\S\r\n]*=)"
    r"(?P<gap>[^\S\r\n]*)"
    r"(?P<value>'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|[^\r\n]*)"
    r"(?P<tail>.*)",
    re.DOTALL,
)
# In a bare value a # begins a comment only after a space: keys may have one in them.
_COMMENT = re.compile(r"\s+#.*|\s+$")


def set_variables(data: bytes, values: Mapping[str, str | None]) -> bytes:
    """Return the file with the variables set, and those that are None taken out.

    A variable that is there keeps its place, `export`, quotes and comment; others are added at the
    end, in the file's own line ending.
    """
    bom = _BOM if data.startswith(_BOM) else b""
    # What is no UTF-8 comes out as it went in.
    text = data.removeprefix(_BOM).decode("utf-8", "surrogateescape")
    bindings = _bindings(text)
    # Where a variable is set twice, dotenv goes by the last.
    last = {key: number for number, (key, _, _) in enumerate(bindings) if key in values}
    parts = []
    for number, (key, value, original) in enumerate(bindings):
        wanted = values.get(key, value) if key is not None else value
        if wanted is None and value is not None:
            # The empty lines before it are somebody else's.
            lead = original[: len(original) - len(original.lstrip())]
            parts.append(lead[: lead.rfind("\n") + 1])
        elif wanted is not None and wanted != value and last.get(key) == number:
            parts.append(_with_value(original, wanted))
        else:
            parts.append(original)
    # By its first line: editors write all lines alike.
    end = "\r\n" if re.match(r"[^\n]*\r\n", text) else "\n"
    joined = "".join(parts)
    missing = [
        f"{name}={_quoted(value, '')}{end}"
        for name, value in values.items()
        if value is not None and name not in last
    ]
    if missing and joined and not joined.endswith(("\n", "\r")):
        joined += end
    return bom + (joined + "".join(missing)).encode("utf-8", "surrogateescape")


def variables_in(data: bytes) -> dict[str, str]:
    """Return the variables that a .env file sets."""
    text = data.removeprefix(_BOM).decode("utf-8", "surrogateescape")
    return {key: value for key, value, _ in _bindings(text) if key and value is not None}


def _bindings(text: str) -> list[tuple[str | None, str | None, str]]:
    """Split a file into bindings: key and value where there is one, and the text as it stands."""
    found = parse_stream(io.StringIO(text, newline=""))
    return [
        (None if one.error or one.value is None else one.key, one.value, one.original.string)
        for one in found
    ]


def _with_value(original: str, value: str) -> str:
    match = _VALUE.fullmatch(original)
    if match is None:
        return original
    head, gap, old, tail = match.group("head", "gap", "value", "tail")
    if old[:1] in {"'", '"'}:
        return f"{head}{gap}{_quoted(value, old[0])}{tail}"
    if gap and old.startswith("#"):
        return f"{head}{_quoted(value, '')}{gap}{old}{tail}"
    comment = _COMMENT.search(old)
    rest = old[comment.start() :] if comment else ""
    return f"{head}{gap}{_quoted(value, '')}{rest}{tail}"


def _quoted(value: str, quote: str) -> str:
    """Write a value so that dotenv and a shell read the same; bare where that is safe."""
    if not quote and _SAFE.fullmatch(value):
        return value
    mark = quote if quote and not set(value) & set("'\"\\$`") else "'"
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{mark}{escaped}{mark}"
