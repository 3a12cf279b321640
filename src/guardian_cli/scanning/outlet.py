"""Where results go: the table, the document or the lines on stdout, and the file of `--resume`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from guardian_cli.media.sources import skipped_line
from guardian_cli.reports import document
from guardian_cli.reports.table import render
from guardian_cli.reports.text import count
from guardian_cli.scanning.one import digest_of
from guardian_cli.scanning.results_file import ResultsFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from guardian_cli.console import Console
    from guardian_cli.media.sources import Source
    from guardian_cli.reports.result import ScanResult
    from guardian_cli.verdict.policy import Outcome

OutputFormat = Literal["table", "json", "jsonl"]


class Outlet:
    """Takes each result once, as it ends, and shows what was asked for. Close it."""

    def __init__(
        self,
        output: OutputFormat,
        console: Console,
        resume: Path | None,
        skipped: Mapping[str, int],
    ) -> None:
        self._output = output
        self._console = console
        self._skipped = skipped
        self._file = ResultsFile(resume) if resume is not None else None
        self._order: dict[str, int] = {}
        self._results: list[ScanResult] = []
        self._verdicts: list[Outcome] = []

    def not_yet_held(self, sources: Sequence[Source]) -> list[Source]:
        """Return the sources that `--resume`'s file lacks, or holds changed or as an error."""
        self._order = {source.shown: number for number, source in enumerate(sources)}
        waiting = [source for source in sources if not self._holds(source)]
        if len(waiting) < len(sources):
            held = len(sources) - len(waiting)
            self._console.note(f"{held} of {len(sources)} sources are done already")
        return waiting

    def put(self, result: ScanResult) -> None:
        """Keep a result, and write its line where lines are written."""
        line = document.to_line(result)
        if self._file is not None:
            self._file.append(line)
        if self._output == "jsonl":
            self._console.result(document.dumps(line))
        else:
            self._results.append(result)
        self._verdicts.append(result.verdict)

    def finish(self) -> Iterable[Outcome]:
        """Write what is written at the end; return the verdicts that the exit code covers."""
        self._results.sort(key=lambda result: self._order.get(result.source, 0))
        if self._output == "json":
            scans = self._file.newest() if self._file else map(document.to_dict, self._results)
            whole = document.document(list(scans), skipped=self._skipped)
            self._console.result(document.dumps(whole, indent=2))
        elif self._output == "table" and self._results:
            self._console.show(render(self._results))
        if self._skipped:
            self._console.note(skipped_line(self._skipped))
        if self._file is None:
            return self._verdicts
        self._say_what_is_held(self._file)
        return [held.verdict for held in self._file.held.values()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._file is not None:
            if kind is not None and issubclass(kind, KeyboardInterrupt):
                self._say_what_is_held(self._file)
            self._file.close()

    def _say_what_is_held(self, file: ResultsFile) -> None:
        verdicts = [held.verdict for held in file.held.values()]
        self._console.note(f"{file.path} holds {_counted(verdicts)}")

    def _holds(self, source: Source) -> bool:
        key = source.identity or source.shown
        held = self._file.held.get(key) if self._file is not None else None
        if held is None or held.verdict == "error":
            return False
        if source.kind != "file":
            return source.kind in {"url", "stream"}
        try:
            return held.sha256 == digest_of(Path(source.location))
        except OSError:
            return False


def _counted(verdicts: Sequence[str]) -> str:
    counts = Counter(verdicts)
    parts = [
        f"{counts[name]} {name}" for name in ("block", "error", "review", "allow") if counts[name]
    ]
    return f"{count(len(verdicts), 'source')}: {', '.join(parts)}"
