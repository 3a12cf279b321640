"""An interrupt that somebody swallowed still ends a run."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from guardian_cli.scanning.interruption import Interruption

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def interrupts_come_through() -> Iterator[None]:
    """A suite that is run in the background of a shell has them ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_interrupts_at_once(number: signal.Signals) -> None:
    interruption = Interruption()
    with pytest.raises(KeyboardInterrupt), interruption.watched():
        signal.raise_signal(number)
    with pytest.raises(KeyboardInterrupt):
        interruption.check()


@pytest.mark.parametrize("number", SIGNALS)
def test_what_was_swallowed_comes_again(number: signal.Signals) -> None:
    interruption = Interruption()
    reached = []

    def swallow() -> None:
        with interruption.watched():
            with contextlib.suppress(BaseException):
                signal.raise_signal(number)
            reached.append("went on")
            interruption.check()
            reached.append("too far")

    with pytest.raises(KeyboardInterrupt):
        swallow()
    assert reached == ["went on"]


def test_an_error_that_follows_does_not_hide_it() -> None:
    """What is broken off in the middle of an import breaks in odd ways."""

    def break_oddly() -> None:
        with Interruption().watched():
            with contextlib.suppress(BaseException):
                signal.raise_signal(signal.SIGINT)
            raise AttributeError("partially initialized module")

    with pytest.raises(KeyboardInterrupt):
        break_oddly()


def test_nothing_is_raised_where_nothing_came_and_handlers_are_as_before() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    interruption = Interruption()
    with interruption.watched():
        interruption.check()
        assert [signal.getsignal(number) for number in SIGNALS] != before
    interruption.check()
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_an_ignored_interrupt_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruption().watched():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_than_the_main_one_takes_no_signals() -> None:
    done = threading.Event()

    def run() -> None:
        with Interruption().watched():
            done.set()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert done.is_set()


@pytest.mark.parametrize("number", SIGNALS)
def test_what_must_not_be_cut_in_half_is_finished_first(number: signal.Signals) -> None:
    interruption, reached = Interruption(), []

    def put_out() -> None:
        with interruption.watched(), interruption.held():
            signal.raise_signal(number)
            reached.append("to the end")

    with pytest.raises(KeyboardInterrupt):
        put_out()
    assert reached == ["to the end"]


def test_whoever_insists_is_not_kept_waiting() -> None:
    interruption, reached = Interruption(), []

    def put_out() -> None:
        with interruption.watched(), interruption.held():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            reached.append("too far")

    with pytest.raises(KeyboardInterrupt):
        put_out()
    assert not reached
