"""A camera on loopback: H.264 over RTSP, interleaved in the one TCP connection (RFC 2326, 6184)."""

from __future__ import annotations

import base64
import re
import socketserver
import struct
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

_MOST_PAYLOAD = 1200
_CLOCK_HZ = 90_000


def split_units(stream: bytes) -> list[bytes]:
    """Split an Annex B byte stream into NAL units."""
    return [unit.rstrip(b"\0") for unit in re.split(rb"\x00\x00\x00?\x01", stream) if unit]


class Camera:
    """Serves pictures (lists of NAL units) at a rate; `hang` accepts and never answers."""

    def __init__(
        self, pictures: list[list[bytes]], frames_per_s: float, *, hang: bool = False
    ) -> None:
        camera = self
        self.done = threading.Event()

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                if hang:
                    camera.done.wait(60)
                    return
                try:
                    _serve(self, pictures, frames_per_s, camera.done)
                except OSError:
                    return

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def url(self) -> str:
        return f"rtsp://somebody:s3cret@127.0.0.1:{self._server.server_address[1]}/door"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.done.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _serve(
    handler: socketserver.StreamRequestHandler,
    pictures: list[list[bytes]],
    frames_per_s: float,
    done: threading.Event,
) -> None:
    while request := _request(handler):
        method, number = request
        head = f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\nSession: 1\r\n"
        if method == "DESCRIBE":
            body = _description(pictures)
            head += f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
            handler.wfile.write(f"{head}\r\n{body}".encode())
        elif method == "SETUP":
            head += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
            handler.wfile.write(f"{head}\r\n".encode())
        else:
            head += "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            handler.wfile.write(f"{head}\r\n".encode())
        if method == "PLAY":
            _play(handler, pictures, frames_per_s, done)
            return


def _request(handler: socketserver.StreamRequestHandler) -> tuple[str, str] | None:
    first = handler.rfile.readline().decode()
    number = "0"
    while (line := handler.rfile.readline().decode().strip()) != "":
        if line.lower().startswith("cseq:"):
            number = line.split(":")[1].strip()
    return (first.split()[0], number) if first.strip() else None


def _description(pictures: list[list[bytes]]) -> str:
    sets = [unit for unit in pictures[0] if unit[0] & 31 in (7, 8)]
    coded = ",".join(base64.b64encode(unit).decode() for unit in sets)
    return (
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=door\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
        f"a=rtpmap:96 H264/{_CLOCK_HZ}\r\na=control:track0\r\n"
        f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={coded}\r\n"
    )


def _play(
    handler: socketserver.StreamRequestHandler,
    pictures: list[list[bytes]],
    frames_per_s: float,
    done: threading.Event,
) -> None:
    sequence = 0
    for at, units in enumerate(pictures):
        stamp = round(at * _CLOCK_HZ / frames_per_s)
        payloads = [part for unit in units for part in _fragments(unit)]
        for number, payload in enumerate(payloads):
            last = number == len(payloads) - 1
            head = struct.pack(">BBHII", 0x80, 96 | last << 7, sequence & 0xFFFF, stamp, 1)
            sequence += 1
            packet = head + payload
            handler.wfile.write(b"$\0" + struct.pack(">H", len(packet)) + packet)
        if done.wait(0.2 / frames_per_s):
            return


def _fragments(unit: bytes) -> list[bytes]:
    if len(unit) <= _MOST_PAYLOAD:
        return [unit]
    kind, rest = unit[0] & 31, unit[1:]
    cuts = [rest[at : at + _MOST_PAYLOAD] for at in range(0, len(rest), _MOST_PAYLOAD)]
    marks = [0x80] + [0] * (len(cuts) - 2) + [0x40]
    return [
        bytes([unit[0] & 0xE0 | 28, mark | kind]) + cut
        for mark, cut in zip(marks, cuts, strict=True)
    ]
