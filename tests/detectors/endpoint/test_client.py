"""The HTTP edge against real servers on loopback."""

from __future__ import annotations

import gzip
import logging
import socket
import threading
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

import pytest

from guardian_cli.detectors.endpoint.client import MAX_ANSWER_BYTES, HttpTransport, Reply
from guardian_cli.detectors.endpoint.protocol import build_body
from guardian_cli.detectors.endpoint.retry import TIME_OUT_WEIGHT, Failure
from guardian_cli.errors import UsageError
from tests.scoring_server import ScoringServer, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = build_body([])
KEY = "s3cret-key"


@contextmanager
def transport(uri: str, key: str | None = KEY, timeout_s: float = 10.0) -> Iterator[HttpTransport]:
    with closing(HttpTransport(uri, key, timeout_s=timeout_s)) as opened:
        yield opened


@contextmanager
def silent_socket(*, backlog: int = 5) -> Iterator[int]:
    """A port where connections are taken and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as listener:
        yield listener.getsockname()[1]


def refused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def failure(outcome: Reply | Failure) -> Failure:
    assert isinstance(outcome, Failure)
    assert KEY not in outcome.reason
    assert outcome.reason.isprintable()
    return outcome


def test_the_request_is_as_agreed() -> None:
    with ScoringServer(key=KEY) as server, transport(server.uri + "?api-version=1") as client:
        reply = client.post(BODY)
        assert isinstance(reply, Reply)
        assert (reply.status, reply.body) == (200, b"[]")
        (request,) = server.requests
        assert request.headers["Authorization"] == f"Bearer {KEY}"
        assert request.headers["Content-Type"] == "application/json"
        assert request.path == "/score?api-version=1"


def test_without_a_key_no_authorization_is_sent() -> None:
    with ScoringServer() as server, transport(server.uri, None) as client:
        client.post(BODY)
        assert "Authorization" not in server.requests[0].headers


def test_a_password_in_the_address_is_used_but_the_key_wins() -> None:
    with ScoringServer() as server:
        uri = server.uri.replace("//", "//me:p%40ss@")
        for key in (None, KEY):
            with transport(uri, key) as client:
                client.post(BODY)
        basic, bearer = (request.headers["Authorization"] for request in server.requests)
        assert basic == "Basic bWU6cEBzcw=="
        assert bearer == f"Bearer {KEY}"


def test_the_key_is_not_taken_along_to_a_redirect() -> None:
    with ScoringServer() as thief:
        step = Step(307, headers={"Location": thief.uri})
        with ScoringServer(usual=step) as server, transport(server.uri) as client:
            reply = client.post(BODY)
            assert isinstance(reply, Reply)
            assert reply.status == 307
        assert thief.requests == []


@pytest.mark.parametrize("location", ["http://[::1", "http://h:99999/", "\u00ff", ""])
def test_a_redirect_without_sense_is_a_reply_like_any_other(location: str) -> None:
    step = Step(302, headers={"Location": location})
    with ScoringServer(usual=step) as server, transport(server.uri) as client:
        reply = client.post(BODY)
        assert isinstance(reply, Reply)
        assert reply.status == 302


def test_netrc_and_proxies_do_not_come_between(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{refused_port()}")
    monkeypatch.setenv("no_proxy", "example.org")
    with ScoringServer() as server:
        for key in (KEY, None):
            with transport(server.uri, key) as client:
                client.post(BODY)
        assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"
        assert "Authorization" not in server.requests[1].headers


def test_no_one_listens() -> None:
    with transport(f"http://127.0.0.1:{refused_port()}/score?code=token") as client:
        outcome = failure(client.post(BODY))
        assert outcome.reason == "connection refused"
        assert outcome.retry


def test_a_host_that_is_nowhere() -> None:
    with transport("http://no-such-host.invalid/score") as client:
        assert failure(client.post(BODY)).reason == "host not found"


def test_no_answer_in_time() -> None:
    with silent_socket() as port, transport(f"http://127.0.0.1:{port}/", timeout_s=0.1) as client:
        outcome = failure(client.post(BODY))
        assert outcome.reason == "no answer within 0.1 s"
        assert outcome.attempt_weight == TIME_OUT_WEIGHT


def test_headers_that_drip_in_are_given_up() -> None:
    stop = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not stop.wait(0.02):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip)
        thread.start()
        with transport(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout_s=0.2) as client:
            outcome = failure(client.post(BODY))
        stop.set()
        thread.join()
    assert outcome.reason == "no whole answer within 0.2 s"
    assert outcome.attempt_weight == TIME_OUT_WEIGHT


def read_request(requests: BinaryIO) -> None:
    """Read one request of `client.post(BODY)`, which comes in any number of packets."""
    while requests.readline().strip():
        pass
    requests.read(len(BODY))


def test_a_deadline_ends_a_request_on_a_connection_that_was_kept_open() -> None:
    stop = threading.Event()

    def answer_then_drip() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError), connection.makefile("rb") as requests:
            read_request(requests)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
            read_request(requests)
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not stop.wait(0.02):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_then_drip)
        thread.start()
        with transport(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout_s=0.2) as client:
            first, second = client.post(BODY), client.post(BODY)
        stop.set()
        thread.join()
    assert isinstance(first, Reply)
    assert failure(second).reason == "no whole answer within 0.2 s"


@pytest.mark.parametrize("chunked", [False, True])
def test_an_answer_that_drips_in_is_given_up(chunked: bool) -> None:
    head = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 1000"
    drop = b"1\r\n \r\n" if chunked else b" "
    stop = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
            while not stop.wait(0.02):
                connection.sendall(drop)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip)
        thread.start()
        with transport(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout_s=0.2) as client:
            outcome = failure(client.post(BODY))
        stop.set()
        thread.join()
    assert outcome.reason == "no whole answer within 0.2 s"
    assert outcome.attempt_weight == TIME_OUT_WEIGHT


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_a_packed_answer_is_unpacked(encoding: str) -> None:
    body = gzip.compress(b"[0.5]") if encoding == "gzip" else b"[0.5]"
    step = Step(body=body, headers={"Content-Encoding": encoding})
    with ScoringServer(usual=step) as server, transport(server.uri) as client:
        reply = client.post(BODY)
        assert isinstance(reply, Reply)
        assert reply.body == b"[0.5]"


@pytest.mark.slow
def test_a_packed_answer_of_endless_size_is_not_unpacked_to_its_end() -> None:
    step = Step(body=gzip.compress(bytes(200_000_000)), headers={"Content-Encoding": "gzip"})
    with ScoringServer(usual=step) as server, transport(server.uri) as client:
        assert "larger than" in failure(client.post(BODY)).reason


def test_a_body_that_stops_half_way() -> None:
    step = Step(body=b"[0.", claimed_length=100)
    with ScoringServer(usual=step) as server, transport(server.uri) as client:
        assert failure(client.post(BODY)).reason == "connection lost"


def test_a_connection_closed_without_an_answer() -> None:
    with ScoringServer(usual=Step(drop=True)) as server, transport(server.uri) as client:
        outcome = failure(client.post(BODY))
        assert outcome.reason == "connection lost"
        assert outcome.retry


def test_an_endless_body_is_not_read_to_its_end() -> None:
    step = Step(body=b" " * (MAX_ANSWER_BYTES + 1))
    with ScoringServer(usual=step) as server, transport(server.uri) as client:
        assert "larger than" in failure(client.post(BODY)).reason


def test_tls_to_a_server_that_speaks_none() -> None:
    with ScoringServer() as server:
        with transport(server.uri.replace("http:", "https:")) as client:
            outcome = failure(client.post(BODY))
        assert "secure connection" in outcome.reason
        assert not outcome.retry


def test_closing_wakes_a_request_under_way() -> None:
    with ScoringServer(usual=Step(hang=True)) as server, transport(server.uri) as client:
        outcomes: list[Reply | Failure] = []
        thread = threading.Thread(target=lambda: outcomes.append(client.post(BODY)))
        thread.start()
        server.wait_for(1)
        client.close()
        thread.join(5)
        assert not thread.is_alive()
        assert failure(outcomes[0]).reason == "connection lost"


def test_nothing_is_logged_that_is_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with ScoringServer(usual=Step(401)) as server:
        uri = server.uri.replace("//", "//me:pass@") + "?code=token"
        with transport(uri) as client:
            client.post(BODY)
            assert not any(word in repr(vars(client)) for word in (KEY, "pass@"))
        assert not any(word in caplog.text for word in (KEY, "pass", "token"))


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "host/score",
        "ftp://host/score",
        "http://",
        "https:///score",
        "http://[::1/score",
        "http://host:99999/score",
        "http://host:port/score",
        "file:///etc/passwd",
    ],
)
def test_an_address_that_is_none(uri: str) -> None:
    with pytest.raises(UsageError, match="model endpoint"):
        HttpTransport(uri, KEY)


@pytest.mark.parametrize("key", ["two\nlines", "schlüssel", "a\x00b"])
def test_a_key_that_fits_in_no_header_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(UsageError) as refused:
        HttpTransport("https://me:pass@host/score?code=token", key)
    assert not any(word in str(refused.value) for word in (key, "pass", "token"))
