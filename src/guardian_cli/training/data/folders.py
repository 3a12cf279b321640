"""A folder with one sub-folder per class; the same below train/, val/ and test/ also counts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from guardian_cli.errors import UsageError
from guardian_cli.media.sources import has_known_ending
from guardian_cli.training.data.listing import SPLIT_NAMES, Item, LeftOut, Listing

if TYPE_CHECKING:
    from guardian_cli.training.data.listing import Split

_SHAPE = "a folder needs one sub-folder per class with images or videos in it"


def list_folder(folder: Path) -> Listing:
    """List the files of each class, sorted. Raises UsageError for an empty class or none at all."""
    classes = _sub_folders(folder)
    if not classes:
        raise UsageError(f"{folder}: no sub-folder in it", hint=_SHAPE)
    splits = {one: SPLIT_NAMES.get(one.name.casefold()) for one in classes}
    if len(classes) > 1 and all(splits.values()):
        parts = [(inner, splits[one]) for one in classes for inner in _sub_folders(one)]
    else:
        parts = [(one, None) for one in classes]
    items: list[Item] = []
    left_out: list[LeftOut] = []
    for class_folder, split in parts:
        found, unknown = _list_class(class_folder, split)
        items += found
        left_out += unknown
    return Listing(str(folder), tuple(items), tuple(left_out))


def _list_class(folder: Path, split: Split | None) -> tuple[list[Item], list[LeftOut]]:
    files = _files_under(folder)
    items = [
        Item(path, folder.name, str(path), split=split)
        for path in files
        if has_known_ending(path.name)
    ]
    if not items:
        raise UsageError(f"{folder}: this class is empty: no image or video in it", hint=_SHAPE)
    left_out = [
        LeftOut(str(path), str(path), "is neither an image nor a video by its name")
        for path in files
        if not has_known_ending(path.name)
    ]
    return items, left_out


def _sub_folders(folder: Path) -> list[Path]:
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(f"{folder}: cannot be listed: {error.strerror}") from error
    return [one for one in found if one.is_dir() and not one.name.startswith(".")]


def _files_under(folder: Path) -> list[Path]:
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place, name) for name in sorted(names) if not name.startswith(".")]
    return found
