"""What there is to learn from: labelled files, and which label is the positive one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from guardian_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence
    from pathlib import Path

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
_LISTED = 12
_FIRST = 3
_REASONS = 3


@dataclass(frozen=True, slots=True)
class Item:
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
class Listing:
    """What a folder or a CSV lists, in its order; nothing has been decoded yet."""

    source: str
    items: tuple[Item, ...]
    left_out: tuple[LeftOut, ...] = ()
    simulated: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the items, each once, sorted."""
        return tuple(sorted({item.label for item in self.items}))


def check_listed(listing: Listing) -> None:
    """Raise UsageError for a listing of no file, or of one class, and say what was left out."""
    labels, left_out = listing.labels, listing.left_out
    if not labels:
        raise UsageError(
            f"{listing.source}: no file that can be trained on{sum_up(left_out)}",
            hint="a path in a CSV counts from the CSV's own folder",
        )
    if len(labels) == 1:
        raise UsageError(
            f"there is one class only, {labels[0]!r}: training needs two{sum_up(left_out)}",
            hint="add files of another class, such as harmless ones",
        )


def sum_up(left_out: Sequence[LeftOut]) -> str:
    """Say what was left out, for the end of a message: how many of each reason, the first few."""
    if not left_out:
        return ""
    reasons = Counter(one.reason.partition(":")[0] for one in left_out)
    counts = ", ".join(f"{count} × {reason}" for reason, count in reasons.most_common(_REASONS))
    first = "; ".join(one.line for one in left_out[:_FIRST])
    more = f"; and {len(left_out) - _FIRST} more" if len(left_out) > _FIRST else ""
    return f"; left out ({counts}): {first}{more}"


def choose_positive(labels: Sequence[str], category: str, named: str | None) -> str:
    """Say which label is the positive one: the one named, else by the category's usual names.

    Two that fit are unclear: the one not chosen would be taught as harmless. Raises UsageError,
    which lists the labels, when none or several fit.
    """
    seen = _list_some(labels)
    if named is not None:
        found = [label for label in labels if label == named] or _named_like(labels, (named,))
        if len(found) != 1:
            raise UsageError(
                f"no class is named {named!r}; there are: {seen}", hint=f"--positive {labels[0]}"
            )
        return found[0]
    found = _named_like(labels, (category, *_SYNONYMS.get(category.casefold(), ()), "1"))
    if len(found) == 1:
        return found[0]
    fit = f"{_list_some(found)} all fit" if found else "none is named like it"
    raise UsageError(
        f"which class is {category}? {fit}; there are: {seen}",
        hint=f"--positive {found[0] if found else 'NAME'}",
    )


def _named_like(labels: Iterable[str], names: Sequence[str]) -> list[str]:
    wanted = {name.casefold() for name in names}
    return [label for label in labels if label.strip().casefold() in wanted]


def _list_some(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - _LISTED} more" if len(labels) > _LISTED else ""
    return ", ".join(repr(label) for label in labels[:_LISTED]) + more


def drop_repeats(listing: Listing) -> Listing:
    """Keep each file once, however its path is spelled; one under two labels is left out."""
    files = [_identify(item.path) for item in listing.items]
    contradictions = find_contradictions(listing.items, files)
    kept: list[Item] = []
    left_out = [*listing.left_out]
    seen: set[Hashable] = set()
    for at, (item, file) in enumerate(zip(listing.items, files, strict=True)):
        if at in contradictions:
            left_out.append(contradictions[at])
        elif file in seen:
            left_out.append(LeftOut(item.where, str(item.path), "is listed twice"))
        else:
            seen.add(file)
            kept.append(item)
    return replace(listing, items=tuple(kept), left_out=tuple(left_out))


def _identify(path: Path) -> Hashable:
    """What is the same for every spelling of a file's path, links included."""
    try:
        found = path.stat()
    except OSError:
        return path
    return found.st_dev, found.st_ino


def find_contradictions(items: Sequence[Item], contents: Sequence[Hashable]) -> dict[int, LeftOut]:
    """Find items of the same content under different labels, by position; each names another."""
    alike: dict[Hashable, list[int]] = {}
    for at, content in enumerate(contents):
        alike.setdefault(content, []).append(at)
    found: dict[int, LeftOut] = {}
    for same in alike.values():
        for at in same:
            item = items[at]
            other = next((items[one] for one in same if items[one].label != item.label), None)
            if other is not None:
                listed = str(other.path) != other.where
                place = f"{other.path.name} ({other.where})" if listed else other.where
                reason = f"contradiction: labelled {item.label!r} here, {other.label!r} at {place}"
                found[at] = LeftOut(item.where, str(item.path), reason, contradiction=True)
    return found


def check_classes(items: Sequence[Item], left_out: Sequence[LeftOut], positive: str) -> None:
    """Raise UsageError when nothing can be read of the positive class, or of all the others."""
    counts = Counter(item.label == positive for item in items)
    for wanted, name in ((True, f"class {positive!r}"), (False, "the other classes")):
        if not counts[wanted]:
            what = f"no file of {name}" if items else "none of the files"
            raise UsageError(
                f"{what} can be used{sum_up(left_out)}",
                hint=f"guardian scan {left_out[0].path}" if left_out else None,
            )
