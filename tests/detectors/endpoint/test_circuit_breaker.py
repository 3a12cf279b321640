"""The circuit breaker, by example and by every walk that hypothesis can think of."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
)

from guardian_cli.detectors.endpoint.retry import CircuitBreaker, Failure, Permit


class Hand:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def admitted(breaker: CircuitBreaker) -> Permit:
    permit = breaker.admit()
    assert permit is not None
    return permit


def opened(hand: Hand) -> CircuitBreaker:
    breaker = CircuitBreaker(hand)
    for _ in range(3):
        breaker.failed(admitted(breaker), Failure("401 Unauthorized"))
    return breaker


def test_three_strikes_open_it_and_it_says_why() -> None:
    breaker = opened(Hand())
    assert breaker.admit() is None
    assert breaker.cause == Failure("401 Unauthorized")


def test_an_answer_in_between_forgets_the_strikes() -> None:
    breaker = CircuitBreaker(Hand())
    for _ in range(5):
        breaker.failed(admitted(breaker), Failure("500"), weight=2)
        breaker.succeeded(admitted(breaker))
    assert breaker.cause is None


def test_after_its_time_one_probe_decides() -> None:
    hand = Hand()
    breaker = opened(hand)
    hand.now_s += 29.9
    assert breaker.admit() is None
    hand.now_s += 0.1
    probe = admitted(breaker)
    assert breaker.admit() is None, "one probe at a time"
    breaker.succeeded(probe)
    assert breaker.cause is None
    assert admitted(breaker).is_probe is False


def test_failed_probes_double_the_time_up_to_the_longest() -> None:
    hand = Hand()
    breaker = opened(hand)
    for open_s in (30, 60, 120, 240, 300, 300):
        hand.now_s += open_s - 0.1
        assert breaker.admit() is None
        hand.now_s += 0.2
        breaker.failed(admitted(breaker), Failure("time-out"))


def test_what_set_out_before_it_opened_changes_nothing() -> None:
    hand = Hand()
    breaker = CircuitBreaker(hand)
    early, other = admitted(breaker), admitted(breaker)
    breaker.failed(admitted(breaker), Failure("refused"), weight=3)
    breaker.succeeded(early)
    assert breaker.admit() is None
    hand.now_s += 30
    probe = admitted(breaker)
    breaker.failed(other, Failure("late"))
    breaker.succeeded(probe)
    assert breaker.cause is None


def test_a_told_time_opens_at_once() -> None:
    hand = Hand()
    breaker = CircuitBreaker(hand)
    breaker.failed(admitted(breaker), Failure("429"), weight=0, open_s=120)
    hand.now_s += 119
    assert breaker.admit() is None
    hand.now_s += 1
    assert admitted(breaker).is_probe


class Walks(RuleBasedStateMachine):
    """Any order of calls: never two probes, never stuck, open exactly while there is a reason."""

    permits = Bundle("permits")

    def __init__(self) -> None:
        super().__init__()
        self.hand = Hand()
        self.breaker = CircuitBreaker(self.hand)
        self.out: list[Permit] = []

    @rule(target=permits)
    def admit(self) -> Permit | None:
        permit = self.breaker.admit()
        if permit is not None:
            assert permit.is_probe == (self.breaker.cause is not None)
            self.out.append(permit)
        return permit

    @rule(permit=consumes(permits))
    def succeed(self, permit: Permit | None) -> None:
        if permit is not None:
            self.breaker.succeeded(permit)
            self.out.remove(permit)

    @rule(permit=consumes(permits), weight=st.integers(0, 3), open_s=st.none() | st.floats(0, 500))
    def fail(self, permit: Permit | None, weight: int, open_s: float | None) -> None:
        if permit is not None:
            self.breaker.failed(permit, Failure("it failed"), weight=weight, open_s=open_s)
            self.out.remove(permit)

    @rule(seconds=st.floats(0, 400))
    def pass_time(self, seconds: float) -> None:
        self.hand.now_s += seconds

    @invariant()
    def one_probe_at_most(self) -> None:
        assert sum(permit.is_probe for permit in self.out) <= 1

    def teardown(self) -> None:
        for permit in self.out:
            self.breaker.failed(permit, Failure("it failed"))
        self.hand.now_s += 300
        self.breaker.succeeded(admitted(self.breaker))
        assert self.breaker.cause is None


Walks.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestWalks = Walks.TestCase
