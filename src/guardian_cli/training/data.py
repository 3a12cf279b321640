"""What there is to learn from: labelled files, and which label is the positive one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from guardian_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
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


def choose_positive(labels: Sequence[str], category: str, named: str | None) -> str:
    """Say which label is the positive one: the one named, else by the category's usual names.

    Two that fit are unclear: the one not chosen would be taught as harmless. Raises UsageError,
    which lists the labels, when none or several fit, or when there is one label only.
    """
    seen = _list_some(labels)
    if named is not None:
        found = [label for label in labels if label == named] or _named_like(labels, (named,))
        if len(found) != 1:
            hint = f"--positive {labels[0]}" if labels else None
            raise UsageError(f"no class is named {named!r}; there are: {seen}", hint=hint)
        positive = found[0]
    else:
        positive = _by_category(labels, category, seen)
    if len(labels) < 2:
        raise UsageError(
            f"there is one class only, {seen}: training needs two",
            hint="add files of another class, such as harmless ones",
        )
    return positive


def _by_category(labels: Sequence[str], category: str, seen: str) -> str:
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


def drop_repeats(items: Sequence[Item]) -> tuple[list[Item], list[LeftOut]]:
    """Keep each file once; one that stands under two labels is left out altogether."""
    labels: dict[Path, set[str]] = {}
    for item in items:
        labels.setdefault(item.path, set()).add(item.label)
    kept: list[Item] = []
    left_out: list[LeftOut] = []
    seen: set[Path] = set()
    for item in items:
        if len(labels[item.path]) > 1:
            both = " and ".join(repr(label) for label in sorted(labels[item.path]))
            left_out.append(LeftOut(item.where, str(item.path), f"is labelled {both}"))
        elif item.path in seen:
            left_out.append(LeftOut(item.where, str(item.path), "is listed twice"))
        else:
            seen.add(item.path)
            kept.append(item)
    return kept, left_out


def check_classes(items: Sequence[Item], left_out: Sequence[LeftOut], positive: str) -> None:
    """Raise UsageError when nothing can be read of the positive class, or of all the others."""
    counts = Counter(item.label == positive for item in items)
    for wanted, name in ((True, f"class {positive!r}"), (False, "the other classes")):
        if not counts[wanted]:
            first = f"; first: {left_out[0].line}" if left_out else ""
            raise UsageError(f"no file of {name} can be used{first}")
