"""What a failure means, when to try again and when to stop, by a clock that only waiting moves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.detectors.endpoint.client import Reply
from guardian_cli.detectors.endpoint.protocol import read_scores
from guardian_cli.detectors.endpoint.retry import (
    MAX_ATTEMPTS_WHEN_TOLD,
    RETRY_DEADLINE_S,
    Caller,
    Failure,
    Scored,
    Timing,
    pause_before_retry_s,
    status_failure,
    timed_out,
)
from guardian_cli.http import DEPLOYMENT_HEADER

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

GOOD = Reply(200, {}, b"[0.25]", 0.031)
REFUSED = Failure("connection refused", retry=True, attempt_weight=1, call_weight=0)


def status(code: int, **headers: str) -> Reply:
    return Reply(code, {name.replace("_", "-"): value for name, value in headers.items()}, b"", 0.0)


@dataclass
class FakeTime:
    """Seconds pass when somebody waits, or when a transport says a request took some."""

    now_s: float = 0.0
    waits_s: list[float] = field(default_factory=list)

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        self.waits_s.append(seconds)
        self.now_s += seconds
        return stop.is_set()

    def timing(self) -> Timing:
        return Timing(
            monotonic_s=lambda: self.now_s, wall_s=lambda: 0.0, wait=self.wait, chance=lambda: 0.0
        )


@dataclass
class Script:
    """A transport that gives what it was told to, the last one for ever."""

    outcomes: list[Reply | Failure]
    time: FakeTime
    takes_s: float = 0.0
    at_s: list[float] = field(default_factory=list)
    asked: list[str | None] = field(default_factory=list)
    on_post: Callable[[], None] = lambda: None

    def post(self, body: bytes, deployment: str | None = None) -> Reply | Failure:
        self.asked.append(deployment)
        self.at_s.append(self.time.now_s)
        self.time.now_s += self.takes_s
        self.on_post()
        return self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]


def caller(script: Script) -> Caller:
    timing = script.time.timing()
    return Caller(script.post, has_key=True, timing=timing)


def ask(subject: Caller, deployment: str | None = None) -> Scored | Failure:
    return subject.call(b"{}", lambda body: read_scores(body, 1, "nsfw"), deployment)


@pytest.mark.parametrize(
    "first", [status(500), status(502), status(503), status(424), status(429), REFUSED]
)
def test_what_passes_is_tried_again(first: Reply | Failure) -> None:
    script = Script([first, GOOD], FakeTime())
    assert ask(caller(script)) == Scored((0.25,), 0.031)
    assert script.time.waits_s == [0.25]


@pytest.mark.parametrize("code", [302, 400, 401, 403, 404])
def test_what_does_not_pass_costs_one_request(code: int) -> None:
    script = Script([status(code), GOOD], FakeTime())
    outcome = ask(caller(script))
    assert isinstance(outcome, Failure)
    assert outcome.reason.startswith(str(code))
    assert len(script.at_s) == 1


def test_an_answer_without_sense_is_not_asked_for_again() -> None:
    script = Script([Reply(200, {}, b"[NaN]", 0.0), GOOD], FakeTime())
    outcome = ask(caller(script))
    assert isinstance(outcome, Failure)
    assert outcome.reason == "an answer that makes no sense: a score is NaN"


@pytest.mark.parametrize("code", [429, 503])
def test_retry_after_is_kept_by_every_call(code: int) -> None:
    script = Script([status(code, Retry_After="7"), GOOD], FakeTime())
    subject = caller(script)
    assert isinstance(ask(subject), Scored)
    assert script.at_s == [0.0, 7.0]


def test_a_retry_after_holds_back_the_other_threads_too() -> None:
    time = FakeTime()
    script = Script([status(429, Retry_After="7"), GOOD], time)
    subject = caller(script)
    second: list[Scored | Failure] = []

    def wait(stop: threading.Event, seconds: float) -> bool:
        if not second and seconds >= 7:
            second.append(Failure("under way"))
            second[0] = ask(subject)  # another frame's call, while the first one waits
        return FakeTime.wait(time, stop, seconds)

    timing = Timing(lambda: time.now_s, lambda: 0.0, wait, lambda: 0.0)
    subject = Caller(script.post, has_key=True, timing=timing)
    assert isinstance(ask(subject), Scored)
    assert isinstance(second[0], Scored)
    assert script.at_s[1] == 7.0


def test_a_retry_after_beyond_the_deadline_fails_at_once_and_is_still_kept() -> None:
    time = FakeTime()
    script = Script([status(429, Retry_After="120"), GOOD], time)
    subject = caller(script)
    assert isinstance(ask(subject), Failure)
    assert time.waits_s == []
    time.now_s = 119
    assert ask(subject) == Failure(
        "circuit open: 429 Too Many Requests", call_weight=0, not_asked=True, status=429
    )
    assert len(script.at_s) == 1
    time.now_s = 120
    assert isinstance(ask(subject), Scored)


@pytest.mark.parametrize(
    ("outcome", "takes_s", "most_s", "most_requests"),
    [
        (timed_out("no answer within 10 s"), 10.0, 21.0, 2),
        (status(504), 10.0, 21.0, 2),
        (status(408), 5.0, 11.0, 2),
        (REFUSED, 0.0, 2.0, 3),
        (status(401), 0.0, 0.0, 3),
        (status(500), 0.0, 6.0, 9),
        (status(429, Retry_After="1"), 0.0, 18.0, 18),
        (Reply(200, {}, b"{}", 0.0), 0.0, 0.0, 3),
    ],
)
def test_a_dead_endpoint_has_a_bounded_cost(
    outcome: Reply | Failure, takes_s: float, most_s: float, most_requests: int
) -> None:
    script = Script([outcome], FakeTime(), takes_s)
    subject = caller(script)
    reasons = [ask(subject) for _ in range(60)]
    assert all(isinstance(reason, Failure) for reason in reasons)
    assert script.time.now_s <= most_s
    assert len(script.at_s) <= most_requests
    last = reasons[-1]
    assert isinstance(last, Failure)
    assert last.reason.startswith("circuit open: ")


def test_a_recovered_endpoint_is_found_again() -> None:
    time = FakeTime()
    script = Script([status(401), status(401), status(401), GOOD], time)
    subject = caller(script)
    for _ in range(5):
        assert isinstance(ask(subject), Failure)
    time.now_s += 30
    assert isinstance(ask(subject), Scored)
    assert isinstance(ask(subject), Scored)


def test_closing_ends_a_pause_and_everything_after() -> None:
    script = Script([status(503)], FakeTime())
    subject = caller(script)
    script.on_post = subject.close
    outcome = ask(subject)
    assert isinstance(outcome, Failure)
    assert outcome.reason == "the scan was ended"
    assert len(script.at_s) == 1
    assert isinstance(ask(subject), Failure)
    assert len(script.at_s) == 1


def test_a_probe_that_is_interrupted_does_not_block_the_next() -> None:
    time = FakeTime()
    script = Script([status(401)], time)
    subject = caller(script)
    for _ in range(3):
        ask(subject)

    def interrupt() -> None:
        raise KeyboardInterrupt

    time.now_s += 30
    script.on_post = interrupt
    with pytest.raises(KeyboardInterrupt):
        ask(subject)
    script.on_post = lambda: None
    script.outcomes = [GOOD]
    time.now_s += 60
    assert isinstance(ask(subject), Scored)


def answer_of(name: str) -> Reply:
    return Reply(200, {DEPLOYMENT_HEADER: name}, b"[0.25]", 0.031)


def test_an_answer_says_who_gave_it() -> None:
    script = Script([status(503), answer_of("version-3")], FakeTime())
    assert ask(caller(script)) == Scored((0.25,), 0.031, "version-3")
    assert script.asked == [None, None]


@pytest.mark.parametrize("name", ["", "no name", "a" * 65, "caf\u00e9", "x\r\ny"])
def test_what_can_be_no_name_names_nobody(name: str) -> None:
    assert ask(caller(Script([answer_of(name)], FakeTime()))) == Scored((0.25,), 0.031)


def test_one_that_was_asked_for_is_asked_again_and_no_other_is_believed() -> None:
    script = Script([status(503), answer_of("version-3"), answer_of("version-4")], FakeTime())
    subject = caller(script)
    assert ask(subject, "version-3") == Scored((0.25,), 0.031, "version-3")
    assert script.asked == ["version-3", "version-3"]
    outcome = ask(subject, "version-3")
    assert isinstance(outcome, Failure)
    assert outcome.reason == "version-3 was asked for and version-4 answered"


def test_a_deployment_that_is_gone_closes_the_endpoint_to_nobody_else() -> None:
    script = Script([status(404)], FakeTime())
    subject = caller(script)
    for _ in range(5):
        gone = ask(subject, "version-3")
        assert isinstance(gone, Failure)
        assert gone.reason == "404 Not Found (no deployment version-3)"
    script.outcomes = [GOOD]
    assert isinstance(ask(subject), Scored)


@pytest.mark.parametrize("code", [400, 401, 403, 404, 301, 405, 415, 422])
def test_what_the_user_has_to_mend_stays_so_while_the_circuit_is_open(code: int) -> None:
    subject = caller(Script([status(code)], FakeTime()))
    outcomes = [ask(subject) for _ in range(4)]
    assert all(isinstance(one, Failure) and one.misconfigured for one in outcomes)
    last = outcomes[-1]
    assert isinstance(last, Failure)
    assert last.not_asked


@pytest.mark.parametrize(
    "outage",
    [
        *(status(code) for code in (408, 424, 429, 500, 501, 503)),
        REFUSED,
        timed_out("no answer"),
        Reply(200, {}, b"<html>", 0.0),
    ],
)
def test_what_may_pass_is_an_outage(outage: Reply | Failure) -> None:
    subject = caller(Script([outage], FakeTime()))
    outcomes = [ask(subject) for _ in range(4)]
    assert not any(isinstance(one, Failure) and one.misconfigured for one in outcomes)


WALL_S = 1_700_000_000.0


def meaning(code: int, *, has_key: bool = True, **headers: str) -> Failure:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status_failure(code, named, has_key=has_key, wall_s=WALL_S)


@pytest.mark.parametrize("status", [408, 424, 429, 500, 502, 503, 504])
def test_what_may_pass_is_retried(status: int) -> None:
    assert meaning(status).retry


@pytest.mark.parametrize(
    "status", [301, 302, 307, 308, 400, 401, 403, 404, 405, 413, 415, 422, 501]
)
def test_what_will_not_pass_is_not(status: int) -> None:
    assert not meaning(status).retry


def test_reasons_say_what_to_do() -> None:
    assert meaning(401).reason == "401 Unauthorized (wrong key?)"
    assert meaning(401, has_key=False).reason == "401 Unauthorized (no key is set)"
    assert "no deployment with traffic" in meaning(404).reason
    assert meaning(599).reason == "HTTP status 599"


def test_a_redirect_names_its_host_and_nothing_else_of_it() -> None:
    reason = meaning(302, Location="https://u:secret@evil.example/x?token=secret").reason
    assert "evil.example" in reason
    assert "secret" not in reason


@given(st.text())
def test_any_location_gives_one_line(location: str) -> None:
    assert meaning(307, Location=location).reason.isprintable()


def test_only_429_and_503_tell_when() -> None:
    assert meaning(429, Retry_After="4").retry_after_s == 4
    assert meaning(503, Retry_After="4").retry_after_s == 4
    assert meaning(500, Retry_After="4").retry_after_s is None


@given(told_s=st.none() | st.floats(0, 100), chances=st.lists(st.floats(0, 1), min_size=9))
def test_a_call_waits_no_longer_than_its_budget(told_s: float | None, chances: list[float]) -> None:
    waited_s, attempts = 0.0, 1
    busy = Failure("busy", retry=True, retry_after_s=told_s)
    while True:
        pause_s = pause_before_retry_s(busy, attempts, waited_s, chances[0])
        if pause_s is None:
            break
        assert told_s is None or pause_s >= told_s
        waited_s += pause_s
        attempts += 1
    assert waited_s <= RETRY_DEADLINE_S + 0.2
    assert attempts <= MAX_ATTEMPTS_WHEN_TOLD


def test_pauses_grow_until_it_is_given_up() -> None:
    busy = Failure("busy", retry=True)
    assert [pause_before_retry_s(busy, n, 0.0, 1.0) for n in range(1, 4)] == [0.5, 1.0, None]
    assert pause_before_retry_s(busy, 1, 0.0, 0.0) == 0.25
    assert pause_before_retry_s(busy, 2, 0.0, 1.0, first_pause_s=9.0) == 4.0
