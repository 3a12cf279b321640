"""Results that were kept: the JSON document of a scan, or JSON lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from guardian_cli.errors import UsageError
from guardian_cli.reports.document import SCHEMA, Json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def read_results(path: Path) -> Iterator[Json]:
    """Yield the elements of guardian.scan/1 that a file holds, the newest of each source.

    Raises UsageError for a file that cannot be read or holds other things.
    """
    hint = "guardian scan SOURCE --jsonl > RESULTS.jsonl"
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text", hint=hint) from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}", hint=hint) from error
    newest: dict[str, Json] = {}
    try:
        whole = json.loads(text)
        parts = [(1, whole)]
    except (ValueError, RecursionError):
        parts = []
    if parts and isinstance(whole, dict) and isinstance(whole.get("scans"), list):
        if whole.get("schema") != SCHEMA:
            raise UsageError(f"{path}: not results of guardian scan", hint=hint)
        parts = [(1, {"schema": SCHEMA, **one}) for one in whole["scans"] if isinstance(one, dict)]
    elif not parts:
        for number, line in enumerate(text.splitlines(), 1):
            try:
                parts += [(number, json.loads(line))] if line.strip() else []
            except (ValueError, RecursionError) as error:
                raise UsageError(f"{path}:{number}: not a line of results", hint=hint) from error
    for number, one in parts:
        if not isinstance(one, dict) or one.get("schema") != SCHEMA or "verdict" not in one:
            raise UsageError(f"{path}:{number}: not a result of guardian scan", hint=hint)
        newest[str(one.get("source_id") or one["source"])] = one
    yield from newest.values()
