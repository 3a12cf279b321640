"""Who trains, who decides when to stop, who is tested on: pure, no group is ever on two sides."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from guardian_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardian_cli.training.data.dataset import Split

MIN_PARTS = 3
MAX_PARTS = 5
# Below this many samples one held-out part says too little: every sample is tested once instead.
CROSS_VALIDATED_UP_TO = 500
_ATTEMPTS = 20

Method = Literal["cross-validation", "hold-out", "given"]


@dataclass(frozen=True, slots=True)
class Fold:
    """Positions of samples: `test` is scored by a network that saw neither it nor its groups."""

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """The folds that are tested, and what the released network learns from.

    `final` None means that the only fold's network is the released one. `dropped` are samples that
    no fold uses, because a copy of them is in the test part that the data's owner has chosen.
    """

    method: Method
    folds: tuple[Fold, ...]
    final: Fold | None = None
    dropped: tuple[int, ...] = ()


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
    parts = _choose_parts(groups, positive, seed)
    count = max(parts) + 1
    if len(groups) > cross_validate_up_to:
        return SplitPlan("hold-out", (_make_fold(parts, test=0, val=1),))
    # The part after the tested one decides when to stop.
    folds = tuple(_make_fold(parts, test=part, val=(part + 1) % count) for part in range(count))
    return SplitPlan("cross-validation", folds, final=_make_fold(parts, test=None, val=0))


def _plan_given(
    groups: Sequence[int], positive: Sequence[bool], given: Sequence[Split | None], seed: int
) -> SplitPlan:
    """Keep the owner's split; what looks like a test sample is taken out of training instead."""
    sides = {
        name: tuple(at for at, split in enumerate(given) if split == name)
        for name in ("train", "val", "test")
    }
    tested = {groups[at] for at in sides["test"]}
    stopping = {groups[at] for at in sides["val"]} - tested
    val = tuple(at for at in sides["val"] if groups[at] not in tested)
    train = tuple(at for at in sides["train"] if groups[at] not in tested | stopping)
    dropped = tuple(sorted({*sides["val"], *sides["train"]} - {*val, *train}))
    # Many datasets have no part of their own for deciding when to stop.
    if not sides["val"]:
        parts = _choose_parts([groups[at] for at in train], [positive[at] for at in train], seed)
        val = tuple(at for at, part in zip(train, parts, strict=True) if part == 0)
        train = tuple(at for at, part in zip(train, parts, strict=True) if part != 0)
    for name, side in (("train", train), ("val", val), ("test", sides["test"])):
        if len({positive[at] for at in side}) < 2:
            raise UsageError(f"split {name!r} does not have files of both classes")
    return SplitPlan("given", (Fold(train, val, sides["test"]),), dropped=dropped)


def _make_fold(parts: Sequence[int], *, test: int | None, val: int) -> Fold:
    return Fold(
        tuple(at for at, part in enumerate(parts) if part not in (test, val)),
        tuple(at for at, part in enumerate(parts) if part == val),
        tuple(at for at, part in enumerate(parts) if part == test),
    )


def _choose_parts(groups: Sequence[int], positive: Sequence[bool], seed: int) -> list[int]:
    """Number a part for each sample, in as many parts as can be had."""
    sides = set(zip(groups, positive, strict=True))
    # Each part needs a group of the rarer class.
    rarer = min(Counter(side for _, side in sides)[wanted] for wanted in (True, False))
    for count in range(min(MAX_PARTS, rarer), MIN_PARTS - 1, -1):
        parts = assign_parts(groups, positive, count, seed)
        if parts is not None:
            return parts
    raise UsageError(
        f"the data is too little to be split: training, validation and test need files of both"
        f" classes in {MIN_PARTS} groups each; there are {sum(positive)} positive and"
        f" {len(positive) - sum(positive)} negative files, in {rarer} groups of the rarer class",
        hint="add files from other sources; pictures that look the same count as one group",
    )


def assign_parts(
    groups: Sequence[int], positive: Sequence[bool], parts: int, seed: int
) -> list[int] | None:
    """Spread whole groups over parts so that both classes are spread evenly.

    Greedy, the largest group first, each to where the squared class shares grow least. None when
    no attempt gives every part both classes, as when there are fewer groups of one.
    """
    sizes: dict[int, Counter[bool]] = defaultdict(Counter)
    for group, is_positive in zip(groups, positive, strict=True):
        sizes[group][is_positive] += 1
    totals = Counter(positive)
    for attempt in range(_ATTEMPTS):
        # Sorting is stable: the shuffle decides among groups of one size.
        order = sorted(sizes)
        random.Random(f"{seed}/{attempt}").shuffle(order)  # noqa: S311 - a draw, no secret
        order.sort(key=lambda group: -sizes[group].total())
        filled: list[Counter[bool]] = [Counter() for _ in range(parts)]
        assigned: dict[int, int] = {}
        for group in order:
            growth = [
                sum(
                    ((part[side] + sizes[group][side]) / totals[side]) ** 2
                    - (part[side] / totals[side]) ** 2
                    for side in totals
                )
                for part in filled
            ]
            best = growth.index(min(growth))
            filled[best].update(sizes[group])
            assigned[group] = best
        if all(part[True] and part[False] for part in filled):
            return [assigned[group] for group in groups]
    return None
