"""The file behind `--resume`: one line a finished source, appended whole, repaired after a kill."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from guardian_cli.errors import UsageError
from guardian_cli.files import LockHeldError, lock_descriptor
from guardian_cli.verdict.policy import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

Line = dict[str, Any]
LINE_SCHEMA = "guardian.scan/1"


@dataclass(frozen=True, slots=True)
class Held:
    """What is kept in memory of a source's newest line, so that a million of them fit.

    `flaw` says why the result does not stand whatever made it, such as `degraded`.
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


class ResultsFile:
    """Results of a batch, the newest line of every source. One guardian at a time per file."""

    def __init__(self, path: Path) -> None:
        """Open or make the file; UsageError when it can't be, is in use, or holds other things."""
        self.path = path
        self.held: dict[str, Held] = {}
        if path.exists() and not path.is_file():
            raise UsageError(f"{path}: not a regular file", hint="name a file to keep results in")
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise UsageError(f"{path}: cannot be opened: {error.strerror}") from error
        try:
            self._lock()
            self._end = self._load()
        except BaseException:
            os.close(self._fd)
            raise

    def append(self, line: Mapping[str, Any]) -> None:
        """Add one result in a single write, so that a kill leaves whole lines only."""
        data = (json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n").encode()
        self._write(data)
        self._keep(line, self._end)
        self._end += len(data)

    def newest(self, keys: Iterable[str]) -> Iterator[Line]:
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
        self.held[key_of(line)] = Held(
            line["verdict"],
            line.get("sha256"),
            offset,
            # A batch has one or two: a million lines share the text.
            sys.intern(fingerprint) if isinstance(fingerprint, str) else None,
            _flaw(line),
            "frames" in line,
        )

    def _write(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be written: {error.strerror}") from error

    def _lock(self) -> None:
        try:
            lock_descriptor(self._fd)
        except LockHeldError as error:
            raise UsageError(f"{self.path}: another guardian is writing to it") from error
        except OSError:
            # A file system without locks: the user has only one guardian there, or must.
            return

    def _load(self) -> int:
        """Read all lines, mend the end that a kill left, and return the file's length in bytes."""
        end = 0
        with self.path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                line = _parse(raw)
                if line is not None:
                    self._keep(line, end)
                elif raw.endswith(b"\n") and not raw.strip():
                    pass
                elif _is_torn(raw, after_ours=bool(self.held)):
                    os.ftruncate(self._fd, end)
                    return end
                else:
                    raise UsageError(
                        f"{self.path}:{number}: not a line of guardian scan --jsonl",
                        hint="name a new file, or one that --resume made",
                    )
                end += len(raw)
        if end and not raw.endswith(b"\n"):
            self._write(b"\n")
            end += 1
        return end


def key_of(line: Mapping[str, Any]) -> str:
    """What a source's results are kept under."""
    return str(line.get("source_id") or line["source"])


def _flaw(line: Mapping[str, Any]) -> str | None:
    if line["verdict"] == "error":
        return "failed"
    if (line.get("coverage") or {}).get("timed_out"):
        return "timed out"
    if line.get("degraded"):
        return "degraded"
    categories = (line.get("categories") or {}).values()
    return "unscored" if any(one.get("score") is None for one in categories) else None


def _is_torn(raw: bytes, *, after_ours: bool) -> bool:
    """Whether this is the end of a file that a kill or a crash cut off; never someone else's.

    After lines of ours it may be anything that is no JSON, such as the zeros a power cut leaves; a
    file's only line must begin as ours do.
    """
    if raw.endswith(b"\n"):
        return False
    start = json.dumps({"schema": LINE_SCHEMA}).removesuffix("}").encode()
    return raw[: len(start)] == start[: len(raw)] or (after_ours and not _is_json(raw))


def _is_json(raw: bytes) -> bool:
    try:
        json.loads(raw)
    except ValueError:
        return False
    return True


def _parse(raw: bytes) -> Line | None:
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    if not isinstance(line, dict) or line.get("schema") != LINE_SCHEMA:
        return None
    known = line.get("verdict") in get_args(Outcome) and isinstance(line.get("source"), str)
    return line if known else None
