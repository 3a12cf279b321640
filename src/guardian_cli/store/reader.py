"""Reading a store: which rows count, and their columns as flat arrays, many sources at a time."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from guardian_cli.errors import UsageError
from guardian_cli.store.arrow import numbers, to_numpy
from guardian_cli.store.layout import (
    FEATURE_COLUMNS,
    FRAME_COLUMNS,
    INDEX_COLUMNS,
    list_files,
    read_metadata,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Files vanish when another guardian puts them together; how often that is met before giving up.
MAX_LISTINGS = 20


class Row(NamedTuple):
    """A source that is stored: what it is kept under, its content, and when it came."""

    key: str
    sha256: str | None
    fingerprint: str
    stored_at_ns: int
    run: str
    number: int
    source: str


class StoreReader:
    """A store to read, also while others write to it."""

    def __init__(self, folder: Path, *, set_aside: bool = False) -> None:
        """`set_aside` renames damaged files, so that their sources are scanned again.

        Raises UsageError where there is no such folder.
        """
        if not folder.is_dir():
            raise UsageError(
                f"{folder}: no such store", hint="guardian scan … --store DIR makes one"
            )
        self.folder = folder
        self._set_aside = set_aside
        self._known: dict[str, dict[str, Any]] = {}

    def provenances(self) -> list[dict[str, Any]]:
        """What made the rows, one for each group of files, once `index` has seen them."""
        return list(self._known.values())

    def index(self) -> list[Row]:
        """The row that counts of every source, in the order in which they were named and scanned.

        Raises UsageError for a file that is damaged.
        """
        newest: dict[str, Row] = {}
        for _, table in self._tables(INDEX_COLUMNS):
            for row in zip(
                *(table.column(name).to_pylist() for name in INDEX_COLUMNS), strict=True
            ):
                found = Row(*row)
                known = newest.get(found.key)
                # Of two copies of one row, which have one time, either will do.
                if known is None or known.stored_at_ns <= found.stored_at_ns:
                    newest[found.key] = found
        return sorted(newest.values(), key=lambda row: (row.run, row.number))

    def blocks(self, rows: Sequence[Row], *, features: bool = False) -> Iterator[Block]:
        """Yield these rows, each once, many at a time; `features` brings those too."""
        import numpy as np

        wanted = {row.key: row.stored_at_ns for row in rows}
        left_out = () if features else FEATURE_COLUMNS
        for provenance, table in self._tables(None, left_out):
            keys, stamps = (table.column(name).to_pylist() for name in ("key", "stored_at_ns"))
            take = []
            for at, (key, stamp) in enumerate(zip(keys, stamps, strict=True)):
                if wanted.get(key) == stamp:
                    # It may be in two files: the small one, and the one it was put into.
                    del wanted[key]
                    take.append(at)
            if len(take) == len(keys):
                yield Block(provenance, table)
            elif take:
                yield Block(provenance, table.take(numbers(np.array(take))))
        # A source was scanned again meanwhile: its row has gone, and nobody asked for the new one.
        if wanted:
            raise UsageError(f"{self.folder} changed while it was read", hint="run it again")

    def _tables(
        self, columns: Sequence[str] | None, left_out: Sequence[str] = ()
    ) -> Iterator[tuple[dict[str, Any], Any]]:
        """Yield what made it, and the columns, of every row group there is."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        known = self._known
        read: set[str] = set()
        # Listed until nothing new is found: files may be put together while they are read.
        for _ in range(MAX_LISTINGS):
            files = [one for one in list_files(self.folder) if one.path.name not in read]
            if not files:
                return
            for one in files:
                read.add(one.path.name)
                try:
                    with one.path.open("rb") as opened:
                        file = pq.ParquetFile(opened, page_checksum_verification=True)
                        schema = file.schema_arrow
                        # Once for each group: it is long, and the same in all of its files.
                        if one.group not in known:
                            known[one.group] = read_metadata(schema.metadata, one.path)
                        names = columns or [name for name in schema.names if name not in left_out]
                        for number in range(file.num_row_groups):
                            yield known[one.group], file.read_row_group(number, columns=names)
                except FileNotFoundError:
                    # Put together with others meanwhile: the next listing has that file.
                    continue
                except (OSError, pa.ArrowException) as error:
                    self._damaged(one.path, error)

    def _damaged(self, path: Path, error: Exception) -> None:
        if not self._set_aside:
            reason = str(error).partition("\n")[0]
            raise UsageError(
                f"{path} is damaged: {reason}",
                hint="remove it, and scan its sources again with --resume and --store",
            ) from error
        # A store that may only be read can still be read.
        with contextlib.suppress(OSError):
            path.rename(path.with_suffix(".damaged"))


@dataclass(frozen=True)
class Block:
    """Some sources with all their frames, laid end to end: a flat array for each column.

    `provenance` says what made them. Source i has the frames from `offsets[i]` to `offsets[i + 1]`.
    """

    provenance: Mapping[str, Any]
    table: Any

    def __len__(self) -> int:
        return len(self.table)

    def text(self, name: str) -> list[Any]:
        """A column with one value for each source."""
        values: list[Any] = self.table.column(name).to_pylist()
        return values

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Where each source's frames begin, and where the last one's end."""
        import numpy as np

        if FRAME_COLUMNS[0] not in self.table.column_names:
            return np.zeros(len(self) + 1, np.int64)
        return np.concatenate([[0], np.cumsum(self._lengths(FRAME_COLUMNS[0]))])

    def column(self, name: str) -> Floats:
        """A number for each frame, NaN where there is none."""
        import numpy as np

        total, lengths = int(self.offsets[-1]), np.diff(self.offsets)
        if name not in self.table.column_names:
            return np.full(total, np.nan)
        flat = to_numpy(self._flat(name)).astype(np.float64, copy=False)
        if len(flat) == total:
            return flat
        # Some of the sources have no such column.
        values = np.full(total, np.nan)
        values[np.repeat(self._lengths(name) > 0, lengths)] = flat
        return values

    def words(self, name: str, number: int) -> list[str | None]:
        """A source's words, one for each frame; None where there are none."""
        begin, end = self.offsets[number : number + 2]
        values: list[str | None] | None = None
        if name in self.table.column_names:
            values = self.table.column(name)[number].as_py()
        return values or [None] * int(end - begin)

    def is_refined(self) -> NDArray[np.bool_]:
        """Which frames are of the second, denser pass."""
        import numpy as np

        if "is_refined" not in self.table.column_names:
            return np.zeros(0, np.bool_)
        return np.asarray(to_numpy(self._flat("is_refined")), np.bool_)

    def features(self) -> tuple[NDArray[np.float32], Floats, NDArray[np.int64], NDArray[np.int64]]:
        """Unit features (V, D) of all views, and how far rounding to fp16 moved each (V,).

        Then for each frame where its views begin and how many there are, 0 where there are none.
        """
        import numpy as np

        total = int(self.offsets[-1])
        if "features" not in self.table.column_names:
            none = np.zeros(total, np.int64)
            return np.zeros((0, 1), np.float32), np.zeros(0), none, none
        vectors = self._flat("features")
        width = vectors.type.list_size
        rows = to_numpy(vectors.flatten()).reshape(-1, width)
        # -1 is a frame without features, 0 one whose picture was there before (see the writer).
        counts = np.nan_to_num(self.column("views"), nan=-1).astype(np.int64)
        own = np.maximum(counts, 0)
        begins = np.cumsum(own) - own
        # A frame with a picture that was there before has that one's views.
        at = np.maximum.accumulate(np.where(counts > 0, np.arange(total), 0))
        begins, numbers = begins[at], np.where(counts < 0, 0, own[at])
        rounding = to_numpy(self._flat("rounding")).astype(np.float64)
        return rows.astype(np.float32), rounding, begins, numbers

    def _flat(self, name: str) -> Any:
        return self.table.column(name).combine_chunks().flatten()

    def _lengths(self, name: str) -> NDArray[np.int64]:
        import numpy as np

        offsets = to_numpy(self.table.column(name).combine_chunks().offsets)
        return np.asarray(offsets[1:] - offsets[:-1], np.int64)
