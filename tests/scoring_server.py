"""A scoring endpoint on loopback that does what a test tells it to.

    with ScoringServer(lambda image: 0.25) as server:      # each frame scores 0.25
        EndpointDetector("nsfw", server.uri, "the key")

- `score` maps one decoded frame (H x W x 3, uint8, BGR) to one item of the answer: a number, a
  mapping, whatever the test wants. The default is `redness`.
- `script` is a list of `Step`s, one for each request in the order they come; then `usual` holds.
  `server.usual` may be changed at any time.
- `deployments`: names and a `score` for each; they answer in turn, or by the request's header, and
  the answer names who gave it. May be changed at any time; one that is not there is 404.
- `key`: a request without `Authorization: Bearer <key>` gets 401.
- `Step(hang=True)` answers only after `server.release()` (or never: closing the server ends it).
- `server.requests` holds what came, `server.most_at_once` the most requests under way together,
  `server.wait_for(n)` returns once n requests have come.

Closing breaks off open connections and joins every thread; nothing sleeps.
"""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

LONGEST_WAIT_S = 30.0
HEADER = "Azureml-Model-Deployment"


def redness(image: NDArray[np.uint8]) -> float:
    """How red a frame is: the share of red in its mean colour, 0..1."""
    blue, green, red = image.reshape(-1, 3).astype(np.float64).mean(axis=0)
    total = blue + green + red
    return float(red / total) if total else 0.0


@dataclass(frozen=True)
class Step:
    """What to do with one request. `body` None means: score the frames and answer the list."""

    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: bool = False
    drop: bool = False  # close the connection without an answer
    claimed_length: int | None = None  # a Content-Length other than the body's


@dataclass(frozen=True)
class Received:
    """One request as it came. `payload` is the JSON, `jpegs` its frames as sent."""

    path: str
    headers: Mapping[str, str]
    payload: Any
    jpegs: list[bytes]
    at_s: float

    @property
    def images(self) -> list[NDArray[np.uint8]]:
        """The frames, decoded: H x W x 3, uint8, BGR."""
        return [_decoded(jpeg) for jpeg in self.jpegs]


class ScoringServer:
    """A threaded HTTP server on 127.0.0.1; see the module's docstring. A context manager."""

    def __init__(
        self,
        score: Callable[[NDArray[np.uint8]], Any] = redness,
        *,
        script: Iterable[Step] = (),
        usual: Step | None = None,
        key: str | None = None,
        path: str = "/score",
        deployments: Mapping[str, Callable[[NDArray[np.uint8]], Any]] | None = None,
    ) -> None:
        self.score = score
        self.usual = usual or Step()
        self.key = key
        self.path = path
        self.deployments = dict(deployments or {})
        self._dealt = 0
        self.requests: list[Received] = []
        self.most_at_once = 0
        self._script = list(script)
        self._at_once = 0
        self._changed = threading.Condition()
        self._released = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def uri(self) -> str:
        """The scoring URI."""
        return f"http://127.0.0.1:{self.port}{self.path}"

    @property
    def frames(self) -> int:
        """How many frames came, over all requests."""
        with self._changed:
            return sum(len(request.jpegs) for request in self.requests)

    def release(self) -> None:
        """Let every request that hangs, now or later, be answered."""
        self._released.set()

    def wait_for(self, count: int) -> None:
        """Return once `count` requests have come; fails the test after a while."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.requests) >= count, LONGEST_WAIT_S):
                raise AssertionError(f"{len(self.requests)} requests came, not {count}")

    def close(self) -> None:
        """End everything that is under way and stop; idempotent."""
        self._released.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.break_off()
        self._server.server_close()

    def begin(self, received: Received) -> Step:
        """Note a request and return what to do with it."""
        with self._changed:
            self.requests.append(received)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            self._changed.notify_all()
            if self.key and received.headers.get("Authorization") != f"Bearer {self.key}":
                return Step(status=401, body=b"{}")
            step = self._script.pop(0) if self._script else self.usual
            return self._deal(step, received) if self.deployments else step

    def _deal(self, step: Step, received: Received) -> Step:
        wanted = received.headers.get(HEADER)
        if wanted is None:
            wanted = list(self.deployments)[self._dealt % len(self.deployments)]
            self._dealt += step.status == 200
        if wanted not in self.deployments:
            return Step(status=404)
        return replace(step, headers={**step.headers, HEADER: wanted})

    def end(self) -> None:
        """Note that a request was answered."""
        with self._changed:
            self._at_once -= 1

    def hang(self) -> None:
        """Wait until `release` or `close`."""
        self._released.wait(LONGEST_WAIT_S)

    def answer(self, step: Step, received: Received) -> bytes:
        """Return the body of the answer."""
        if step.body is not None:
            return step.body
        if step.status != 200:
            return b'{"message": "as the test wants it"}'
        score = self.deployments.get(step.headers.get(HEADER, ""), self.score)
        return json.dumps([score(image) for image in received.images]).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    owner: ScoringServer

    def __init__(self, address: tuple[str, int], handler: type[_Handler]) -> None:
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is part of the game."""

    def break_off(self) -> None:
        with self._open_lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        owner = self.server.owner
        received = self._receive()
        step = owner.begin(received)
        try:
            if step.hang:
                owner.hang()
            if step.drop:
                self.close_connection = True
                return
            self._reply(step, owner.answer(step, received))
        finally:
            owner.end()

    def log_message(self, *args: Any) -> None:
        """Stay silent."""

    def _receive(self) -> Received:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        payload = json.loads(body)
        jpegs = [base64.b64decode(row[0]) for row in payload["input_data"]["data"]]
        headers = {name.title(): value for name, value in self.headers.items()}
        return Received(self.path, headers, payload, jpegs, time.monotonic())

    def _reply(self, step: Step, body: bytes) -> None:
        self.send_response(step.status)
        self.send_header("Content-Type", "application/json")
        length = len(body) if step.claimed_length is None else step.claimed_length
        self.send_header("Content-Length", str(length))
        for name, value in step.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        if length > len(body):
            self.close_connection = True


def _decoded(jpeg: bytes) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None, "a frame that is no JPEG"
    return np.asarray(image, dtype=np.uint8)
