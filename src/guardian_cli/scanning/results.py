"""Where results go: the table, the document or the lines on stdout, and the file of `--resume`."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, Self

from guardian_cli.media.sources import skipped_line
from guardian_cli.reports import document
from guardian_cli.reports.table import WORST_FIRST, render_many, render_one
from guardian_cli.reports.text import count
from guardian_cli.scanning.results_file import ResultsFile, key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from guardian_cli.console import Console
    from guardian_cli.media.sources import Source
    from guardian_cli.verdict.policy import Outcome
    from guardian_cli.verdict.result import ScanResult

OutputFormat = Literal["table", "json", "jsonl"]


class Outlet:
    """Takes each result once, as it ends, and shows what was asked for. Close it.

    `is_done` may be asked from any thread; the rest is for the one that made it.
    """

    def __init__(
        self,
        output: OutputFormat,
        console: Console,
        resume: Path | None,
        *,
        skipped: Mapping[str, int] | None = None,
        frames: bool = False,
    ) -> None:
        """`skipped` counts what folders left out, `frames` asks for every scored frame."""
        self._output = output
        self._console = console
        self._skipped = skipped or {}
        self._file = ResultsFile(resume) if resume is not None else None
        self._frames = frames
        self._started_s = time.perf_counter()
        self._last: ScanResult | None = None
        self._scanned_frames = 0
        # By the key of each source that has ended: its element, None where the file has it.
        self._ended: dict[str, Mapping[str, Any] | None] = {}
        self._verdicts: list[Outcome] = []
        self._done: list[str] = []
        self._again: Counter[str] = Counter()

    def is_done(self, source: Source, sha256: str | None, fingerprint: Callable[[], str]) -> bool:
        """Whether the file holds a result of this source that stands, which counts as its result.

        `fingerprint` is only asked where it decides: it may have to wait for a model to be loaded.
        """
        key = source.identity or source.shown
        held = self._file.held.get(key) if self._file is not None else None
        if held is None or held.why_again(sha256, held.fingerprint or "", frames=self._frames):
            return False
        if held.why_again(sha256, fingerprint(), frames=self._frames):
            return False
        self._done.append(key)
        return True

    def put(self, result: ScanResult) -> None:
        """Keep a result, and write its line where lines are written."""
        line = document.to_line(result)
        if self._file is not None:
            self._count_again(self._file, line)
            self._file.append(line)
        if self._output == "jsonl":
            self._console.result(document.dumps(line))
        else:
            self._ended[key_of(line)] = None if self._file is not None else line
        self._last = result
        self._scanned_frames += result.coverage.frames_scored if result.coverage else 0
        self._verdicts.append(result.verdict)

    def finish(self, sources: Sequence[Source], *, interrupted: bool = False) -> Iterable[Outcome]:
        """Write what is written at the end; return the verdicts of these sources, as far as known.

        What is on stdout covers the same ones, whatever else the file holds.
        """
        if self._file is not None:
            self._ended |= dict.fromkeys(self._done)
            self._verdicts += [self._file.held[key].verdict for key in self._done]
        if self._output == "json":
            whole = document.document(
                self._elements(sources), skipped=self._skipped, interrupted=interrupted
            )
            self._console.result(document.dumps(whole, indent=2))
        elif self._output == "table" and self._ended:
            self._show_table(sources)
        if self._skipped:
            self._console.note(skipped_line(self._skipped))
        if self._file is not None:
            self._say_what_is_held(self._file)
        return self._verdicts

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def _elements(self, sources: Sequence[Source]) -> list[Mapping[str, Any]]:
        """What has ended, in the order in which it was named."""
        order = {source.shown: number for number, source in enumerate(sources)}
        held = [key for key, element in self._ended.items() if element is None]
        elements = [element for element in self._ended.values() if element is not None]
        if self._file is not None:
            elements += self._file.newest(held)
        elements.sort(key=lambda element: order.get(element["source"], 0))
        if self._frames:
            return elements
        return [{k: v for k, v in one.items() if k != "frames"} for one in elements]

    def _show_table(self, sources: Sequence[Source]) -> None:
        if len(sources) == 1 and self._last is not None:
            self._console.show(render_one(self._last))
            return
        took_s = time.perf_counter() - self._started_s
        total = f" in {took_s:.1f} s"
        if self._scanned_frames:
            total += f", {self._scanned_frames / max(took_s, 1e-6):.0f} frames/s"
        if len(self._ended) < len(sources):
            total += f"; {len(sources) - len(self._ended)} more were not scanned"
        self._console.show(render_many(self._elements(sources), total))

    def _count_again(self, file: ResultsFile, line: Mapping[str, Any]) -> None:
        held = file.held.get(key_of(line))
        if held is not None:
            fingerprint = (line.get("made") or {}).get("fingerprint", "")
            why = held.why_again(line["sha256"], fingerprint, frames=self._frames)
            self._again[why or "other content"] += 1

    def _say_what_is_held(self, file: ResultsFile) -> None:
        again = ", ".join(f"{number} {why}" for why, number in self._again.most_common())
        if self._done or again:
            done = f"{len(self._done)} done already"
            self._console.note(f"{done}, {self._again.total()} again: {again}" if again else done)
        counts = Counter(held.verdict for held in file.held.values())
        parts = [f"{counts[name]} {name}" for name in WORST_FIRST if counts[name]]
        held = f"{count(len(file.held), 'source')}{': ' if parts else ''}{', '.join(parts)}"
        self._console.note(f"{file.path} holds {held}")
