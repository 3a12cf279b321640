"""What people said of files: a CSV `path,category,label[,group]`, and whose results these are."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import UsageError
from guardian_cli.media.sources import Source
from guardian_cli.reports.results_file import key_of
from guardian_cli.reports.text import count
from guardian_cli.training.data.dataset import read_rows
from guardian_cli.urls import mask_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

SHAPE = "the first row names the columns: path,category,label and, if you like, group"


@dataclass(frozen=True, slots=True)
class Label:
    """One row: `location` is how to reach the file from here, `written` what the CSV calls it.

    `text` is the label as it stands in the CSV, `where` names the row.
    """

    location: str
    written: str
    category: str
    positive: bool
    text: str
    group: str | None
    where: str


def read_labels(table: Path) -> list[Label]:
    """Read a CSV of labels; paths are relative to it, addresses are as they are.

    A label of `1` or of the category's own name is positive, any other is negative. Raises
    UsageError for a row without a path, category or label, and for a file with two labels.
    """
    labels: dict[tuple[str, str], Label] = {}
    for number, row in read_rows(table, ("path", "category", "label"), SHAPE):
        where = f"{table}, row {number}"
        for name in ("path", "category", "label"):
            if not row[name]:
                raise UsageError(f"{where}: no {name}", hint=SHAPE)
        written, category, text = row["path"], row["category"], row["label"]
        location = written
        if "://" not in written:
            # Tables from Windows part folders by a backslash, which is part of a name elsewhere.
            if "\\" in written and not (table.parent / written).exists():
                written = written.replace("\\", "/")
            # Not `resolve`: results name a link, not the file that it leads to.
            location = os.path.normpath(table.parent / written)
        positive = text.casefold() in {"1", category.casefold()}
        label = Label(location, written, category, positive, text, row.get("group") or None, where)
        # A row that is there twice is harmless, as in tables that were joined; a contradiction is
        # not.
        other = labels.setdefault((location, category), label)
        if other.positive != positive:
            raise UsageError(
                f"{where}: {written} is {text!r} here and {other.text!r} before ({other.where})",
                hint="keep the row that is right",
            )
    if not labels:
        raise UsageError(f"{table}: no row below the first", hint=SHAPE)
    return list(labels.values())


def match_sources(labels: Sequence[Label], results: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return for each label's `location` the key (see `key_of`) of the result that it means.

    A path that leads to the same file from here counts first, then the same content, then the same
    name, where no file says that it has other content. Locations without a result are left out.

    Raises UsageError where no label has a result at all.
    """
    by_path: dict[str, str] = {}
    by_name: dict[str, str] = {}
    by_content: dict[str, str] = {}
    content: dict[str, str | None] = {}
    for one in results:
        name = str(one["source"])
        by_name[one.get("source_id") or name] = key_of(one)
        if "://" not in name:
            by_path[os.path.abspath(name)] = key_of(one)  # noqa: PTH100 - not through links
        content[key_of(one)] = one.get("sha256")
        if one.get("sha256"):
            by_content[one["sha256"]] = key_of(one)
    found: dict[str, str] = {}
    for location, written in {label.location: label.written for label in labels}.items():
        key: str | None = by_path.get(os.path.abspath(location))  # noqa: PTH100 - as above
        if "://" in written:
            # Addresses that look alike once masked are told apart by what they stand for.
            shown = mask_url(written)
            key = by_name.get(Source("url", written, shown).identity or shown)
        elif key is None and by_content and Path(location).is_file():
            # It was renamed or moved since the scan, or has the name of another there.
            with Path(location).open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            same_name = by_name.get(written)
            is_known = same_name is not None and content[same_name] not in {None, sha256}
            key = by_content.get(sha256, None if is_known else same_name)
        elif key is None:
            key = by_name.get(written)
        if key is not None:
            found[location] = key
    if not found:
        raise UsageError(
            f"none of the labelled files has a result, such as {labels[0].written}",
            hint="paths in the CSV count from its own folder, those of results from this one",
        )
    return found


def labels_by_source(
    labels: Sequence[Label],
    results: Iterable[Mapping[str, Any]],
    warn: Callable[[str], None],
) -> dict[str, dict[str, bool]]:
    """Return what is positive, by the result's key and category; tell of labels without a result.

    Raises what `match_sources` does.
    """
    # A label without a result is only told of: people label more than they scan.
    keys = match_sources(labels, results)
    lost = sorted({label.written for label in labels if label.location not in keys})
    if lost:
        warn(f"{count(len(lost), 'labelled file')} without a result: {', '.join(lost[:3])}")
    found: dict[str, dict[str, bool]] = {}
    for label in labels:
        if label.location in keys:
            found.setdefault(keys[label.location], {})[label.category] = label.positive
    return found
