"""Sources side by side."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from guardian_cli.scanning.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Callable


def test_every_item_ends_once() -> None:
    batch = Batch(range(100), lambda: lambda number: number * 2, workers=4)
    assert sorted(batch.results()) == [number * 2 for number in range(100)]


def test_items_run_side_by_side() -> None:
    barrier = threading.Barrier(3)

    def work(number: int) -> int:
        barrier.wait(timeout=10)
        return number

    assert sorted(Batch(range(3), lambda: work, workers=3).results()) == [0, 1, 2]


def test_each_worker_makes_its_own_tools() -> None:
    made: list[object] = []

    def make() -> Callable[[int], int]:
        made.append(object())
        return lambda number: number

    assert len(list(Batch(range(10), make, workers=3).results())) == 10
    assert len(made) == 3


def test_what_work_raises_ends_the_batch() -> None:
    def work(number: int) -> int:
        raise ValueError(f"item {number}")

    with pytest.raises(ValueError, match="item"):
        list(Batch(range(100), lambda: work, workers=2).results())


def test_stop_starts_nothing_more() -> None:
    begun: list[int] = []
    stopped = threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        if number == 4:
            stopped.wait(timeout=10)
        return number

    batch = Batch(range(1000), lambda: work, workers=1)
    for number in batch.results():
        if number == 3:
            batch.stop()
            stopped.set()
    assert begun == [0, 1, 2, 3, 4]


def test_none_is_no_result_and_ends_nothing() -> None:
    batch = Batch(range(50), lambda: lambda item: item if item % 7 == 0 else None, 3)
    assert sorted(batch.results()) == list(range(0, 50, 7))


def test_what_has_ended_can_be_had_without_waiting() -> None:
    batch = Batch(range(5), lambda: lambda item: item, 1)
    assert list(batch.ended()) == []
    batch.start()
    batch.join(30)
    assert list(batch.ended()) == list(range(5))
