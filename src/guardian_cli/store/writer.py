"""`scan --store DIR`: a file for each source as it ends, many of them put together now and then."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.files import LockHeldError, hold_lock, replacing, write_atomic
from guardian_cli.store.arrow import floats, numbers, one_list, vectors, words
from guardian_cli.store.layout import (
    LOCK_FILE,
    METADATA,
    MODEL_FILE,
    StoreFile,
    deployment_column,
    error_column,
    group_of,
    key_of,
    list_files,
    partial_files,
    result_fields,
    score_column,
)
from guardian_cli.store.reader import StoreReader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.media.sources import Source
    from guardian_cli.scanning.observer import ScoredFrame
    from guardian_cli.verdict.result import ScanResult

# A file costs about a millisecond to open, however little is in it.
COMPACT_AT = 128
# Fewer at the end: a small batch every day must not fill the folder.
COMPACT_AT_END = 16
# What one row group holds at most: it is what a reader has in memory at once.
ROW_GROUP_BYTES = 32 << 20
# For whoever is putting files together just then.
LOCK_WAIT_S = 10.0
# A half-written file this old belongs to nobody who still runs.
ABANDONED_S = 24 * 3600.0


class StoreWriter:
    """Keeps what detectors say of each frame. Several may write to one folder.

    `begin` says what makes the rows, once the detectors are known, before any source has ended.
    """

    def __init__(self, folder: Path, *, compact_at: int = COMPACT_AT) -> None:
        """Make the folder. So many small files are put together.

        Raises UsageError where the folder can't be made or written to.
        """
        self.folder = folder
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        self._compact_at = compact_at
        self._run = f"{stamp}-{secrets.token_hex(4)}"
        self._provenance: Mapping[str, Any] = {}
        self._group = ""
        self._lock = threading.Lock()
        self._singles = self._parts = 0
        self._held: dict[str, tuple[str | None, str]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # A full disk or a folder of somebody else is found out before the scan, not after it.
            with replacing(folder / f".try-{self._run}"):
                pass
            (folder / f".try-{self._run}").unlink()
        except OSError as error:
            raise UsageError(f"--store {folder}: {error.strerror}") from error
        self._damaged_before = set(folder.glob("*.damaged"))

    def begin(self, provenance: Mapping[str, Any]) -> None:
        """Note what makes the rows. Raises UsageError when the folder holds another CLIP's."""
        # Here, before sources end in threads of their own: pyarrow brings in NumPy from C, which
        # fails where another thread is importing that. So NumPy first, which waits for them.
        import numpy  # noqa: F401, ICN001
        import pyarrow.parquet  # noqa: F401

        self._provenance, self._group = provenance, group_of(provenance)
        clip = provenance["clip"]
        if clip is not None:
            self._claim(clip)
        self._singles = sum(
            one.group == self._group and not one.is_part for one in list_files(self.folder)
        )

    def _claim(self, clip: Mapping[str, Any]) -> None:
        """Make the folder this CLIP's; the first of two guardians that start at once decides."""
        path = self.folder / MODEL_FILE
        with ExitStack() as stack:
            # Whoever compacts holds it for long, and some file systems have no locks.
            with contextlib.suppress(LockHeldError, PlatformError, OSError):
                stack.enter_context(hold_lock(self.folder / LOCK_FILE, LOCK_WAIT_S))
            try:
                known = json.loads(path.read_bytes()) if path.exists() else None
            except (OSError, ValueError) as error:
                raise UsageError(f"{path} cannot be read: {error}") from error
            if known is None:
                kept = {name: clip[name] for name in ("model", "weights")}
                write_atomic(path, json.dumps(kept).encode() + b"\n", mode=0o666)
        if known is not None and known.get("weights") != clip["weights"]:
            raise UsageError(
                f"--store {self.folder} holds features of {known.get('model')} "
                f"({str(known.get('weights'))[:19]}…), and {clip['model']} "
                f"({clip['weights'][:19]}…) scans",
                hint="name another folder: one store is of one model",
            )

    @property
    def detectors(self) -> Sequence[Mapping[str, Any]]:
        """Who scores, by index."""
        detectors: Sequence[Mapping[str, Any]] = self._provenance["detectors"]
        return detectors

    @property
    def clip_index(self) -> int | None:
        """Whose features are kept."""
        clip = self._provenance["clip"]
        return None if clip is None else int(clip["index"])

    def observe(self, source: Source, number: int) -> SourceRecorder:
        """Watch a source, the one with this number among those that were named."""
        return SourceRecorder(self, source, number)

    def read_index(self) -> None:
        """Find out what the folder holds, for `holds`; before any thread is started (see `begin`).

        Files that are damaged are set aside, so that their sources are scanned again.
        """
        rows = StoreReader(self.folder, set_aside=True).index()
        self._held = {row.key: (row.sha256, row.fingerprint) for row in rows}

    def holds(self, source: Source, sha256: str | None, fingerprint: Callable[[], str]) -> bool:
        """Whether rows of this content, made by what this fingerprint is of, are in the folder."""
        held = self._held.get(key_of(source))
        return held is not None and held == (sha256, fingerprint())

    def put(self, columns: Mapping[str, Any], source: Source, number: int) -> None:
        """Store one source; raises UsageError when it can't be written."""
        import numpy as np
        import pyarrow as pa

        columns = {
            "key": words([key_of(source)]),
            "stored_at_ns": numbers(np.array([time.time_ns()], np.int64)),
            "run": words([self._run]),
            "number": numbers(np.array([number], np.int64)),
            **columns,
        }
        table = pa.Table.from_arrays(
            list(columns.values()),
            names=list(columns),
            metadata={METADATA: json.dumps(self._provenance)},
        )
        # Padded, so that names sort as the sources were named.
        path = self.folder / f"source-{self._group}-{self._run}-{number:07}.parquet"
        try:
            with replacing(path) as partial:
                write_table(table, partial)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UsageError(f"{self.folder}: cannot be written: {reason}") from error
        with self._lock:
            self._singles += 1
            # Under the lock: of several threads only one finds that it is due.
            is_due = self._singles >= self._compact_at
            self._singles = 0 if is_due else self._singles
        if is_due:
            self.compact()

    def list_damaged(self) -> list[Path]:
        """The files that were found damaged since this was made, under their new names."""
        return sorted({*self.folder.glob("*.damaged")} - self._damaged_before)

    def close(self) -> None:
        """Put what is there together, where that is worth it."""
        if self._singles >= min(COMPACT_AT_END, self._compact_at):
            self.compact()

    def compact(self) -> None:
        """Put this group's small files together, unless another guardian is at it."""
        with ExitStack() as stack:
            try:
                stack.enter_context(hold_lock(self.folder / LOCK_FILE))
            except (LockHeldError, PlatformError, OSError):
                return
            singles = [
                one
                for one in list_files(self.folder)
                if one.group == self._group and not one.is_part
            ]
            if len(singles) > 1:
                with self._lock:
                    self._parts += 1
                name = f"part-{self._group}-{self._run}-{self._parts:05}.parquet"
                try:
                    put_together(singles, self.folder / name)
                except OSError:
                    # The small files hold all there is; the next run tries again.
                    return
            for partial in partial_files(self.folder):
                with contextlib.suppress(OSError):
                    if time.time() - partial.stat().st_mtime > ABANDONED_S:
                        partial.unlink()


class SourceRecorder:
    """Watches one source and stores it when it has ended."""

    def __init__(self, writer: StoreWriter, source: Source, number: int) -> None:
        self._writer = writer
        self._source = source
        self._number = number
        self._frames: list[tuple[float, float | None, float | None, bool]] = []
        # By column: the number of a frame and its value; most frames have the same columns.
        self._values: dict[str, dict[int, float]] = {}
        self._deployments: dict[str, dict[int, str]] = {}
        self._not_sent: dict[int, str] = {}
        self._views: list[int] = []
        self._features: list[NDArray[np.float16]] = []
        self._rounding: list[NDArray[np.float32]] = []
        self._last: NDArray[np.float32] | None = None

    def on_frame(self, frame: ScoredFrame) -> None:
        """Keep all but the picture."""
        import numpy as np

        number, sample = len(self._frames), frame.sample
        self._frames.append(
            (sample.time_s, sample.shown_until_s, sample.same_as_s, frame.is_refined)
        )
        detectors = self._writer.detectors
        for at, scores in frame.scores.items():
            errors = frame.errors.get(at, {})
            for category, score in scores.items():
                column = score_column(at, detectors[at]["name"], category)
                self._values.setdefault(column, {})[number] = score
                if errors.get(category):
                    column = error_column(at, detectors[at]["name"], category)
                    self._values.setdefault(column, {})[number] = errors[category]
        for at, deployment in frame.deployments.items():
            column = deployment_column(at, detectors[at]["name"])
            self._deployments.setdefault(column, {})[number] = deployment
        if sample.not_sent:
            self._not_sent[number] = ",".join(sample.not_sent)
        index = self._writer.clip_index
        features = frame.features.get(-1 if index is None else index)
        if features is None:
            self._views.append(-1)
        elif features is self._last:
            # A picture that stays is scored once, and its features are kept once.
            self._views.append(0)
        else:
            kept = features.astype(np.float16)
            self._views.append(len(kept))
            self._features.append(kept)
            # How far each vector was moved: from this `replay` knows how exact its scores are.
            self._rounding.append(np.linalg.norm(kept.astype(np.float32) - features, axis=1))
            self._last = features

    def on_result(self, result: ScanResult) -> None:
        """Store the source. One that could not be scanned has no frames that could be judged."""
        made = result.made or {}
        columns: dict[str, Any] = {
            "source": words([result.source]),
            "source_id": words([result.source_id]),
            "sha256": words([result.sha256]),
            "fingerprint": words([made.get("fingerprint")]),
            "result": words([json.dumps(result_fields(result, self._source))]),
        }
        if result.error is None:
            columns |= self._frame_columns()
        self._writer.put(columns, self._source, self._number)

    def _frame_columns(self) -> dict[str, Any]:
        import numpy as np

        everyone = range(len(self._frames))
        times, untils, sames, refined = zip(*self._frames, strict=True)
        columns = {
            "time_s": floats(times),
            "shown_until_s": floats(untils),
            "same_as_s": floats(sames),
            "is_refined": numbers(np.array(refined, np.bool_)),
        }
        for name, scores in self._values.items():
            columns[name] = floats([scores.get(number) for number in everyone])
        said = {**self._deployments, **({"not_sent": self._not_sent} if self._not_sent else {})}
        for name, one in said.items():
            columns[name] = words([one.get(number) for number in everyone])
        if self._features:
            columns["views"] = numbers(np.array(self._views, np.int8))
            columns["features"] = vectors(np.concatenate(self._features))
            columns["rounding"] = numbers(np.concatenate(self._rounding))
        return {name: one_list(column) for name, column in columns.items()}


def write_table(table: Any, path: Path) -> None:
    """Write a small table; raises OSError."""
    import pyarrow.parquet as pq

    pq.write_table(table, path, **_options(table.schema))


def put_together(singles: Sequence[StoreFile], path: Path) -> None:
    """Write the rows of small files into one and remove them; raises OSError.

    Memory holds ROW_GROUP_BYTES. A file that is damaged, as by a power cut, is set aside.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole, schemas = [], []
    for single in singles:
        try:
            # Schemas first: the part needs the columns of all its rows before the first is written.
            schemas.append(pq.read_schema(single.path))
            whole.append(single.path)
        except FileNotFoundError:
            continue
        except (OSError, pa.ArrowException):
            single.path.rename(single.path.with_suffix(".damaged"))
    if not whole:
        return
    schema = pa.unify_schemas(schemas).with_metadata(schemas[0].metadata)
    with replacing(path) as partial:
        with pq.ParquetWriter(partial, schema, **_options(schema)) as writer:
            rows, size = [], 0
            for file in whole:
                try:
                    rows.append(pq.ParquetFile(file, page_checksum_verification=True).read())
                except (OSError, pa.ArrowException):
                    file.rename(file.with_suffix(".damaged"))
                    continue
                size += rows[-1].nbytes
                if size >= ROW_GROUP_BYTES:
                    writer.write_table(_joined(rows, schema))
                    rows, size = [], 0
            if rows:
                writer.write_table(_joined(rows, schema))
        # Before the small ones go: a power cut must not take both.
        with partial.open("rb") as written:
            os.fsync(written.fileno())
    for file in whole:
        file.unlink(missing_ok=True)


def _joined(rows: Sequence[Any], schema: Any) -> Any:
    import pyarrow as pa

    # A column that a source lacks is empty for it.
    table = pa.concat_tables(rows, promote_options="default")
    missing = [field for field in schema if field.name not in table.column_names]
    for field in missing:
        table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select(schema.names).cast(schema)


def _options(schema: Any) -> dict[str, Any]:
    """How Parquet writes it: bytes of the same weight together, which shrinks fp16 by a sixth."""
    plain = [name for name in schema.names if name.startswith(("features", "score", "error"))]
    repeating = ("run", "fingerprint", "deployment", "not_sent")
    named = [name for name in schema.names if name.startswith(repeating)]
    split = [f"{name}.list.element" for name in plain if name != "features"]
    return {
        "compression": "zstd",
        "use_dictionary": [*named, *(f"{name}.list.element" for name in named)],
        "use_byte_stream_split": [*split, "features.list.element.list.element"],
        # Rows are never searched by value, so minima and maxima would only take space.
        "write_statistics": False,
        # A bit that has flipped on the disk must not read as another score, or another name.
        "write_page_checksum": True,
    }
