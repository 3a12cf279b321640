"""Errors of the network by their true names."""

from __future__ import annotations

from email.utils import formatdate
from importlib.util import find_spec

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.http import name_trouble, network_errors, open_session, retry_after_s

WALL_S = 1_700_000_000.0


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HTTPS_PROXY", "socks5h://127.0.0.1:9", "a SOCKS proxy needs PySocks"),
        ("ALL_PROXY", "socks5://127.0.0.1:9", "a SOCKS proxy needs PySocks"),
        ("HTTPS_PROXY", "gopher://127.0.0.1:9", "the proxy's address makes no sense"),
        ("HTTPS_PROXY", "http://", "the proxy's address makes no sense"),
        ("REQUESTS_CA_BUNDLE", "/none/ca.pem", "no such file of CA certificates"),
    ],
)
def test_what_the_environment_does_to_requests_has_its_cause(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    if "SOCKS" in said and find_spec("socks") is not None:
        pytest.skip("PySocks is installed")
    for other in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(other, raising=False)
        monkeypatch.delenv(other.lower(), raising=False)
    monkeypatch.setenv(name, value)
    session, _ = open_session()
    with session, pytest.raises(network_errors()) as caught:
        session.get("https://host.invalid/", timeout=1)
    assert name_trouble(caught.value).startswith(said)


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
