"""What a status means, how long to wait, and when to stop."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.detectors.endpoint.failures import (
    Failure,
    RetryPolicy,
    status_failure,
)
from guardian_cli.http import retry_after_s

WALL_S = 1_700_000_000.0


def failure(status: int, *, has_key: bool = True, **headers: str) -> Failure:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status_failure(status, named, has_key=has_key, wall_s=WALL_S)


@pytest.mark.parametrize("status", [408, 424, 429, 500, 502, 503, 504])
def test_what_may_pass_is_retried(status: int) -> None:
    assert failure(status).retry


@pytest.mark.parametrize(
    "status", [301, 302, 307, 308, 400, 401, 403, 404, 405, 413, 415, 422, 501]
)
def test_what_will_not_pass_is_not(status: int) -> None:
    assert not failure(status).retry


def test_reasons_say_what_to_do() -> None:
    assert failure(401).reason == "401 Unauthorized (wrong key?)"
    assert failure(401, has_key=False).reason == "401 Unauthorized (no key is set)"
    assert "no deployment with traffic" in failure(404).reason
    assert failure(599).reason == "HTTP status 599"


def test_a_redirect_names_its_host_and_nothing_else_of_it() -> None:
    reason = failure(302, Location="https://u:secret@evil.example/x?token=secret").reason
    assert "evil.example" in reason
    assert "secret" not in reason


@given(st.text())
def test_any_location_gives_one_line(location: str) -> None:
    assert failure(307, Location=location).reason.isprintable()


def test_retry_after_as_seconds_and_as_a_date() -> None:
    assert retry_after_s("7", WALL_S) == 7.0
    assert retry_after_s(" 1.5 ", WALL_S) == 1.5
    assert retry_after_s(formatdate(WALL_S + 9, usegmt=True), WALL_S) == 9.0
    assert retry_after_s(formatdate(WALL_S - 9, usegmt=True), WALL_S) == 0.0


@pytest.mark.parametrize("value", [None, "", "-3", "soon", "nan", "inf", "1e3", "٣", "9" * 400])
def test_a_retry_after_without_sense_is_ignored(value: str | None) -> None:
    assert retry_after_s(value, WALL_S) is None


@given(st.text())
def test_any_retry_after_is_none_or_a_wait(value: str) -> None:
    wait_s = retry_after_s(value, WALL_S)
    assert wait_s is None or wait_s >= 0


def test_only_429_and_503_tell_when() -> None:
    assert failure(429, Retry_After="4").retry_after_s == 4
    assert failure(503, Retry_After="4").retry_after_s == 4
    assert failure(500, Retry_After="4").retry_after_s is None


@given(told_s=st.none() | st.floats(0, 100), chances=st.lists(st.floats(0, 1), min_size=9))
def test_a_call_waits_no_longer_than_its_budget(told_s: float | None, chances: list[float]) -> None:
    policy = RetryPolicy()
    waited_s, attempts = 0.0, 1
    while True:
        pause_s = policy.pause_s(
            Failure("busy", retry=True, retry_after_s=told_s), attempts, waited_s, chances[0]
        )
        if pause_s is None:
            break
        assert told_s is None or pause_s >= told_s
        waited_s += pause_s
        attempts += 1
    assert waited_s <= policy.budget_s + 0.2
    assert attempts <= policy.attempts_when_told


def test_pauses_grow() -> None:
    policy = RetryPolicy(attempts=5)
    busy = Failure("busy", retry=True)
    assert [policy.pause_s(busy, n, 0.0, 1.0) for n in range(1, 6)] == [0.5, 1.0, 2.0, 4.0, None]
    assert policy.pause_s(busy, 1, 0.0, 0.0) == 0.25
