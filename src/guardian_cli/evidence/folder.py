"""The folder of a report: `index.html` with all it needs beside it.

    index.html     the sheet of the only source, or the index of all
    sources/       a sheet for each source of a batch
    stills/        pictures by their digest, and for each source which of them are its own
    report.css, report.js, rows.js

Stills are written as sources end, pages at the end, the index last; each file whole or not at all.
What a killed scan left is read again with the results that it kept, and what no page shows any more
is removed, pictures above all.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Self

from guardian_cli.errors import UsageError
from guardian_cli.evidence.batch import ROWS, render_index, render_rows
from guardian_cli.evidence.sheet import render_sheet
from guardian_cli.files import LockHeldError, lock_descriptor, replacing
from guardian_cli.media.sources import REPORT_MARK
from guardian_cli.reports.results_file import key_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from guardian_cli.evidence.stills import Still
    from guardian_cli.reports.formats import BatchReport
    from guardian_cli.verdict.result import ScanResult

# Nothing else is ever removed: people put notes of their own beside a report.
_OURS = re.compile(r"[0-9a-f]{16}\.(html|json)|[0-9a-f]{64}\.jpg|\..+\.part")


class EvidenceFolder:
    """A report in the making; close it. `keep_stills` False keeps no picture, nor an old one.

    `save_stills` may be called from any thread.
    """

    def __init__(self, path: Path, *, keep_stills: bool = True) -> None:
        """Make the folder; UsageError for one that holds other things or that is in use."""
        self.path = path
        self.keep_stills = keep_stills
        try:
            path.mkdir(parents=True, exist_ok=True)
            if not (path / REPORT_MARK).exists() and any(path.iterdir()):
                raise UsageError(
                    f"{path}: holds other things than a report of guardian",
                    hint="name a new or an empty folder",
                )
            # It is locked while a report is written.
            self._lock = os.open(path / REPORT_MARK, os.O_RDWR | os.O_CREAT, 0o644)
            # A file system may have no locks: the user has only one guardian there, or must.
            with suppress(OSError):
                lock_descriptor(self._lock)
            for name in ("sources", "stills"):
                (path / name).mkdir(exist_ok=True)
        except LockHeldError as error:
            os.close(self._lock)
            raise UsageError(f"{path}: another guardian is writing to it") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise UsageError(f"{path}: cannot be written: {reason}") from error

    def save_stills(self, result: ScanResult, stills: Sequence[Still]) -> None:
        """Write a source's stills, then which they are. Raises OSError."""
        made = result.made or {}
        key = _page_key({"source_id": result.source_id, "source": result.source})
        named = []
        for still in stills:
            file = f"stills/{hashlib.sha256(still.jpeg).hexdigest()}.jpg"
            # Named by its digest, the same picture is there once.
            if not (self.path / file).exists():
                self._write(file, still.jpeg)
            named.append([still.category, round(still.peak_s, 6), file])
        # A later scan of the same source must not show the stills of this one.
        of = [result.sha256, made.get("when"), made.get("fingerprint")]
        # After its pictures: wherever a kill falls, what it names is there.
        self._write(f"stills/{key}.json", json.dumps({"of": of, "stills": named}).encode())

    def write(self, report: BatchReport) -> None:
        """Write all pages, the index last, and remove what none of them shows.

        Raises UsageError where that is not possible.
        """
        kept: set[str] = set()
        try:
            for name in ("report.css", "report.js"):
                self._write(name, (files(__package__) / name).read_bytes())
            # With a single source its sheet is the index, and there is nothing to list.
            is_single = len(report.scans) == 1 and not report.is_partial
            pages = []
            for element in report.scans:
                key = _page_key(element)
                stills = self._stills_of(element, key) if self.keep_stills else {}
                kept.update(stills.values())
                if stills:
                    kept.add(f"stills/{key}.json")
                if is_single:
                    index = render_sheet(element, stills)
                    break
                pages.append((f"sources/{key}.html", element))
                kept.add(pages[-1][0])
                sheet = render_sheet(element, stills, root="../", is_of_batch=True)
                self._write(pages[-1][0], sheet)
            else:
                self._write(ROWS, render_rows(pages))
                index = render_index(report)
            self._write("index.html", index)
            for name in ("sources", "stills"):
                for entry in (self.path / name).iterdir():
                    if _OURS.fullmatch(entry.name) and f"{name}/{entry.name}" not in kept:
                        entry.unlink(missing_ok=True)
            if is_single:
                (self.path / ROWS).unlink(missing_ok=True)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UsageError(f"{self.path}: cannot be written: {reason}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def _stills_of(self, element: Mapping[str, Any], key: str) -> dict[tuple[str, float], str]:
        """The stills that were kept of just this result, by category and time of the peak."""
        made = element.get("made") or {}
        try:
            stored = json.loads((self.path / "stills" / f"{key}.json").read_bytes())
            if stored["of"] != [element["sha256"], made.get("when"), made.get("fingerprint")]:
                return {}
            return {
                (category, peak_s): file
                for category, peak_s, file in stored["stills"]
                # Whoever can write here could name any file: only pictures are shown.
                if re.fullmatch(r"stills/[0-9a-f]{64}\.jpg", file) and (self.path / file).is_file()
            }
        except (OSError, ValueError, KeyError, TypeError):
            # A result of an earlier run without --report has none.
            return {}

    def _write(self, name: str, content: bytes | str) -> None:
        data = content.encode("utf-8", "replace") if isinstance(content, str) else content
        with replacing(self.path / name) as partial:
            partial.write_bytes(data)


def _page_key(element: Mapping[str, Any]) -> str:
    """A name for a source's files that says nothing about it."""
    return hashlib.sha256(key_of(element).encode("utf-8", "backslashreplace")).hexdigest()[:16]
