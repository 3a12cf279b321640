"""`guardian report`: sheet and formats of results that are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardian_cli.evidence.folder import EvidenceFolder
from guardian_cli.reports.document import dumps
from guardian_cli.reports.formats import BatchReport, find_reports, write_report
from guardian_cli.reports.results_file import read_results, read_whole
from guardian_cli.reports.text import count

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from guardian_cli.console import Console


def report_stored(
    results: Path,
    folder: Path,
    outputs: Sequence[tuple[str, Path]],
    console: Console,
    *,
    as_json: bool = False,
) -> int:
    """Write everything, say where on stdout, and return 0. Raises UsageError."""
    # First of all: no output may go over the results that are about to be read.
    formats = find_reports(outputs, read=[results])
    scans = [{k: v for k, v in one.items() if k != "schema"} for one in read_results(results)]
    whole = read_whole(results)
    report = BatchReport(
        scans,
        len(scans) + (whole.missing["sources"] if whole.missing else 0),
        skipped=whole.skipped,
        interrupted=whole.interrupted,
        missing=whole.missing,
    )
    # Where the sheet can't be, no format is written either.
    with EvidenceFolder(folder, keep_stills=False) as sheet:
        for render, path in formats:
            write_report(render(report), path)
        sheet.write(report)
    index = folder / "index.html"
    if as_json:
        written = [str(index), *(str(path) for _, path in outputs)]
        found = {"schema": "guardian.report/1", "sources": len(scans), "written": written}
        console.result(dumps(found))
    else:
        console.result(f"{index}: {count(len(scans), 'source')}")
    return 0
