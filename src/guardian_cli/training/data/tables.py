"""A CSV `path,label[,group][,split]`; paths are relative to the CSV."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from guardian_cli.errors import UsageError
from guardian_cli.training.data.listing import SPLIT_NAMES, Item, LeftOut, Listing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from guardian_cli.training.data.listing import Split

_NEEDED = ("path", "label")
_SHAPE = "the first row names the columns: path,label and, if you like, group and split"
_MOST_FIELD = 1 << 20


def list_table(table: Path) -> Listing:
    """List a CSV's rows. Rows without a file or a label are left out, each with its reason.

    Raises UsageError that names the row for what makes the whole table doubtful: a missing column,
    a split nobody knows, text that is not UTF-8.
    """
    items: list[Item] = []
    left_out: list[LeftOut] = []
    for number, row in _rows(table):
        where = f"{table}, row {number}"
        path = resolve_path(table.parent, row["path"])
        reason = _problem(path, row)
        if reason:
            left_out.append(LeftOut(where, row["path"], reason))
            continue
        group, split = row.get("group") or None, _split(row.get("split", ""), where)
        items.append(Item(path, row["label"], where, group, split))
    if not items and not left_out:
        raise UsageError(f"{table}: no row below the first", hint=_SHAPE)
    _check_splits(items, table)
    return Listing(str(table), tuple(items), tuple(left_out))


def resolve_path(folder: Path, written: str) -> Path:
    """Find a file as written, relative to the CSV's folder; `\\` may part folders as on Windows."""
    path = folder / written
    if "\\" in written and not path.exists():
        path = folder / written.replace("\\", "/")
    return path


def _rows(table: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    text = _read_text(table)
    csv.field_size_limit(_MOST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    columns: list[str] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if columns is None:
                columns = _check_columns([cell.strip().casefold() for cell in cells], table)
                continue
            padded = cells + [""] * (len(columns) - len(cells))
            row = {name: padded[at].strip() for at, name in enumerate(columns)}
            yield reader.line_num, row
    except csv.Error as error:
        raise UsageError(f"{table}, row {reader.line_num}: {error}") from error
    if columns is None:
        raise UsageError(f"{table}: the file is empty", hint=_SHAPE)


def _read_text(table: Path) -> str:
    try:
        data = table.read_bytes()
    except OSError as error:
        raise UsageError(f"{table}: cannot be read: {error.strerror}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{table}, row {row}: this is not UTF-8 text") from error


def _delimiter(text: str) -> str:
    first = text.lstrip().partition("\n")[0]
    return next((mark for mark in (",", ";", "\t") if mark in first), ",")


def _check_columns(columns: list[str], table: Path) -> list[str]:
    for name in _NEEDED:
        if name not in columns:
            there = ", ".join(repr(column) for column in columns)
            raise UsageError(f"{table}, row 1: no column {name!r}; there are: {there}", hint=_SHAPE)
    for name in columns:
        if name and columns.count(name) > 1:
            raise UsageError(f"{table}, row 1: two columns are named {name!r}")
    return columns


def _problem(path: Path, row: Mapping[str, str]) -> str | None:
    if not row["path"]:
        return "no path"
    if not row["label"]:
        return "no label"
    try:
        there = path.is_file()
    except (OSError, ValueError):
        there = False
    return None if there else "no such file"


def _split(written: str, where: str) -> Split | None:
    if not written:
        return None
    split = SPLIT_NAMES.get(written.casefold())
    if split is None:
        raise UsageError(f"{where}: split {written!r} is none of train, val, test")
    return split


def _check_splits(items: list[Item], table: Path) -> None:
    """All rows name a split or none does, and a group never straddles them."""
    without = next((item for item in items if item.split is None), None)
    if without and any(item.split for item in items):
        raise UsageError(f"{without.where}: no split, though other rows of {table.name} have one")
    first: dict[str, Item] = {}
    for item in items:
        if item.group is None or item.split is None:
            continue
        known = first.setdefault(item.group, item)
        if known.split != item.split:
            raise UsageError(
                f"{item.where}: group {item.group!r} is in {item.split} here and in {known.split}"
                f" before ({known.where}): a group must not straddle a split"
            )
