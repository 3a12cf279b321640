"""The output formats of `guardian scan`: a table by name, to which other packages can add.

A format is a function that turns a BatchReport into text, or into something that rich can print.
A package adds one by an entry point of group `guardian_cli.formats`.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from guardian_cli.console import Console
from guardian_cli.errors import UsageError
from guardian_cli.files import check_outputs, write_output
from guardian_cli.reports.elements import whole_verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from guardian_cli.verdict.result import Outcome, ScanResult

GROUP = "guardian_cli.formats"
FORMATS = {
    "table": "guardian_cli.reports.table:render_batch",
    "json": "guardian_cli.reports.document:render_json",
    "jsonl": "guardian_cli.reports.document:render_jsonl",
    "csv": "guardian_cli.reports.spreadsheet:render_csv",
    "sarif": "guardian_cli.reports.sarif:render_sarif",
    "junit": "guardian_cli.reports.junit:render_junit",
    "md": "guardian_cli.reports.markdown:render_markdown",
}


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What one run found.

    `scans` are the elements of guardian.scan/1 of the sources that have ended, in the order in
    which they were named, out of `sources` that were; `skipped` counts by reason what folders hold
    and was not scanned. `took_s` (seconds; None where nothing was scanned) and `scored_frames` are
    of this run alone. `only` is the result of the only source, with all that a person may want to
    see, where it was scanned in this run. `missing` says which parts of a batch that was divided
    are not here, as in guardian.scan/1.
    """

    scans: Sequence[dict[str, Any]]
    sources: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    interrupted: bool = False
    took_s: float | None = None
    scored_frames: int = 0
    only: ScanResult | None = None
    missing: Mapping[str, Any] | None = None

    @property
    def unscanned(self) -> int:
        """How many sources have no result."""
        return self.sources - len(self.scans)

    @property
    def is_partial(self) -> bool:
        """Whether some of it was not scanned: it was ended, or parts of it are not here."""
        return self.interrupted or bool(self.missing)

    @property
    def verdict(self) -> Outcome:
        """The verdict of the whole."""
        return whole_verdict(self.scans, is_partial=self.is_partial, is_empty=not self.sources)


Format = Callable[[BatchReport], "str | RenderableType"]


def find_format(name: str) -> Format:
    """Return the format of this name; UsageError, which lists the known ones, for any other."""
    if name in FORMATS:
        point = EntryPoint(name, FORMATS[name], GROUP)
    else:
        # Asked only now: it looks through all packages that are installed.
        added = {one.name: one for one in entry_points(group=GROUP)}
        if name not in added:
            known = ", ".join(sorted({*FORMATS, *added}))
            raise UsageError(
                f"there is no output format {name!r}; there is {known}",
                hint="guardian scan … --output json=FILE",
            )
        point = added[name]
    # Imported only when it is chosen: most runs need one format, and some pull in rich.
    render: Format = point.load()
    return render


def find_reports(
    named: Iterable[tuple[str, Path]], taken: Iterable[Path] = (), read: Iterable[Path] = ()
) -> list[tuple[Format, Path]]:
    """Return the formats of `--output` with the files they go to; see `files.check_outputs`.

    Raises UsageError for a format that is not known and for a file that could not be written.
    """
    named = list(named)
    check_outputs((path for _, path in named), read=read, taken=taken, option="--output ")
    return [(find_format(name), path) for name, path in named]


def show_report(rendered: str | RenderableType, console: Console) -> None:
    """Write what a format made as the result of the run, to wherever the console writes."""
    if isinstance(rendered, str):
        console.result(rendered)
    else:
        console.show(rendered)


def write_report(rendered: str | RenderableType, path: Path) -> None:
    """Write what a format made into a file, whole or not at all; UsageError where that fails."""
    text = io.StringIO()
    # By way of a console, which lays out tables for a file as it does for a pipe.
    show_report(rendered, Console(out=text))
    # Half a surrogate pair, which JSON can name, is nothing that UTF-8 can write.
    write_output(path, text.getvalue().encode("utf-8", "backslashreplace"))
