"""Stored results, read again: a document of `scan --json`, or the lines of `--jsonl`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, get_args

from guardian_cli.errors import UsageError
from guardian_cli.reports.document import SCHEMA
from guardian_cli.verdict.result import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from guardian_cli.reports.document import Json

HINT = "name a file of guardian scan --jsonl, --json, --resume or --output"
# What a reader may rely on, also where a line was cut down by other tools.
_EMPTY: Json = {
    "sha256": None, "reasons": [], "degraded": False, "media": None, "coverage": {},
    "detectors": [], "categories": {}, "timing": {}, "error": None,
}  # fmt: skip
# A category without a verdict is for a person to look at.
_EMPTY_CATEGORY: Json = {"score": None, "verdict": "review", "segments": []}
_BEGIN = f'{{"schema": "{SCHEMA}", "source": '.encode()
_MAPPINGS = ("coverage", "made", "media", "error", "timing", "timeline")
_TIMES = ("start_s", "end_s", "peak", "peak_s")


@dataclass(frozen=True, slots=True)
class Whole:
    """What a document says of its batch beside the results, as guardian.scan/1 has it."""

    skipped: Mapping[str, int] = field(default_factory=dict)
    interrupted: bool = False
    missing: Json | None = None


def read_whole(path: Path) -> Whole:
    """Return what a file of results says of the whole: of lines, nothing.

    Raises UsageError for a file that can't be read, and for a document that says anything else.
    """
    try:
        with path.open("rb") as file:
            if _holds_lines(file):
                return Whole()
            document = _loads(file.read())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}", hint=HINT) from error
    if not isinstance(document, dict):
        # Whether it is a torn line or no result at all, whoever reads the results finds out.
        return Whole()
    skipped, missing = document.get("skipped") or {}, document.get("missing")
    known = isinstance(skipped, dict) and all(isinstance(one, int) for one in skipped.values())
    known &= isinstance(document.get("interrupted", False), bool)
    if missing is not None:
        numbers = missing if isinstance(missing, dict) else {}
        known &= all(isinstance(numbers.get(name), int) for name in ("sources", "shard_count"))
        known &= isinstance(numbers.get("shards"), list)
    if not known:
        raise UsageError(f"{path}: holds no results of guardian scan", hint=HINT)
    return Whole(skipped, document.get("interrupted", False), missing)


def read_results(path: Path, *, newest: bool = True) -> Iterator[Json]:
    """Yield the results in a file, each source once and its newest line, in order of appearance.

    With `newest=False` all lines are given, in their order.
    Each is an element of guardian.scan/1 in which every required field is there. A last line that
    a kill cut off is left out. Raises UsageError for a file that holds anything else.
    """
    try:
        with path.open("rb") as file:
            if not _holds_lines(file):
                whole = file.read()
                # A shard without sources, or a scan that was ended before its first, wrote nothing,
                # or half a line.
                torn = whole[: len(_BEGIN)] == _BEGIN[: len(whole)] and b"\n" not in whole
                yield from _elements(_loads(whole), path) if whole.strip() and not torn else ()
                return
            # Offsets, not lines: a million results fit, each being read when it is wanted.
            offsets: dict[str | int, int] = {}
            for offset, line in _lines(file, path):
                offsets[key_of(line) if newest else offset] = offset
            for at in offsets.values():
                file.seek(at)
                again = parse_result(_loads(file.readline()))
                if again is not None:
                    yield _filled(again)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}", hint=HINT) from error


def stream_results(path: Path) -> Iterator[Json]:
    """Yield every line of a JSONL file as it stands, read once; of a document what `read_results`.

    For whoever keeps a few numbers of each of many results, and the newest of a source itself.
    """
    try:
        with path.open("rb") as file:
            if _holds_lines(file):
                for _, line in _lines(file, path):
                    yield line
                return
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}", hint=HINT) from error
    yield from read_results(path)


def _holds_lines(file: BinaryIO) -> bool:
    """Whether a file at its beginning, where it is left, has a result on each line."""
    first = _loads(file.readline())
    file.seek(0)
    return isinstance(first, dict) and "source" in first


def _lines(file: BinaryIO, path: Path) -> Iterator[tuple[int, Json]]:
    """Every result with its offset in bytes. Raises UsageError for a line that is none."""
    offset = 0
    for number, raw in enumerate(file, 1):
        line = parse_result(_loads(raw))
        if line is not None:
            yield offset, line
        elif raw.strip() and raw.endswith(b"\n"):
            # Only the last line may be cut off, by a kill, and then has no end.
            raise UsageError(f"{path}:{number}: not a result of guardian scan", hint=HINT)
        offset += len(raw)


def key_of(line: Mapping[str, Any]) -> str:
    """What tells a source from all others: its name, or what its masked address stands for."""
    return str(line.get("source_id") or line["source"])


def parse_result(value: Any) -> Json | None:
    """Return a line of guardian.scan/1, None for anything else."""
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        return None
    known = value.get("verdict") in get_args(Outcome) and isinstance(value.get("source"), str)
    known &= all(isinstance(value.get(name), str | None) for name in ("sha256", "source_id"))
    categories = value.get("categories") or {}
    mappings = [categories, *(value.get(name) or {} for name in _MAPPINGS)]
    mappings += [*_list(value.get("detectors")), *_list(value.get("frames"))]
    mappings += categories.values() if isinstance(categories, dict) else ()
    # Checked here, once: whoever reads results relies on these shapes everywhere.
    known &= all(isinstance(one, dict) for one in mappings)
    known &= all(isinstance(one, str) for one in _list(value.get("reasons")))
    known = known and all(map(_is_category, categories.values()))
    return value if known and all(map(_is_detector, _list(value.get("detectors")))) else None


def _is_detector(one: Mapping[str, Any]) -> bool:
    latencies, counts = one.get("latency_ms") or {}, one.get("deployments") or {}
    return (
        isinstance(one.get("category"), str | None)
        and isinstance(latencies, dict)
        and all(isinstance(each, int | float | None) for each in latencies.values())
        and isinstance(counts, dict)
        and all(isinstance(each, int) for each in counts.values())
    )


def _is_category(one: Mapping[str, Any]) -> bool:
    score, segments = one.get("score"), _list(one.get("segments"))
    return (
        (score is None or (isinstance(score, int | float) and 0 <= score <= 1))
        and one.get("verdict") in (None, *get_args(Verdict))
        and all(isinstance(part, dict) for part in segments)
        and all(isinstance(part.get(name), int | float) for part in segments for name in _TIMES)
        and all(0 <= part["peak"] <= 1 for part in segments)
    )


def _elements(document: Any, path: Path) -> Iterator[Json]:
    """The elements of a whole document."""
    scans = document.get("scans") if isinstance(document, dict) else None
    if not isinstance(scans, list) or document.get("schema") != SCHEMA:
        raise UsageError(f"{path}: holds no results of guardian scan", hint=HINT)
    newest: dict[str, Json] = {}
    for number, scan in enumerate(scans):
        line = parse_result({"schema": SCHEMA, **scan} if isinstance(scan, dict) else None)
        if line is None:
            raise UsageError(f"{path}: scans[{number}] is no result of guardian scan", hint=HINT)
        # Like lines, a document that was put together from others may name a source twice.
        newest[key_of(line)] = _filled(line)
    yield from newest.values()


def _filled(line: Json) -> Json:
    """The line with what a reader may rely on."""
    whole = _over(_EMPTY, line)
    categories = {name: _over(_EMPTY_CATEGORY, one) for name, one in whole["categories"].items()}
    return {**whole, "categories": categories}


def _over(empty: Json, part: Json) -> Json:
    """A part of a result, with what is `empty` where it has nothing."""
    # Other tools write null for what is empty.
    return {
        **empty,
        **{name: one for name, one in part.items() if one is not None or empty.get(name) is None},
    }


def _loads(raw: bytes) -> Any:
    try:
        # Python reads NaN and 1e999; no verdict may rest on either.
        return json.loads(raw, parse_constant=_refuse, parse_float=_number, parse_int=_number)
    # Brackets nested by the thousand are an attack, or rubbish.
    except (ValueError, RecursionError):
        return None


def _number(text: str) -> float:
    number = int(text) if text.lstrip("-").isdigit() else float(text)
    # No time, size or count of ours comes near; what is larger could not be reckoned with.
    return number if abs(number) < 1e18 else _refuse(text)


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _list(value: Any) -> list[Any]:
    # What is no list is no element either, and is refused as such.
    return value if isinstance(value, list) else [] if value is None else [None]
