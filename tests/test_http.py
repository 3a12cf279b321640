"""Errors of the network by their true names."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from guardian_cli.http import name_trouble, network_errors, open_session


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
