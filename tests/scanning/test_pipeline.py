"""Sources side by side: threads that hand results out as they end."""

from __future__ import annotations

import threading

import pytest

from guardian_cli.scanning.pipeline import WorkerThreads


def test_every_item_ends_once() -> None:
    threads = WorkerThreads(range(100), lambda number: number * 2, 4)
    threads.start()
    assert sorted(threads.results()) == [number * 2 for number in range(100)]


def test_items_run_side_by_side() -> None:
    barrier = threading.Barrier(3)

    def work(number: int) -> int:
        barrier.wait(timeout=10)
        return number

    threads = WorkerThreads(range(3), work, 3)
    threads.start()
    assert sorted(threads.results()) == [0, 1, 2]


def test_what_work_raises_ends_them_all() -> None:
    def work(number: int) -> int:
        raise ValueError(f"item {number}")

    threads = WorkerThreads(range(100), work, 2)
    threads.start()
    with pytest.raises(ValueError, match="item"):
        list(threads.results())


def test_stop_starts_nothing_more() -> None:
    begun: list[int] = []
    stopped = threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        if number == 4:
            stopped.wait(timeout=10)
        return number

    threads = WorkerThreads(range(1000), work, 1)
    threads.start()
    for number in threads.results():
        if number == 3:
            threads.stop()
            stopped.set()
    assert begun == [0, 1, 2, 3, 4]


def test_none_is_no_result_and_ends_nothing() -> None:
    threads = WorkerThreads(range(50), lambda item: item if item % 7 == 0 else None, 3)
    threads.start()
    assert sorted(threads.results()) == list(range(0, 50, 7))


def test_what_has_ended_can_be_had_without_waiting() -> None:
    threads = WorkerThreads(range(5), lambda item: item, 1)
    assert list(threads.finished()) == []
    threads.start()
    threads.join(30)
    assert list(threads.finished()) == list(range(5))
