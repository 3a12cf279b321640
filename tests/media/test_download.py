"""Downloads from real servers on loopback: whole, bounded, resumed, and no password told."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from guardian_cli.errors import SourceError
from guardian_cli.media.download import CHUNK_BYTES, MAX_WAITS, fetch_url
from tests.web_server import send, serving

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

CONTENT = bytes(range(256)) * 4096  # 1 MiB


def fetch(url: str, folder: Path, **options: Any) -> Path:
    return fetch_url(url, folder, **{"timeout_s": 30, "max_bytes": 10_000_000, **options})


def refused(url: str, folder: Path, **options: Any) -> SourceError:
    with pytest.raises(SourceError) as caught:
        fetch(url, folder, **options)
    assert list(folder.iterdir()) == [], "nothing half-done is left"
    assert "S3CRET" not in str(caught.value)
    return caught.value


def test_a_file_comes_whole_under_its_own_ending(tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    with serving(lambda page: send(page, 200, CONTENT)) as web:
        path = fetch(web.url("/a/clip.mp4?sig=1#t"), tmp_path, progress=lambda *n: told.append(n))
    assert path.read_bytes() == CONTENT
    assert path.suffix == ".mp4"
    assert list(tmp_path.iterdir()) == [path]
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert len(told) >= len(CONTENT) / CHUNK_BYTES
    assert web.requests[0][0] == "/a/clip.mp4?sig=1"


@pytest.mark.parametrize("path", ["/clip", "/", "/x.tar%2f..%2fetc", "/a.b$c", "/x.toolong"])
def test_odd_endings_are_not_taken_over(tmp_path: Path, path: str) -> None:
    with serving(lambda page: send(page, 200, b"x")) as web:
        assert fetch(web.url(path), tmp_path).suffix == ""


def test_a_file_of_unknown_length(tmp_path: Path) -> None:
    def page(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(CONTENT)

    with serving(page) as web:
        assert fetch(web.url(), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [204, 301, 401, 403, 404, 410, 500, 503])
def test_any_other_status_is_named(tmp_path: Path, status: int) -> None:
    with serving(lambda page: send(page, status, b"")) as web:
        error = refused(web.url("/x?sig=S3CRET").replace("//", "//me:S3CRET@"), tmp_path)
    assert error.kind == "unreachable"
    assert error.exit_code == 3
    assert f"http://127.0.0.1:{web.port}/x?…: {status} " in str(error)


def test_redirects_are_followed_and_the_password_stays_at_home(tmp_path: Path) -> None:
    with serving(lambda page: send(page, 200, CONTENT)) as other:

        def page(request: BaseHTTPRequestHandler) -> None:
            target = other.url("/x") if request.path == "/moved" else "/moved"
            send(request, 302, b"", Location=target)

        with serving(page) as web:
            path = fetch(web.url().replace("//", "//me:S3CRET@"), tmp_path)
    assert path.read_bytes() == CONTENT
    assert [path for path, _ in web.requests] == ["/clip.mp4", "/moved"]
    assert all("Authorization" in headers for _, headers in web.requests)
    assert "Authorization" not in other.requests[0][1]


def test_redirects_come_to_an_end(tmp_path: Path) -> None:
    with serving(lambda page: send(page, 302, b"", Location="/again")) as web:
        assert "5 redirects" in str(refused(web.url(), tmp_path))
    assert len(web.requests) == 6


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://me:S3CRET@host/x", "http://[::1", "http://h:99999/"]
)
def test_redirects_lead_nowhere_else(tmp_path: Path, target: str) -> None:
    with serving(lambda page: send(page, 302, b"", Location=target)) as web:
        assert "redirect" in str(refused(web.url(), tmp_path))


class Breaking:
    """Sends part of the content, then breaks off, `times` times."""

    def __init__(self, times: int, *, ranges: bool = True, content: bytes = CONTENT) -> None:
        self.times = times
        self.ranges = ranges
        self.content = content

    def __call__(self, page: BaseHTTPRequestHandler) -> None:
        asked = page.headers.get("Range")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges else 0
        body = self.content[start:]
        page.send_response(206 if start else 200)
        page.send_header("Content-Length", str(len(body)))
        if self.ranges:
            page.send_header("ETag", '"one"')
            page.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/*")
        page.end_headers()
        self.times -= 1
        page.wfile.write(body[: len(body) // 2] if self.times >= 0 else body)


@pytest.mark.slow
def test_a_broken_transfer_is_resumed_where_it_broke(tmp_path: Path) -> None:
    with serving(Breaking(1)) as web:
        assert fetch(web.url(), tmp_path).read_bytes() == CONTENT
    first, second = (headers for _, headers in web.requests)
    assert "Range" not in first
    assert second["Range"] == f"bytes={len(CONTENT) // 2}-"
    assert second["If-Range"] == '"one"'


@pytest.mark.slow
def test_a_transfer_that_cannot_be_resumed_starts_over(tmp_path: Path) -> None:
    with serving(Breaking(1, ranges=False)) as web:
        assert fetch(web.url(), tmp_path).read_bytes() == CONTENT
    assert "Range" not in web.requests[1][1]


@pytest.mark.slow
def test_a_file_that_changed_meanwhile_is_fetched_anew(tmp_path: Path) -> None:
    def page(request: BaseHTTPRequestHandler) -> None:
        if len(web.requests) == 1:
            send(request, 200, b"old" * 1000, Content_Length="9000", ETag='"one"')
        else:
            send(request, 200, b"new", ETag='"two"')

    with serving(page) as web:
        assert fetch(web.url(), tmp_path).read_bytes() == b"new"
    assert web.requests[1][1]["If-Range"] == '"one"'


@pytest.mark.slow
@pytest.mark.parametrize("ranges", [True, False])
def test_what_always_breaks_off_is_an_error_and_no_short_file(tmp_path: Path, ranges: bool) -> None:
    with serving(Breaking(99, ranges=ranges)) as web:
        error = refused(web.url(), tmp_path)
    assert error.kind == "unreachable"
    assert "connection lost after" in str(error)
    assert len(web.requests) == 3


@pytest.mark.parametrize("announced", [True, False])
def test_what_is_too_large_is_not_fetched_to_its_end(tmp_path: Path, announced: bool) -> None:
    def page(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        if announced:
            request.send_header("Content-Length", "1000000000000")
        request.end_headers()
        while not web.ended.is_set():
            request.wfile.write(CONTENT)

    with serving(page) as web:
        error = refused(web.url(), tmp_path, max_bytes=3_000_000)
    assert error.kind == "too_large"
    assert "larger than 3 MB" in str(error)


@pytest.mark.parametrize("says_something", [True, False])
def test_the_whole_time_is_bounded(tmp_path: Path, says_something: bool) -> None:
    def page(request: BaseHTTPRequestHandler) -> None:
        if says_something:
            request.send_response(200)
            request.end_headers()
        while not web.ended.wait(0.02):
            if says_something:
                request.wfile.write(b"x")

    with serving(page) as web:
        error = refused(web.url(), tmp_path, timeout_s=0.4)
    assert error.kind == "timeout"
    assert "not fetched within 0.4 s" in str(error)


def test_it_ends_when_it_is_told_to(tmp_path: Path) -> None:
    stop = threading.Event()

    def page(request: BaseHTTPRequestHandler) -> None:
        stop.set()
        web.ended.wait(30)

    with serving(page) as web:
        assert refused(web.url(), tmp_path, stop=stop).kind == "interrupted"


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://h:99999/x", "http:///x", "http://a\udc80b/"]
)
def test_an_address_that_is_none(tmp_path: Path, url: str) -> None:
    assert refused(url, tmp_path).kind == "unreachable"


def test_no_one_listens(tmp_path: Path) -> None:
    with serving(lambda page: None) as web:
        pass
    assert "connection refused" in str(refused(web.url(), tmp_path))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with serving(lambda page: send(page, 200, b"")) as web, pytest.raises(SourceError) as caught:
        fetch(web.url(), tmp_path / "none")
    assert caught.value.kind == "unwritable"


class Busy:
    """Answers with `status` and Retry-After so often, then with the content."""

    def __init__(self, status: int, after: str, times: int) -> None:
        self.status, self.after, self.times = status, after, times

    def __call__(self, page: BaseHTTPRequestHandler) -> None:
        self.times -= 1
        if self.times >= 0:
            send(page, self.status, b"", Retry_After=self.after)
        else:
            send(page, 200, CONTENT)


@pytest.mark.parametrize(
    ("status", "after"), [(429, "0"), (503, "0.05"), (503, "Thu, 01 Jan 1970 00:00:00 GMT")]
)
def test_a_busy_server_is_asked_again_when_it_says(tmp_path: Path, status: int, after: str) -> None:
    with serving(Busy(status, after, 2)) as web:
        assert fetch(web.url(), tmp_path).read_bytes() == CONTENT
    assert len(web.requests) == 3


@pytest.mark.parametrize("after", ["3600", "soon", "Thu, 01 Jan 2170 00:00:00 GMT"])
def test_who_says_too_late_or_nonsense_is_not_waited_for(tmp_path: Path, after: str) -> None:
    with serving(Busy(503, after, 99)) as web:
        assert "503 Service Unavailable" in str(refused(web.url(), tmp_path))
    assert len(web.requests) == 1


@pytest.mark.slow
def test_a_server_that_is_always_busy_is_given_up(tmp_path: Path) -> None:
    with serving(Busy(429, "0", 99)) as web:
        assert "429 Too Many Requests" in str(refused(web.url(), tmp_path))
    assert len(web.requests) == MAX_WAITS + 1
