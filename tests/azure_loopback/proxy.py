"""A CONNECT proxy on loopback that ends TLS itself and hands the requests in it to the stand-in."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.azure_loopback.messages import Request, Response

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable


class DroppedError(Exception):
    """The connection is to be cut without an answer."""


class Proxy(ThreadingHTTPServer):
    """Serves until it is closed; `answering` is called in a thread of each connection."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, context: ssl.SSLContext, answering: Callable[[Request], Response]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.context = context
        self.answering = answering
        self.mistakes: list[BaseException] = []
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def track(self, connection: socket.socket) -> None:
        """Remember a connection, so that it can be cut in the end."""
        with self._guard:
            self._open.add(connection)

    def forget(self, connection: socket.socket) -> None:
        """A connection is over."""
        with self._guard:
            self._open.discard(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep what is our mistake; that a client goes away is not one."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError | ValueError):
            self.mistakes.append(error)

    def close(self) -> None:
        """Stop listening and cut what is open."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._guard:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Proxy
    tunnel: str | None = None
    tls: ssl.SSLSocket | None = None

    def setup(self) -> None:
        super().setup()
        self.server.track(self.connection)

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()
        self.server.forget(self.connection)
        if self.tls is not None:
            self.tls.close()

    def do_CONNECT(self) -> None:
        self.tunnel = self.path.partition(":")[0].lower()
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.wfile.flush()
        self.server.forget(self.connection)
        self.rfile.close()
        self.tls = self.server.context.wrap_socket(self.connection, server_side=True)
        self.connection = self.tls
        self.server.track(self.tls)
        self.rfile = self.tls.makefile("rb")
        self.wfile = cast("Any", self.tls.makefile("wb"))
        self.close_connection = False

    def _serve(self) -> None:
        try:
            response = self.server.answering(self._read())
        except DroppedError:
            self._cut()
            return
        self.send_response_only(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)
        self.wfile.flush()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = _serve  # noqa: N815

    def _read(self) -> Request:
        target = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._acknowledge()
        body = self.rfile.read(int(headers.get("content-length", 0)))
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = self._read_chunks()
        query = dict(parse_qsl(target.query, keep_blank_values=True))
        host = self.tunnel or ""
        return Request(self.command, host, unquote(target.path), query, headers, body)

    def _acknowledge(self) -> None:
        """Through a proxy a client sends a body only when its head was acknowledged: at once."""
        if hasattr(socket, "TCP_QUICKACK"):
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _read_chunks(self) -> bytes:
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _cut(self) -> None:
        """Reset the connection, as when a machine on the way dies."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Quiet: every request is in `azure.requests`."""
