"""`guardian merge`: the results of shards, or of any scans, as those of one."""

from __future__ import annotations

import functools
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import or_
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

from guardian_cli.errors import UsageError
from guardian_cli.evidence.folder import EvidenceFolder
from guardian_cli.files import check_outputs
from guardian_cli.reports import document
from guardian_cli.reports.document import Json
from guardian_cli.reports.formats import (
    BatchReport,
    find_format,
    find_reports,
    show_report,
    write_report,
)
from guardian_cli.reports.results_file import key_of, read_results, read_whole
from guardian_cli.reports.text import count
from guardian_cli.scanning.shards import MAX_SHARDS, digest_of_names
from guardian_cli.verdict.policy import exit_code

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from guardian_cli.console import Console
    from guardian_cli.verdict.policy import FailOn
    from guardian_cli.verdict.result import Outcome

ENDINGS = (".jsonl", ".json")
SHARD_NUMBERS = ("index", "count", "sources", "all_sources")


class PackedResults(Sequence[Json]):
    """Elements of guardian.scan/1, as JSON in memory: a tenth of what they take when unpacked."""

    def __init__(self, packed: Sequence[bytes]) -> None:
        self._packed = packed

    def __len__(self) -> int:
        return len(self._packed)

    @overload
    def __getitem__(self, at: int) -> Json: ...
    @overload
    def __getitem__(self, at: slice) -> PackedResults: ...
    def __getitem__(self, at: int | slice) -> Json | PackedResults:
        """Unpack one of them, or choose several."""
        if isinstance(at, slice):
            return PackedResults(self._packed[at])
        found: Json = json.loads(self._packed[at])
        return found


@dataclass
class Merged:
    """One result for each source of several parts: the latest that is no error.

    `warnings` and `gaps` are lines for the user; `gaps` say what is missing from N shards, and
    `missing` says it as guardian.scan/1 has it, None where nothing is. `is_whole` says that the
    shards themselves prove that nothing is.
    """

    scans: Sequence[Json]
    warnings: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    missing: dict[str, Any] | None = None
    is_whole: bool = False


class _Choice(NamedTuple):
    """The result that stands for a source so far; `name` is the same on every machine."""

    rank: tuple[bool, str]
    source: str
    packed: bytes
    name: str | None
    sha256: str | None


def run_merge(
    parts: Sequence[Path],
    console: Console,
    *,
    output: Literal["table", "json", "jsonl"] = "table",
    reports: Iterable[tuple[str, Path]] = (),
    sheet: Path | None = None,
    fail_on: FailOn = "review",
) -> int:
    """Merge files of results, or folders of them, and return the exit code of one scan.

    `sheet` is a folder for an evidence sheet, which has no stills.

    Something that is missing counts as a source that could not be scanned. Raises UsageError for a
    part that is not there or holds anything else, and for outputs that can't be written.
    """
    files = [file for part in parts for file in _files_of(part)]
    reports = list(reports)
    to_write = find_reports(reports)
    # A part may become the whole; a table in its place would be the end of it.
    others = [path for name, path in reports if name not in {"json", "jsonl"}]
    check_outputs(others, read=files, option="--output ")
    wholes = {file: read_whole(file) for file in files}
    merged = merge_results(line for file in files for line in read_results(file, newest=False))
    # What a part lacks stays missing: of documents nobody knows which sources those were.
    lacking = {} if merged.is_whole else wholes
    for file, whole in lacking.items():
        if whole.interrupted:
            merged.gaps.append(f"{file}: its scan was interrupted before all sources were done")
        if whole.missing is not None:
            lost = whole.missing["sources"]
            merged.gaps.append(f"{file}: {count(lost, 'source')} without a result")
            if merged.missing is None or merged.missing["sources"] < lost:
                merged.missing = whole.missing
    if not merged.scans:
        raise UsageError(
            f"{count(len(files), 'part')} without any result: there is nothing to merge",
            hint="a batch that was scanned has a result for every source",
        )
    verdicts: list[Outcome] = [scan["verdict"] for scan in merged.scans]
    lost = merged.missing["sources"] if merged.missing else 0
    report = BatchReport(
        merged.scans,
        len(merged.scans) + lost,
        # Each shard counts what the folder leaves out as a whole.
        skipped=functools.reduce(or_, (Counter(one.skipped) for one in wholes.values())),
        interrupted=any(one.interrupted for one in lacking.values()),
        missing=merged.missing,
    )
    if sheet is not None:
        with EvidenceFolder(sheet) as folder:
            folder.write(report)
    for render, path in to_write:
        write_report(render(report), path)
    show_report(find_format(output)(report), console)
    for line in (*merged.warnings, *merged.gaps):
        console.warn(line)
    console.note(f"{count(len(files), 'part')}: {count(len(merged.scans), 'source')}")
    return exit_code([*verdicts, "error"] if report.is_partial else verdicts, fail_on)


def _files_of(part: Path) -> list[Path]:
    """A part itself, or the results that a folder holds."""
    if not part.is_dir():
        return [part]
    # Sorted: of two results that are alike the later file's counts, on every machine.
    files = sorted(path for path in part.iterdir() if path.suffix in ENDINGS and path.is_file())
    if not files:
        raise UsageError(f"{part}: no file of results in this folder (.jsonl, .json)")
    return files


def merge_results(lines: Iterable[Json]) -> Merged:
    """Choose one result for each source from the lines of all parts, in any order.

    Raises UsageError where they are shards of batches that were divided differently.
    """
    chosen: dict[str, _Choice] = {}
    contents: dict[str, set[str]] = {}
    shards: dict[int, Mapping[str, Any]] = {}
    told: dict[int, str] = {}
    held: dict[int, set[str]] = {}
    for line in lines:
        key, shard = key_of(line), line.pop("shard", None)
        name = None
        if shard is not None:
            _check_shard(shard, shards)
            name = shard.get("name")
        rank = line["verdict"] != "error", _when(line)
        # Of two that are alike the later in the files: a line that was appended is newer.
        if key not in chosen or rank >= chosen[key].rank:
            packed = document.dumps(line).encode()
            chosen[key] = _Choice(rank, line["source"], packed, name, line["sha256"])
        if line["sha256"]:
            contents.setdefault(name or key, set()).add(line["sha256"])
        if shard is not None:
            # A shard that was scanned again may have seen other sources then.
            if _when(line) >= told.get(shard["index"], ""):
                shards[shard["index"]], told[shard["index"]] = shard, _when(line)
            held.setdefault(shard["index"], set()).add(shard.get("name", key))
    # The same file of the same batch, from two machines that have its folder in other places.
    units: dict[object, _Choice] = {}
    # Where one of them could not even read it, the other's result is the one that counts.
    read = {one.name for one in chosen.values() if one.name and one.sha256}
    for key, one in chosen.items():
        if one.name in read and not one.sha256:
            continue
        same: object = (one.name, one.sha256) if one.name and one.sha256 else one.name or key
        if same not in units or one.rank >= units[same].rank:
            units[same] = one
    ordered = sorted(units.values(), key=lambda one: one.source)
    merged = Merged(PackedResults([one.packed for one in ordered]))
    merged.warnings = _differences(merged.scans, contents)
    merged.is_whole = bool(shards) and _is_whole(ordered, shards.values())
    if shards and not merged.is_whole:
        _find_gaps(merged, shards, {index: len(keys) for index, keys in held.items()})
    return merged


def _when(line: Json) -> str:
    # UTC in one format: as text they sort as times.
    return str((line.get("made") or {}).get("when", ""))


def _check_shard(shard: Any, known: Mapping[int, Mapping[str, Any]]) -> None:
    values = [shard.get(one) for one in SHARD_NUMBERS] if isinstance(shard, dict) else []
    numbers = [one for one in values if isinstance(one, int) and one >= 0]
    is_known = len(numbers) == len(SHARD_NUMBERS) and 1 <= numbers[0] <= numbers[1] <= MAX_SHARDS
    if not is_known or not isinstance(shard.get("name", ""), str):
        raise UsageError(f"{shard!r} is no shard of guardian scan --shard I/N")
    # One of them will do: those that are known agree with each other.
    other = next(iter(known.values()), shard)
    if other["count"] != shard["count"]:
        counts = sorted({other["count"], shard["count"]})
        raise UsageError(
            f"parts of batches that were divided differently: into {counts[0]} shards, and "
            f"into {counts[1]}",
            hint="merge those of one N; guardian scan --shard I/N scans the rest",
        )


def _is_whole(chosen: Sequence[_Choice], shards: Iterable[Mapping[str, Any]]) -> bool:
    """Whether these are exactly the sources that every shard says the batch has.

    What was merged before says no more which shard it is of: its name is what follows the folder of
    another source.
    """
    roots = {one.source.removesuffix(one.name) for one in chosen if one.name}
    names = [
        one.name
        or next(
            (one.source.removeprefix(root) for root in roots if one.source.startswith(root)),
            os.path.normpath(one.source),
        )
        for one in chosen
    ]
    return {str(shard.get("sources_digest")) for shard in shards} == {digest_of_names(names)}


def _differences(scans: Sequence[Json], contents: Mapping[str, set[str]]) -> list[str]:
    """Say where parts can't well be of one batch."""
    warnings = []
    changed = sum(len(digests) > 1 for digests in contents.values())
    if changed:
        warnings.append(f"{count(changed, 'source')} had other contents in other parts")
    # How long a live stream is watched is in its fingerprint, and only in its.
    files = [one.get("made") or {} for one in scans if not one["source"].startswith("rtsp")]
    prints = Counter(str(made.get("fingerprint")) for made in files)
    if len(prints) > 1:
        versions = sorted({str(made.get("guardian", "before 0.2.0")) for made in files})
        shares = ", ".join(str(number) for _, number in prints.most_common())
        warnings.append(
            f"the results were made in {len(prints)} ways (other settings, models or versions of "
            f"guardian: {', '.join(versions)}), for {shares} sources"
        )
    return warnings


def _find_gaps(
    merged: Merged, shards: Mapping[int, Mapping[str, Any]], held: Mapping[int, int]
) -> None:
    """Say what is missing: shards that are not there, and sources of those that are."""
    of = next(iter(shards.values()))["count"]
    totals = sorted({shard["all_sources"] for shard in shards.values()})
    short = {
        index: shard["sources"] - held[index]
        for index, shard in sorted(shards.items())
        if shard["sources"] > held[index]
    }
    for index, number in short.items():
        whole = count(shards[index]["sources"], "source")
        merged.gaps.append(
            f"shard {index}/{of} is incomplete: {number} of {whole} without a result"
        )
    # Whether an absent shard is missing or holds nothing, the sums tell.
    rest = totals[-1] - sum(shard["sources"] for shard in shards.values())
    absent = [index for index in range(1, of + 1) if index not in shards] if rest > 0 else []
    if absent:
        names = ", ".join(f"{index}/{of}" for index in absent[:12])
        names += f" and {len(absent) - 12} more" if len(absent) > 12 else ""
        merged.gaps.append(
            f"{'shards' if len(absent) > 1 else 'shard'} {names} missing: "
            f"{rest} of {count(totals[-1], 'source')} without a result"
        )
    if len({str(shard.get("sources_digest")) for shard in shards.values()}) > 1:
        seen = " or ".join(str(total) for total in totals)
        merged.gaps.append(
            f"the shards did not see the same sources ({seen}): what came or went meanwhile may be "
            "in none of them"
        )
    lost = max(sum(short.values()) + max(rest, 0), totals[-1] - len(merged.scans))
    if lost > 0:
        merged.missing = {"shards": absent, "shard_count": of, "sources": lost}
