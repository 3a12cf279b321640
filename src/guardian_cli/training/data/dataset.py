"""What `--data` names: labelled files of a folder or a CSV, before any of them is decoded.

folder    one sub-folder per class; the same below train/, val/ and test/ also counts
CSV       path,label[,group][,split]; paths are relative to the CSV. One with a column `category`,
          as `evaluate` reads and writes, is of several models: rows of other categories are not
          this one's, and a label of 1 is the category's name
"""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from guardian_cli.errors import UsageError
from guardian_cli.media.sniff import has_known_ending

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

Split = Literal["train", "val", "test"]
SPLIT_NAMES: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_SYNONYMS = {
    "nsfw": ("nsfw", "porn", "unsafe"),
    "violence": ("violence", "violent", "fight"),
}
_FOLDER_SHAPE = "a folder needs one sub-folder per class with images or videos in it"
CSV_SHAPE = "the first row names the columns: path,label and, if you like, group and split"
_MAX_CSV_FIELD = 1 << 20
# How much of a long list a message shows.
_SHOWN_LABELS = 12
_SHOWN_FILES = 3
_SHOWN_REASONS = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled file. `where` is how to find it again: the CSV's row, or the file itself."""

    path: Path
    label: str
    where: str
    group: str | None = None
    split: Split | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that is not trained on, and why, in one line."""

    where: str
    path: str
    reason: str
    contradiction: bool = False

    @property
    def line(self) -> str:
        """Where it stands, which file it is, and what is the matter."""
        path = "" if not self.path or self.path in self.where else f"{self.path}: "
        return f"{self.where}: {path}{self.reason}"


@dataclass(frozen=True, slots=True)
class Dataset:
    """The labelled files in the order in which they are listed."""

    source: str
    samples: tuple[Sample, ...]
    left_out: tuple[LeftOut, ...] = ()
    simulated: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the samples, each once, sorted."""
        return tuple(sorted({sample.label for sample in self.samples}))


def load_dataset(source: Path, category: str | None = None) -> Dataset:
    """List a folder with one sub-folder per class, or a CSV, each file once.

    `category` chooses the rows of a CSV that has a column of that name; None takes all.
    Raises UsageError with one line for what is not there, lists no file, or one class only.
    """
    if not source.is_dir() and not source.is_file():
        raise UsageError(
            f"{source}: no such file or folder",
            hint="--data takes a folder with one sub-folder per class, or a CSV path,label",
        )
    listed, left_out = list_folder(source) if source.is_dir() else list_csv(source, category)
    samples, repeated = _drop_repeats(listed)
    dataset = Dataset(str(source), tuple(samples), (*left_out, *repeated))
    if not samples:
        raise UsageError(
            f"{source}: no file that can be trained on{sum_up(dataset.left_out)}",
            hint="a path in a CSV counts from the CSV's own folder",
        )
    if len(dataset.labels) == 1:
        raise UsageError(
            f"there is one class only, {dataset.labels[0]!r}: training needs two"
            f"{sum_up(dataset.left_out)}",
            hint="add files of another class, such as harmless ones",
        )
    return dataset


def list_folder(folder: Path) -> tuple[list[Sample], list[LeftOut]]:
    """List the files of each class, sorted. Raises UsageError for an empty class or none at all."""
    parts: list[tuple[Path, Split | None]] = [(one, None) for one in _sub_folders(folder)]
    if not parts:
        raise UsageError(f"{folder}: no sub-folder in it", hint=_FOLDER_SHAPE)
    splits = [SPLIT_NAMES.get(one.name.casefold()) for one, _ in parts]
    # A folder `test` alone is a class; beside `train` it is a part of the data.
    if len(parts) > 1 and all(splits):
        parts = [
            (inner, split)
            for (one, _), split in zip(parts, splits, strict=True)
            for inner in _sub_folders(one)
        ]
    samples: list[Sample] = []
    left_out: list[LeftOut] = []
    for class_folder, split in parts:
        before = len(samples)
        for place, folders, names in os.walk(class_folder):
            # os.walk goes into what is left in this very list, in its order.
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for path in (Path(place, name) for name in sorted(names) if not name.startswith(".")):
                if has_known_ending(path.name):
                    samples.append(Sample(path, class_folder.name, str(path), split=split))
                else:
                    reason = "is neither an image nor a video by its name"
                    left_out.append(LeftOut(str(path), str(path), reason))
        if len(samples) == before:
            raise UsageError(
                f"{class_folder}: this class is empty: no image or video in it", hint=_FOLDER_SHAPE
            )
    return samples, left_out


def _sub_folders(folder: Path) -> list[Path]:
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(f"{folder}: cannot be listed: {error.strerror}") from error
    return [one for one in found if one.is_dir() and not one.name.startswith(".")]


def list_csv(table: Path, category: str | None = None) -> tuple[list[Sample], list[LeftOut]]:
    """List a CSV's rows, of one category where rows name theirs; see the file's head.

    Rows without a file or a label are left out, each with its reason.

    Raises UsageError that names the row for what makes the whole table doubtful: a missing column,
    a split nobody knows, text that is not UTF-8.
    """
    samples: list[Sample] = []
    left_out: list[LeftOut] = []
    for number, row in read_rows(table):
        of = row.get("category")
        if of and category is not None and of.casefold() != category.casefold():
            continue
        where, written = f"{table}, row {number}", row["path"]
        path = table.parent / written
        try:
            # Tables from Windows part folders by a backslash, which is part of a name elsewhere.
            if "\\" in written and not path.exists():
                path = table.parent / written.replace("\\", "/")
            is_there = path.is_file()
        except (OSError, ValueError):  # a name that is too long, or has a NUL in it
            is_there = False
        if not (written and row["label"] and is_there):
            no = "path" if not written else "label" if not row["label"] else "such file"
            left_out.append(LeftOut(where, written, f"no {no}"))
            continue
        split = SPLIT_NAMES.get(row.get("split", "").casefold())
        if row.get("split") and split is None:
            raise UsageError(f"{where}: split {row['split']!r} is none of train, val, test")
        is_positive = of and row["label"].casefold() in {"1", of.casefold()}
        label = str(category or of) if is_positive else row["label"]
        samples.append(Sample(path, label, where, row.get("group") or None, split))
    if not samples and not left_out:
        of_it = f" of {category}" if category else ""
        raise UsageError(f"{table}: no row{of_it} below the first", hint=CSV_SHAPE)
    _check_splits(samples, table)
    return samples, left_out


def read_rows(
    table: Path, required: Sequence[str] = ("path", "label"), shape: str = CSV_SHAPE
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number of each row's last line, and its stripped cells by column name.

    Raises UsageError for what is no such table; `shape` is then the hint.
    """
    try:
        data = table.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{table}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{table}, row {number}: this is not UTF-8 text") from error
    first_line = text.lstrip().partition("\n")[0]
    # Spreadsheets write semicolons where the comma is the decimal mark.
    delimiter = next((mark for mark in (",", ";", "\t") if mark in first_line), ",")
    csv.field_size_limit(_MAX_CSV_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns: list[str] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not columns:
                columns = [cell.strip().casefold() for cell in cells]
                for name in (one for one in required if one not in columns):
                    missing = f"no column {name!r}; there are: {_list_some(columns)}"
                    raise UsageError(f"{table}, row 1: {missing}", hint=shape)
                if twice := [name for name in columns if name and columns.count(name) > 1]:
                    raise UsageError(f"{table}, row 1: two columns are named {twice[0]!r}")
                continue
            padded = cells + [""] * (len(columns) - len(cells))
            row = {name: padded[at].strip() for at, name in enumerate(columns)}
            yield reader.line_num, row
    except csv.Error as error:
        raise UsageError(f"{table}, row {reader.line_num}: {error}") from error
    if not columns:
        raise UsageError(f"{table}: the file is empty", hint=shape)


def _check_splits(samples: Sequence[Sample], table: Path) -> None:
    """All rows name a split or none does, and no group straddles two splits."""
    without = next((sample for sample in samples if sample.split is None), None)
    if without and any(sample.split for sample in samples):
        raise UsageError(f"{without.where}: no split, though other rows of {table.name} have one")
    first: dict[str, Sample] = {}
    for sample in samples:
        known = first.setdefault(sample.group, sample) if sample.group else sample
        if known.split != sample.split:
            raise UsageError(
                f"{sample.where}: group {sample.group!r} is in {sample.split} here and in"
                f" {known.split} before ({known.where}): a group must not straddle a split"
            )


def _drop_repeats(listed: Sequence[Sample]) -> tuple[list[Sample], list[LeftOut]]:
    """Keep each file once, however its path is spelled; one under two labels is left out."""
    files: list[Hashable] = []
    for sample in listed:
        try:
            found = sample.path.stat()
            # The same for every spelling of a file's path, links of both kinds included.
            files.append((found.st_dev, found.st_ino))
        except OSError:
            files.append(sample.path)
    contradictions = find_contradictions(listed, files)
    samples: list[Sample] = []
    left_out: list[LeftOut] = []
    seen: set[Hashable] = set()
    for at, (sample, file) in enumerate(zip(listed, files, strict=True)):
        if at in contradictions:
            left_out.append(contradictions[at])
        elif file in seen:
            left_out.append(LeftOut(sample.where, str(sample.path), "is listed twice"))
        else:
            seen.add(file)
            samples.append(sample)
    return samples, left_out


def find_contradictions(
    samples: Sequence[Sample], contents: Sequence[Hashable]
) -> dict[int, LeftOut]:
    """Find samples of equal content under different labels, by position, each with its reason."""
    alike: dict[Hashable, list[int]] = {}
    for at, content in enumerate(contents):
        alike.setdefault(content, []).append(at)
    found: dict[int, LeftOut] = {}
    for same in alike.values():
        for at in same:
            sample = samples[at]
            other = next((samples[one] for one in same if samples[one].label != sample.label), None)
            if other is not None:
                in_table = str(other.path) != other.where
                place = f"{other.path.name} ({other.where})" if in_table else other.where
                reason = (
                    f"contradiction: labelled {sample.label!r} here, {other.label!r} at {place}"
                )
                found[at] = LeftOut(sample.where, str(sample.path), reason, contradiction=True)
    return found


def sum_up(left_out: Sequence[LeftOut]) -> str:
    """Say what was left out, for the end of a message: how many of each reason, the first few."""
    if not left_out:
        return ""
    reasons = Counter(one.reason.partition(":")[0] for one in left_out)
    counts = ", ".join(
        f"{count} × {reason}" for reason, count in reasons.most_common(_SHOWN_REASONS)
    )
    first = "; ".join(one.line for one in left_out[:_SHOWN_FILES])
    more = f"; and {len(left_out) - _SHOWN_FILES} more" if len(left_out) > _SHOWN_FILES else ""
    return f"; left out ({counts}): {first}{more}"


def choose_positive(labels: Sequence[str], category: str, named: str | None) -> str:
    """Say which label is the positive one: the one named, else by the category's usual names.

    Two that fit are unclear: the one not chosen would be taught as harmless. Raises UsageError,
    which lists the labels, when none or several fit.
    """
    if named in labels:
        return str(named)
    names = (category, *_SYNONYMS.get(category.casefold(), ()), "1") if named is None else (named,)
    wanted = {name.casefold() for name in names}
    found = [label for label in labels if label.strip().casefold() in wanted]
    if len(found) == 1:
        return found[0]
    if named is not None:
        raise UsageError(
            f"no class is named {named!r}; there are: {_list_some(labels)}",
            hint=f"--positive {labels[0]}",
        )
    fit = f"{_list_some(found)} all fit" if found else "none is named like it"
    raise UsageError(
        f"which class is {category}? {fit}; there are: {_list_some(labels)}",
        hint=f"--positive {found[0] if found else 'NAME'}",
    )


def _list_some(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - _SHOWN_LABELS} more" if len(labels) > _SHOWN_LABELS else ""
    # What is no table has rows for names.
    shown = (one if len(one) <= 40 else f"{one[:39]}…" for one in labels[:_SHOWN_LABELS])
    return ", ".join(repr(label) for label in shown) + more


def check_classes(samples: Iterable[Sample], left_out: Sequence[LeftOut], positive: str) -> None:
    """Raise UsageError when nothing can be read of the positive class, or of all the others."""
    readable = {sample.label == positive for sample in samples}
    for wanted, name in ((True, f"class {positive!r}"), (False, "the other classes")):
        if wanted not in readable:
            what = f"no file of {name}" if readable else "none of the files"
            raise UsageError(
                f"{what} can be used{sum_up(left_out)}",
                hint=f"guardian scan {left_out[0].path}" if left_out else None,
            )


def link_dataset(dataset: Dataset, folder: Path) -> Path:
    """Put links to the files into an empty folder, with a CSV of them, for an upload.

    Returns the CSV, whose paths are relative to it; groups and splits are kept.
    """
    files = folder / "files"
    files.mkdir(parents=True)
    table = folder / "data.csv"
    with table.open("w", encoding="utf-8", newline="") as opened:
        rows = csv.writer(opened)
        rows.writerow(("path", "label", "group", "split"))
        for number, sample in enumerate(dataset.samples):
            link = files / f"{number:06d}{sample.path.suffix.lower()}"
            link.symlink_to(sample.path.resolve())
            place = link.relative_to(folder).as_posix()
            rows.writerow((place, sample.label, sample.group or "", sample.split or ""))
    return table
