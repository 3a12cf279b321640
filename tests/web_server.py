"""A web server on loopback whose one page is a function."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator


@dataclass
class Web:
    """A web server whose one page is a function; `requests` holds path and headers."""

    page: Callable[[BaseHTTPRequestHandler], None]
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    port: int = 0
    scheme: str = "http"
    ended: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "/clip.mp4", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"


@contextmanager
def serving(
    page: Callable[[BaseHTTPRequestHandler], None],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Web]:
    web = Web(page, scheme="http" if tls is None else "https")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.requests.append((self.path, dict(self.headers.items())))
            with suppress(OSError):
                web.page(self)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *args: Any) -> None:
            """Stay silent."""

    with ThreadingHTTPServer((host, port), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.daemon_threads = False
        web.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield web
        finally:
            web.ended.set()
            server.shutdown()
            thread.join()


def send(page: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    page.send_response(status)
    headers.setdefault("Content_Length", str(len(body)))
    for name, value in headers.items():
        page.send_header(name.replace("_", "-"), value)
    page.end_headers()
    if page.command != "HEAD":
        page.wfile.write(body)
