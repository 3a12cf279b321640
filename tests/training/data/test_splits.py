"""No group on two sides, every sample tested once, both classes everywhere: for any data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.errors import UsageError
from guardian_cli.training.data.splits import (
    MIN_PARTS,
    Fold,
    SplitPlan,
    assign_parts,
    plan_splits,
)

ITEMS = st.lists(st.tuples(st.integers(0, 15), st.booleans()), min_size=1, max_size=80)


def sides(fold: Fold) -> tuple[tuple[int, ...], ...]:
    return fold.train, fold.val, fold.test


def check_fold(fold: Fold, groups: list[int], positive: list[bool]) -> None:
    seen = [{groups[at] for at in side} for side in sides(fold)]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]
    for side in sides(fold):
        assert {positive[at] for at in side} == {True, False} or (not side and side is fold.test)


def check_plan(plan: SplitPlan, groups: list[int], positive: list[bool]) -> None:
    for fold in (*plan.folds, *([plan.final] if plan.final else [])):
        check_fold(fold, groups, positive)


@given(ITEMS, st.integers(0, 5))
def test_any_data_is_split_by_whole_groups_or_refused(
    samples: list[tuple[int, bool]], seed: int
) -> None:
    groups, positive = [group for group, _ in samples], [side for _, side in samples]
    try:
        plan = plan_splits(groups, positive, [None] * len(samples), seed=seed)
    except UsageError:
        assert assign_parts(groups, positive, MIN_PARTS, seed) is None
        return
    check_plan(plan, groups, positive)
    tested = sorted(at for fold in plan.folds for at in fold.test)
    assert tested == list(range(len(samples)))
    assert plan.final is not None
    assert sorted((*plan.final.train, *plan.final.val)) == tested
    assert plan == plan_splits(groups, positive, [None] * len(samples), seed=seed)


@given(st.integers(MIN_PARTS, 40), st.integers(1, 4), st.integers(0, 3))
def test_enough_pure_groups_can_always_be_split_evenly(each: int, size: int, seed: int) -> None:
    groups = [number for number in range(2 * each) for _ in range(size)]
    positive = [number < each for number in range(2 * each) for _ in range(size)]
    parts = assign_parts(groups, positive, MIN_PARTS, seed)
    assert parts is not None
    sizes = [parts.count(part) for part in range(MIN_PARTS)]
    assert max(sizes) - min(sizes) <= 2 * size


def test_much_data_is_held_out_rather_than_cross_validated() -> None:
    groups = list(range(600))
    positive = [at % 3 == 0 for at in groups]
    plan = plan_splits(groups, positive, [None] * 600, seed=0)
    assert plan.method == "hold-out"
    assert plan.final is None
    (fold,) = plan.folds
    check_fold(fold, groups, positive)
    assert len(fold.test) == pytest.approx(120, abs=2)


def test_a_given_split_is_kept_and_what_leaks_is_not_trained_on() -> None:
    positive = [True, False] * 12
    given_splits = ["train"] * 16 + ["test"] * 8
    groups = list(range(24))
    groups[3] = groups[20]
    plan = plan_splits(groups, positive, given_splits, seed=0)  # type: ignore[arg-type]
    (fold,) = plan.folds
    assert plan.method == "given"
    assert fold.test == tuple(range(16, 24))
    assert plan.dropped == (3,)
    assert sorted((*fold.train, *fold.val)) == [at for at in range(16) if at != 3]
    check_fold(fold, groups, positive)


def test_a_given_split_without_a_test_part_is_refused() -> None:
    with pytest.raises(UsageError, match="'test'"):
        plan_splits(list(range(12)), [True, False] * 6, ["train"] * 12, seed=0)


def test_too_few_groups_are_refused_with_what_there_is() -> None:
    with pytest.raises(UsageError, match="2 positive and 6 negative files, in 2 groups"):
        plan_splits(list(range(8)), [True, True, *[False] * 6], [None] * 8, seed=0)
