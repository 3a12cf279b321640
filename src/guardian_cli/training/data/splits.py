"""Who trains, who decides when to stop, who judges: pure, and no group is ever on two sides."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from guardian_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from guardian_cli.training.data.listing import Split

LEAST_PARTS = 3
MOST_PARTS = 5
# Below this many items one held-out part says too little: every item is judged once instead.
CROSS_VALIDATED_UP_TO = 500
_ATTEMPTS = 20

Method = Literal["cross-validation", "hold-out", "given"]


@dataclass(frozen=True, slots=True)
class Fold:
    """Positions of items: `test` is judged by a network that saw neither it nor its groups."""

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """The folds that are judged, and what the released network learns from.

    `final` None means that the only fold's network is the released one. `dropped` are items that
    no fold uses, because a copy of them is in the test part that the data's owner has chosen.
    """

    method: Method
    folds: tuple[Fold, ...]
    final: Fold | None = None
    dropped: tuple[int, ...] = ()


def join_groups(names: Sequence[str | None], links: Iterable[tuple[int, int]]) -> list[int]:
    """Number the groups: items of one name are together, and so are linked items, transitively."""
    parent = list(range(len(names)))

    def find(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    first: dict[str, int] = {}
    named = [(first.setdefault(name, at), at) for at, name in enumerate(names) if name is not None]
    for one, other in (*named, *links):
        low, high = sorted((find(one), find(other)))
        parent[high] = low
    numbers: dict[int, int] = {}
    return [numbers.setdefault(find(at), len(numbers)) for at in range(len(names))]


def most_parts(groups: Sequence[int], positive: Sequence[bool]) -> int:
    """The number of parts that can all hold both classes, at most; groups stay whole."""
    holding: dict[bool, set[int]] = {True: set(), False: set()}
    for group, is_positive in zip(groups, positive, strict=True):
        holding[is_positive].add(group)
    return min(len(holding[True]), len(holding[False]))


def assign_parts(
    groups: Sequence[int], positive: Sequence[bool], parts: int, seed: int
) -> list[int] | None:
    """Spread whole groups over parts so that both classes are spread evenly.

    Greedy, the largest group first, each to where the squared class shares grow least. None when
    no attempt gives every part both classes.
    """
    for attempt in range(_ATTEMPTS):
        assigned = _spread(groups, positive, parts, random.Random(f"{seed}/{attempt}"))  # noqa: S311
        sides = {(assigned[group], side) for group, side in zip(groups, positive, strict=True)}
        if len(sides) == 2 * parts:
            return [assigned[group] for group in groups]
    return None


def _spread(
    groups: Sequence[int], positive: Sequence[bool], parts: int, chance: random.Random
) -> dict[int, int]:
    sizes: dict[int, Counter[bool]] = defaultdict(Counter)
    for group, is_positive in zip(groups, positive, strict=True):
        sizes[group][is_positive] += 1
    totals = Counter(positive)
    order = sorted(sizes)
    chance.shuffle(order)
    order.sort(key=lambda group: -sizes[group].total())
    filled: list[Counter[bool]] = [Counter() for _ in range(parts)]
    assigned: dict[int, int] = {}
    for group in order:
        costs = [
            sum(
                ((part[side] + sizes[group][side]) / totals[side]) ** 2
                - (part[side] / totals[side]) ** 2
                for side in totals
            )
            for part in filled
        ]
        best = min(range(parts), key=costs.__getitem__)
        filled[best].update(sizes[group])
        assigned[group] = best
    return assigned


def plan_splits(
    groups: Sequence[int],
    positive: Sequence[bool],
    given: Sequence[Split | None],
    *,
    seed: int,
    cross_validate_up_to: int = CROSS_VALIDATED_UP_TO,
) -> SplitPlan:
    """Decide on the folds. Raises UsageError when the groups are too few to be split."""
    if any(given):
        return _plan_given(groups, positive, given, seed)
    parts = _parts_of(groups, positive, seed)
    count = max(parts) + 1
    if len(groups) > cross_validate_up_to:
        return SplitPlan("hold-out", (_fold(parts, test=0, val=1),))
    folds = tuple(_fold(parts, test=part, val=(part + 1) % count) for part in range(count))
    return SplitPlan("cross-validation", folds, final=_fold(parts, test=None, val=0))


def can_split(groups: Sequence[int], positive: Sequence[bool], seed: int) -> bool:
    """Whether `plan_splits` would find at least the parts it needs."""
    return (
        most_parts(groups, positive) >= LEAST_PARTS
        and assign_parts(groups, positive, LEAST_PARTS, seed) is not None
    )


def _parts_of(groups: Sequence[int], positive: Sequence[bool], seed: int) -> list[int]:
    for count in range(min(MOST_PARTS, most_parts(groups, positive)), LEAST_PARTS - 1, -1):
        parts = assign_parts(groups, positive, count, seed)
        if parts is not None:
            return parts
    raise UsageError(
        f"the data is too little to be split: training, validation and test need files of both"
        f" classes in {LEAST_PARTS} groups each; there are {sum(positive)} positive and"
        f" {len(positive) - sum(positive)} negative files, in {most_parts(groups, positive)} groups"
        " of the rarer class",
        hint="add files from other sources; pictures that look the same count as one group",
    )


def _fold(parts: Sequence[int], *, test: int | None, val: int) -> Fold:
    def positions(wanted: set[int | None]) -> tuple[int, ...]:
        return tuple(at for at, part in enumerate(parts) if part in wanted)

    others: set[int | None] = {part for part in parts if part not in (test, val)}
    return Fold(positions(others), positions({val}), positions({test}))


def _plan_given(
    groups: Sequence[int], positive: Sequence[bool], given: Sequence[Split | None], seed: int
) -> SplitPlan:
    """Keep the owner's split; what looks like a test item is taken out of training instead."""
    sides = {
        name: tuple(at for at, split in enumerate(given) if split == name)
        for name in ("train", "val", "test")
    }
    tested = {groups[at] for at in sides["test"]}
    stopping = {groups[at] for at in sides["val"]} - tested
    val = tuple(at for at in sides["val"] if groups[at] not in tested)
    train = tuple(at for at in sides["train"] if groups[at] not in tested | stopping)
    dropped = tuple(sorted({*sides["val"], *sides["train"]} - {*val, *train}))
    if not sides["val"]:
        parts = _parts_of([groups[at] for at in train], [positive[at] for at in train], seed)
        val = tuple(at for at, part in zip(train, parts, strict=True) if part == 0)
        train = tuple(at for at, part in zip(train, parts, strict=True) if part != 0)
    for name, side in (("train", train), ("val", val), ("test", sides["test"])):
        if len({positive[at] for at in side}) < 2:
            raise UsageError(f"split {name!r} does not have files of both classes")
    return SplitPlan("given", (Fold(train, val, sides["test"]),), dropped=dropped)
