"""Turns to decode: given on while scores are awaited, never more than there are workers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from guardian_cli.scanning.decoder_pool import EXTRA_DECODERS, EXTRA_DOWNLOADS, DecoderPool
from guardian_cli.scanning.scorer import ScoringStopped
from tests.fakes import FakeDecoder

if TYPE_CHECKING:
    from collections.abc import Callable

LONG_S = 30.0
SHORT_S = 0.1


class Makers:
    """Makes decoders and remembers them."""

    def __init__(self, new: Callable[[], FakeDecoder] = FakeDecoder) -> None:
        self.new = new
        self.made: list[FakeDecoder] = []

    def __call__(self) -> FakeDecoder:
        self.made.append(self.new())
        return self.made[-1]


def comes(pool: DecoderPool, stack: ExitStack) -> threading.Event:
    """An event that is set when a thread has got a lease, which it keeps until the stack's end."""
    came, goes = threading.Event(), threading.Event()

    def take() -> None:
        with pool.lease() as lease:
            lease.start()
            came.set()
            goes.wait(LONG_S)

    thread = threading.Thread(target=take)
    thread.start()
    stack.callback(thread.join, LONG_S)
    stack.callback(goes.set)
    return came


def test_no_more_sources_are_decoded_than_there_are_workers() -> None:
    pool = DecoderPool(1, Makers())
    with ExitStack() as stack, pool.lease() as lease:
        lease.start()
        came = comes(pool, stack)
        assert not came.wait(SHORT_S)
        lease.pause()
        assert came.wait(LONG_S)


def test_a_refinement_waits_for_its_turn_and_has_the_same_decoder() -> None:
    pool = DecoderPool(1, Makers())
    resumed = threading.Event()
    with pool.lease() as first:
        decoder = first.start()
        first.pause()
        with pool.lease() as second:
            assert second.start() is not decoder

            def resume() -> None:
                assert first.start() is decoder
                resumed.set()

            thread = threading.Thread(target=resume)
            thread.start()
            assert not resumed.wait(SHORT_S)
        assert resumed.wait(LONG_S)
        thread.join(LONG_S)


def test_who_needs_no_refinement_leaves_the_decoder_to_the_next() -> None:
    makers = Makers()
    pool = DecoderPool(1, makers)
    with ExitStack() as stack:
        for _ in range(20):
            lease = stack.enter_context(pool.lease())
            lease.start()
            lease.finish()
    assert len(makers.made) == 1


def test_the_number_of_decoders_is_bounded() -> None:
    makers = Makers()
    pool = DecoderPool(2, makers)
    with ExitStack() as last, ExitStack() as stack:
        for _ in range(2 + EXTRA_DECODERS):
            lease = stack.enter_context(pool.lease())
            lease.start()
            lease.pause()
        came = comes(pool, last)
        assert not came.wait(SHORT_S)
        stack.close()
        assert came.wait(LONG_S)
    assert len(makers.made) == 2 + EXTRA_DECODERS


def test_closing_ends_decoders_and_frees_who_waits() -> None:
    makers = Makers()
    pool = DecoderPool(1, makers)

    def take() -> None:
        with pool.lease() as lease:
            lease.start()

    with ThreadPoolExecutor(1) as threads, pool.lease() as lease:
        lease.start()
        waiting = threads.submit(take)
        pool.close()
        with pytest.raises(ScoringStopped):
            waiting.result(LONG_S)
        lease.pause()
        with pytest.raises(ScoringStopped):
            lease.start()
    assert [decoder.closed for decoder in makers.made] == [True]


def test_the_number_of_downloads_that_run_or_wait_is_bounded() -> None:
    pool = DecoderPool(1, Makers())
    begun, most = threading.Semaphore(0), 1 + EXTRA_DOWNLOADS

    def visit() -> None:
        with pool.lease() as lease, pool.download_slot():
            begun.release()
            lease.start()

    with ThreadPoolExecutor(most + 1) as threads:
        with pool.lease() as lease:
            lease.start()
            visits = [threads.submit(visit) for _ in range(most + 1)]
            assert all(begun.acquire(timeout=LONG_S) for _ in range(most))
            assert not begun.acquire(timeout=SHORT_S)
        for one in visits:
            one.result(LONG_S)
