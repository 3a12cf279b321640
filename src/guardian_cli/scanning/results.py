"""Where results go: stdout, the files of `--output`, and the file of `--resume`.

The last holds one line a finished source, appended whole, repaired after a kill.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from guardian_cli.errors import UsageError
from guardian_cli.files import LockHeldError, lock_descriptor
from guardian_cli.media.sources import skipped_line
from guardian_cli.reports import document
from guardian_cli.reports.formats import (
    BatchReport,
    find_format,
    find_reports,
    show_report,
    write_report,
)
from guardian_cli.reports.results_file import key_of, parse_result
from guardian_cli.reports.text import count
from guardian_cli.verdict.policy import WORST_FIRST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from guardian_cli.console import Console
    from guardian_cli.evidence.folder import EvidenceFolder
    from guardian_cli.media.sources import Source
    from guardian_cli.reports.document import Json
    from guardian_cli.verdict.result import Outcome, ScanResult


class ResultWriter:
    """Takes each result once, as it ends, and writes what was asked for. Close it.

    `is_done` may be asked from any thread; the rest is for the one that made it.
    """

    def __init__(
        self,
        console: Console,
        sources: Sequence[Source],
        output: str = "table",
        reports: Iterable[tuple[str, Path]] = (),
        *,
        resume: Path | None = None,
        skipped: Mapping[str, int] | None = None,
        frames: bool = False,
        shard: Json | None = None,
        names: Mapping[str, str] | None = None,
        sheet: EvidenceFolder | None = None,
    ) -> None:
        """`output` is the format for stdout, `reports` are formats with the files they go to.

        `skipped` counts what folders left out, `frames` asks for every scored frame, `shard` is the
        part of the batch that these sources are, `names` what they are called in it on any machine.
        Raises UsageError for a format that is not known and for a file that cannot be written.
        """
        self._console = console
        self._sources = sources
        self._output = output
        # What a long scan could not be written to is found out before it, not after it.
        self._reports = find_reports(reports, {resume} if resume is not None else set())
        self._sheet = sheet
        self._keeps_elements = output != "jsonl" or bool(self._reports) or sheet is not None
        self._file = ResultsFile(resume) if resume is not None else None
        self._skipped = skipped or {}
        self._frames = frames
        self._shard = shard
        self._names = names or {}
        self._started_s = time.perf_counter()
        self._last: ScanResult | None = None
        self._scored_frames = 0
        # By the key of each source that has ended: its element, None where the file has it.
        self._ended: dict[str, Json | None] = {}
        self._verdicts: list[Outcome] = []
        self._done: list[str] = []
        self._again: Counter[str] = Counter()

    @property
    def has_results(self) -> bool:
        """Whether any source has ended."""
        return self._last is not None

    def is_done(self, source: Source, sha256: str | None, fingerprint: Callable[[], str]) -> bool:
        """Whether the file holds a result of this source that stands, which counts as its result.

        `fingerprint` is only asked where it decides: it may have to wait for a model to be loaded.
        """
        held = self.held(source)
        is_done = held is not None and held.stands(sha256, fingerprint, frames=self._frames)
        if is_done:
            self._done.append(source.identity or source.shown)
        return is_done

    def held(self, source: Source) -> HeldResult | None:
        """What the file holds of a source."""
        if self._file is None:
            return None
        return self._file.held.get(source.identity or source.shown)

    def put(self, result: ScanResult) -> None:
        """Keep a result, and write its line where lines are written."""
        line = self._with_shard(document.to_line(result))
        key = key_of(line)
        if self._file is not None:
            held = self._file.held.get(key)
            if held is not None:
                fingerprint = (line.get("made") or {}).get("fingerprint", "")
                why = held.why_again(line["sha256"], fingerprint, frames=self._frames)
                self._again[why or "not in the store"] += 1
            self._file.append(line)
        if self._output == "jsonl":
            self._console.result(document.dumps(line))
        if self._keeps_elements:
            self._ended[key] = None if self._file is not None else line
        self._last = result
        self._scored_frames += result.coverage.frames_scored
        self._verdicts.append(result.verdict)

    def finish(self, *, interrupted: bool = False) -> Sequence[Outcome]:
        """Write what is written at the end; return the verdicts of the sources, as far as known.

        Everything but the file of `--resume` covers these sources, whatever else that file holds.
        """
        if self._file is not None:
            self._verdicts += [self._file.held[key].verdict for key in self._done]
        if self._keeps_elements:
            self._ended |= dict.fromkeys(self._done)
        report = BatchReport(
            scans=self._elements(),
            skipped=self._skipped,
            interrupted=interrupted,
            sources=len(self._sources),
            took_s=time.perf_counter() - self._started_s,
            scored_frames=self._scored_frames,
            only=self._last if len(self._sources) == 1 else None,
        )
        try:
            for render, path in self._reports:
                write_report(render(report), path)
            if self._sheet is not None:
                self._sheet.write(report)
        finally:
            # What stdout is to show does not depend on a disk that is full.
            if self._output == "json" or (self._output == "table" and self._ended):
                show_report(find_format(self._output)(report), self._console)
        if self._skipped:
            self._console.note(skipped_line(self._skipped))
        if self._file is not None:
            self._note_what_is_held(self._file)
        return self._verdicts

    def _elements(self) -> list[Json]:
        """What has ended, in the order in which it was named."""
        order = {source.shown: number for number, source in enumerate(self._sources)}
        elements = [element for element in self._ended.values() if element is not None]
        if self._file is not None:
            elements += self._file.newest(key for key, one in self._ended.items() if one is None)
        elements.sort(key=lambda element: order.get(element["source"], 0))
        # A result that is held may be of a call for every frame, or for another part.
        dropped = {"shard"} if self._frames else {"shard", "frames"}
        return [
            self._with_shard({k: v for k, v in one.items() if k not in dropped}) for one in elements
        ]

    def _with_shard(self, line: Json) -> Json:
        """The line with the part that it is of, and its name there."""
        if self._shard is None:
            return line
        name = self._names.get(line["source"])
        return {**line, "shard": self._shard if name is None else {**self._shard, "name": name}}

    def _note_what_is_held(self, file: ResultsFile) -> None:
        again = ", ".join(f"{number} {why}" for why, number in self._again.most_common())
        if self._done or again:
            done = f"{len(self._done)} done already"
            self._console.note(f"{done}, {self._again.total()} again: {again}" if again else done)
        counts = Counter(held.verdict for held in file.held.values())
        parts = [f"{counts[name]} {name}" for name in WORST_FIRST if counts[name]]
        held = f"{count(len(file.held), 'source')}{': ' if parts else ''}{', '.join(parts)}"
        self._console.note(f"{file.path} holds {held}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


@dataclass(frozen=True, slots=True)
class HeldResult:
    """What is kept in memory of a source's newest line, so that a million of them fit.

    `flaw` says why the result does not stand whatever made it, such as `degraded`; `offset` is
    where its line begins, in bytes.
    """

    verdict: Outcome
    sha256: str | None
    offset: int
    fingerprint: str | None = None
    flaw: str | None = None
    has_frames: bool = False

    def why_again(self, sha256: str | None, fingerprint: str, *, frames: bool) -> str | None:
        """Why its source must be scanned again; None where the result stands.

        `sha256` and `fingerprint` are of the source's content and of what would scan it now;
        `frames` says that every frame is wanted. What has no content that can be told, such as a
        live stream, is another each time.
        """
        if self.flaw is not None:
            return self.flaw
        if self.fingerprint != fingerprint:
            return "other settings" if self.fingerprint else "by an older guardian"
        if sha256 is None or self.sha256 != sha256:
            return "other content"
        return "without frames" if frames and not self.has_frames else None

    def stands(self, sha256: str | None, fingerprint: Callable[[], str], *, frames: bool) -> bool:
        """Whether `why_again` has no reason; `fingerprint` is only asked where it decides."""
        if self.why_again(sha256, self.fingerprint or "", frames=frames):
            return False
        return self.why_again(sha256, fingerprint(), frames=frames) is None


class ResultsFile:
    """Results of a batch, the newest line of every source. One guardian at a time per file."""

    def __init__(self, path: Path) -> None:
        """Open or make the file; UsageError when it can't be, is in use, or holds other things."""
        self.path = path
        self.held: dict[str, HeldResult] = {}
        if path.exists() and not path.is_file():
            raise UsageError(f"{path}: not a regular file", hint="name a file to keep results in")
        try:
            # O_APPEND: whatever else opened the file, a line goes to its end.
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise UsageError(f"{path}: cannot be opened: {error.strerror}") from error
        try:
            # A file system may have no locks: the user has only one guardian there, or must.
            with suppress(OSError):
                lock_descriptor(self._fd)
            self._end = self._load()
        except LockHeldError as error:
            os.close(self._fd)
            raise UsageError(f"{path}: another guardian is writing to it") from error
        except BaseException:
            os.close(self._fd)
            raise

    def append(self, line: Mapping[str, Any]) -> None:
        """Add one result in a single write, so that a kill leaves whole lines only."""
        data = (json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n").encode()
        self._write(data)
        self._keep(line, self._end)
        self._end += len(data)

    def newest(self, keys: Iterable[str]) -> Iterator[Json]:
        """The newest lines of the sources with these keys, in this order."""
        with self.path.open("rb") as file:
            for key in keys:
                file.seek(self.held[key].offset)
                yield json.loads(file.readline())

    def close(self) -> None:
        """Give the file free for others."""
        os.close(self._fd)

    def _keep(self, line: Mapping[str, Any], offset: int) -> None:
        made = line.get("made")
        fingerprint = made.get("fingerprint") if isinstance(made, dict) else None
        categories = (line.get("categories") or {}).values()
        flaw = None
        if line["verdict"] == "error":
            flaw = "failed"
        elif (line.get("coverage") or {}).get("timed_out"):
            flaw = "timed out"
        elif line.get("degraded"):
            flaw = "degraded"
        elif any(one.get("score") is None for one in categories):
            flaw = "unscored"
        self.held[key_of(line)] = HeldResult(
            line["verdict"],
            line.get("sha256"),
            offset,
            # A batch has one or two: a million lines share the text.
            sys.intern(fingerprint) if isinstance(fingerprint, str) else None,
            flaw,
            "frames" in line,
        )

    def _write(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be written: {error.strerror}") from error

    def _load(self) -> int:
        """Read all lines, mend the end that a kill left, and return the file's length in bytes."""
        end = 0
        with self.path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                line = _parse(raw)
                if line is not None:
                    self._keep(line, end)
                elif _is_torn(raw, after_ours=bool(self.held)):
                    # Its source is scanned again.
                    os.ftruncate(self._fd, end)
                    return end
                elif raw.strip() or not raw.endswith(b"\n"):
                    raise UsageError(
                        f"{self.path}:{number}: not a line of guardian scan --jsonl",
                        hint="name a new file, or one that --resume made",
                    )
                end += len(raw)
        # Someone has cut off the last line's end and no more: the next one must not join it.
        if end and not raw.endswith(b"\n"):
            self._write(b"\n")
            end += 1
        return end


def _parse(raw: bytes) -> Json | None:
    """A line of ours; None for anything else."""
    try:
        return parse_result(json.loads(raw))
    except (ValueError, RecursionError):
        return None


def _is_torn(raw: bytes, *, after_ours: bool) -> bool:
    """Whether this is the end of a file that a kill or a crash cut off; never someone else's.

    After lines of ours it may be anything that is no JSON, such as the zeros a power cut leaves; a
    file's only line must begin as ours do.
    """
    if raw.endswith(b"\n"):
        return False
    start = json.dumps({"schema": document.SCHEMA}).removesuffix("}").encode()
    if raw[: len(start)] == start[: len(raw)]:
        return True
    try:
        json.loads(raw)
    except (ValueError, RecursionError):
        return after_ours
    return False
