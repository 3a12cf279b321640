"""No URL leads from outside to inside: spellings, several addresses, redirects, rebinding."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.addresses import AddressRule, is_public, resolve_host
from guardian_cli.errors import SourceError
from guardian_cli.media.download import fetch_url
from tests.azure_loopback.authority import Authority
from tests.web_server import Web, send, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

PUBLIC, PRIVATE = "127.0.0.1", "127.0.0.2"
CONTENT = b"all of a clip"


class Names:
    """A resolver that answers from a script, a line a look-up; the last line stays."""

    def __init__(self, **names: Sequence[Sequence[str]]) -> None:
        self._answers = {name.replace("_", "."): list(lines) for name, lines in names.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        lines = self._answers.get(host)
        if lines is None:
            return resolve_host(host, port)
        return lines.pop(0) if len(lines) > 1 else lines[0]


def rule(names: Names, *, refuse: bool = False) -> AddressRule:
    """One of this machine's addresses counts as public, so that somebody answers there."""
    return AddressRule(refuse, names, lambda address: address == PUBLIC)


def fetch(url: str, folder: Path, by: AddressRule) -> bytes:
    path = fetch_url(url, folder, timeout_s=10, max_bytes=1000, rule=by)
    content = path.read_bytes()
    path.unlink()
    return content


def refused(url: str, folder: Path, by: AddressRule) -> str:
    with pytest.raises(SourceError) as caught:
        fetch(url, folder, by)
    assert caught.value.kind == "private"
    assert not list(folder.iterdir())
    return str(caught.value)


def hello(page: BaseHTTPRequestHandler) -> None:
    send(page, 200, CONTENT)


def leads_to(url: str) -> Callable[[BaseHTTPRequestHandler], None]:
    return lambda page: send(page, 302, b"", Location=url)


@pytest.fixture
def inside() -> Iterator[Web]:
    with serving(hello, host=PRIVATE) as web:
        yield web


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.0.1", "169.254.169.254"),
        *("172.31.255.255", "192.0.0.192", "192.168.1.1", "198.19.0.1", "224.0.0.1", "240.0.0.1"),
        *("255.255.255.255", "168.63.129.16", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1"),
        *("fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1", "100::1", "::127.0.0.1"),
        *("::ffff:127.0.0.1", "::ffff:a00:1", "64:ff9b::10.0.0.1", "64:ff9b:1::808:808"),
        *("2002:7f00:1::", "2001::1", "localhost", ""),
    ],
)
def test_what_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("8.8.8.8", "93.184.216.34", "172.32.0.1", "192.167.1.1", "223.255.255.254"),
        *("2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"),
    ],
)
def test_what_is_public(address: str) -> None:
    assert is_public(address)


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_inside_an_ipv6_address_stays_what_it_is(number: int) -> None:
    address = str(IPv4Address(number))
    assert is_public(f"::ffff:{address}") == is_public(f"64:ff9b::{address}") == is_public(address)


@pytest.mark.slow
@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.2", "127.2", "127.0.2", "2130706434", "0x7f000002", "0x7f.2", "0177.0.0.02"),
        *("017700000002", "127.0.0.2.", "%31%32%37.0.0.2", "[::ffff:127.0.0.2]", "1２7.0.0.2"),
        *("[::ffff:7f00:2]", "[fe80::1%25lo]", "[::1]", "localhost", "LOCALHOST.", "0"),
    ],
)
def test_no_spelling_of_a_private_address_gets_through(
    host: str, inside: Web, tmp_path: Path
) -> None:
    with pytest.raises(SourceError) as caught:
        fetch(inside.url(host=host), tmp_path, AddressRule(refuse_private=True))
    assert caught.value.kind in {"private", "unreachable"}, "refused, or none at all"
    names = Names(outside_test=[[PUBLIC]])
    with serving(leads_to(inside.url(host=host))) as outside, pytest.raises(SourceError):
        fetch(outside.url(host="outside.test"), tmp_path, rule(names))
    assert not inside.requests


def test_a_private_address_that_is_named_is_fetched_by_default(inside: Web, tmp_path: Path) -> None:
    assert fetch(inside.url(host=PRIVATE), tmp_path, rule(Names())) == CONTENT
    message = refused(inside.url(host=PRIVATE), tmp_path, rule(Names(), refuse=True))
    assert message.endswith(f"{PRIVATE} is a private address (scan.private_addresses: refuse)")


def test_a_private_address_may_lead_on_to_another(inside: Web, tmp_path: Path) -> None:
    with serving(leads_to(inside.url(host=PRIVATE)), host="127.0.0.3") as other:
        assert fetch(other.url(host="127.0.0.3"), tmp_path, rule(Names())) == CONTENT


def test_a_redirect_from_public_to_private_is_refused(inside: Web, tmp_path: Path) -> None:
    names = Names(outside_test=[[PUBLIC]], inside_test=[[PRIVATE]])
    for target in (inside.url(host=PRIVATE), inside.url(host="inside.test")):
        with serving(leads_to(target)) as outside:
            message = refused(outside.url(host="outside.test"), tmp_path, rule(names))
            assert "a public address that leads to a private one" in message
    assert not inside.requests


def test_private_to_public_to_private_is_refused_on_a_kept_connection_too(tmp_path: Path) -> None:
    names = Names(outside_test=[[PUBLIC]], inside_test=[[PRIVATE]])

    def first_leads_out(page: BaseHTTPRequestHandler) -> None:
        page.protocol_version = "HTTP/1.1"
        leads_to(outside.url(host="outside.test"))(page)

    with serving(first_leads_out, host=PRIVATE) as inside:
        with serving(leads_to(inside.url("/secret", host="inside.test"))) as outside:
            refused(inside.url(host="inside.test"), tmp_path, rule(names))
        assert [path for path, _ in inside.requests] == ["/clip.mp4"]


def test_of_several_addresses_the_private_ones_are_not_used(inside: Web, tmp_path: Path) -> None:
    both = Names(both_test=[[PRIVATE, PUBLIC]])
    with serving(hello, port=inside.port) as outside:
        assert fetch(outside.url(host="both.test"), tmp_path, rule(both)) == CONTENT
        assert outside.requests
        refused(outside.url(host="both.test"), tmp_path, rule(both, refuse=True))
    assert not inside.requests


def test_the_next_address_is_tried_where_the_first_does_not_answer(tmp_path: Path) -> None:
    names = Names(outside_test=[["127.0.0.4", PRIVATE]])
    with serving(hello, host=PRIVATE) as web:
        assert fetch(web.url(host="outside.test"), tmp_path, rule(names)) == CONTENT


def test_a_name_that_is_rebound_before_the_connection_is_looked_up_once(
    inside: Web, tmp_path: Path
) -> None:
    names = Names(rebound_test=[[PUBLIC], [PRIVATE]])
    with serving(hello, port=inside.port) as outside:
        assert fetch(outside.url(host="rebound.test"), tmp_path, rule(names)) == CONTENT
    assert names.asked == ["rebound.test"]
    assert not inside.requests


@pytest.mark.slow
def test_a_name_that_is_rebound_before_the_rest_is_fetched_is_refused(
    inside: Web, tmp_path: Path
) -> None:
    def breaks_off(page: BaseHTTPRequestHandler) -> None:
        send(page, 200, CONTENT[:5], Content_Length=str(len(CONTENT)), ETag='"1"')

    names = Names(rebound_test=[[PUBLIC], [PRIVATE]])
    with serving(breaks_off, port=inside.port) as outside:
        refused(outside.url(host="rebound.test"), tmp_path, rule(names))
    assert names.asked == ["rebound.test", "rebound.test"]
    assert not inside.requests


def test_host_header_and_certificate_are_those_of_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path / "ca", ["outside.test"])
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.bundle))
    folder = tmp_path / "downloads"
    folder.mkdir()
    names = Names(outside_test=[[PUBLIC]], other_test=[[PUBLIC]])
    with serving(hello, tls=authority.context) as web:
        assert fetch(web.url(host="outside.test"), folder, rule(names)) == CONTENT
        assert web.requests[0][1]["Host"] == f"outside.test:{web.port}"
        with pytest.raises(SourceError, match="no secure connection"):
            fetch(web.url(host="other.test"), folder, rule(names))


def test_a_proxy_gets_what_can_be_checked_and_nothing_where_private_is_refused(
    inside: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names(
        outside_test=[[PUBLIC]], unknown_test=[["not", "looked", "up"]], inside_test=[[PRIVATE]]
    )
    pages = {"http://outside.test/in": "http://inside.test/x", "http://outside.test/ok": None}

    def proxy(page: BaseHTTPRequestHandler) -> None:
        target = pages[page.path]
        send(page, 302, b"", Location=target) if target else hello(page)

    with serving(proxy) as web:
        monkeypatch.setenv("HTTP_PROXY", web.url(""))
        assert fetch("http://outside.test/ok", tmp_path, rule(names)) == CONTENT
        refused("http://outside.test/in", tmp_path, rule(names))
        assert "NO_PROXY" in refused("http://outside.test/ok", tmp_path, rule(names, refuse=True))
        assert [path for path, _ in web.requests] == list(reversed(pages))
    assert not inside.requests
