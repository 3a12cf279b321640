"""The decoder's own process: `python -m guardian_cli.media.worker.main`, commands in, frames out.

It may crash, hang or run out of memory without harm to the one that started it, and it ends when
that one does: its standard input closes then, whatever way the other has gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import queue
import resource
import signal
import threading
import time
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import SourceError
from guardian_cli.media import protocol as messages
from guardian_cli.media.worker.logs import Log

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardian_cli.media.frames import Coverage, Frame, MediaFacts
    from guardian_cli.media.worker.session import Session

# mallopt: M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD. Some memory is kept between small videos
# instead of being given back and cleared anew: 7 % of a short clip's decoding.
_MALLOC_OPTIONS = ((-8, 2), (-3, 4 << 20), (-1, 8 << 20))
_PROGRESS_EVERY_S = 1.0
_READ_BYTES = 65536
_STEERING = {
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_FFMPEG_READ_ATTEMPTS": "1000000",
    "OPENCV_FFMPEG_DECODE_ATTEMPTS": "1000000",
    "OPENCV_IO_MAX_IMAGE_PIXELS": str(1 << 28),
    "OPENCV_LOG_LEVEL": "ERROR",
}
_UNWANTED = ("OPENCV_FFMPEG_DEBUG", "OPENCV_FFMPEG_LOGLEVEL")


class StoppedError(Exception):
    """The order that is being carried out is wanted no more."""


class Orders:
    """Commands from standard input, read in a thread; its end is the end of this process."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._stopped: set[int] = set()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        rest = b""
        while received := os.read(0, _READ_BYTES):
            *lines, rest = (rest + received).split(b"\n")
            for line in lines:
                order = json.loads(line)
                if order["do"] == "stop":
                    self._stopped.add(order["order"])
                else:
                    self._waiting.put(order)
        os._exit(0)

    def next(self) -> dict[str, Any]:
        """Wait for the next order."""
        return self._waiting.get()

    def stopped(self, order: int) -> bool:
        """Say whether an order is wanted no more."""
        return order in self._stopped


class Pipe:
    """Sends what belongs to one order; raises StoppedError once the order is wanted no more."""

    def __init__(self, fd: int, order: int, orders: Orders) -> None:
        self._fd = fd
        self._order = order
        self._orders = orders
        self._progress_due_s = time.monotonic() + _PROGRESS_EVERY_S

    def facts(self, facts: MediaFacts) -> None:
        """Tell what the source is."""
        self.send({"type": "facts", "facts": asdict(facts)})

    def frame(self, frame: Frame, coverage: Coverage) -> None:
        """Send a picture, when it is shown and until when."""
        header = {
            "type": "frame",
            "time_s": frame.time_s,
            "shown_until_s": frame.shown_until_s,
            "shape": frame.image.shape,
            "coverage": asdict(coverage),
        }
        self.send(header, frame.image.data.cast("B"))
        self.check()

    def go_on(self, coverage: Callable[[], Coverage]) -> None:
        """Send a coverage about once a second, so that there is one if this process dies."""
        self.check()
        if time.monotonic() >= self._progress_due_s:
            self._progress_due_s = time.monotonic() + _PROGRESS_EVERY_S
            self.send({"type": "progress", "coverage": asdict(coverage())})

    def check(self) -> None:
        """Raise StoppedError if the order is wanted no more."""
        if self._orders.stopped(self._order):
            raise StoppedError

    def send(self, header: dict[str, Any], pixels: memoryview | None = None) -> None:
        """Write one message, all of it."""
        packed = messages.pack({**header, "order": self._order}, len(pixels) if pixels else 0)
        for part in (memoryview(packed), pixels):
            rest = part
            while rest:
                rest = rest[os.write(self._fd, rest) :]


class Worker:
    """Carries out orders, one at a time. The last source stays open for a second look."""

    def __init__(self, fd: int, log: Log) -> None:
        self._fd = fd
        self._log = log
        self._orders = Orders()
        self._session: Session | None = None

    def run(self) -> None:
        """Say that we are ready and serve until standard input closes."""
        Pipe(self._fd, 0, self._orders).send({"type": "ready"})
        while True:
            order = self._orders.next()
            pipe = Pipe(self._fd, order["order"], self._orders)
            end: dict[str, Any] = {"type": "end"}
            try:
                self._carry_out(order, pipe)
            except SourceError as error:
                kind, message = self._blame(error, order)
                end = {"type": "error", "kind": kind, "message": message}
            except StoppedError:
                end = {"type": "end"}
            except MemoryError:
                end = {"type": "error", "kind": "memory", "message": _no_memory(order)}
            except Exception as error:  # noqa: BLE001 - whatever fails, the source was not seen
                what = f"the decoder failed ({type(error).__name__})"
                end = {"type": "error", "kind": "crashed", "message": what}
            coverage = self._session.coverage() if self._session is not None else None
            end["coverage"] = asdict(coverage) if coverage is not None else None
            pipe.send(end)

    def _carry_out(self, order: dict[str, Any], pipe: Pipe) -> None:
        from guardian_cli.media.worker.session import Session  # noqa: PLC0415 - loads the libraries

        if order["do"] == "refine" and self._session is not None:
            self._session.redirect(pipe)
            windows = messages.windows_from(order["windows"])
            self._session.refine(windows, order["step_s"])
        if order["do"] == "open":
            if self._session is not None:
                self._session.close()
            settings = messages.settings_from(order["settings"])
            _limit_memory(settings.memory_mb)
            self._session = Session(order["location"], settings, self._log, pipe)
            self._session.run()

    def _blame(self, error: SourceError, order: dict[str, Any]) -> tuple[str, str]:
        """Name memory as the cause where FFmpeg said so and went on without."""
        self._log.read()
        if self._log.out_of_memory:
            return "memory", _no_memory(order)
        return error.kind, str(error)


def _no_memory(order: dict[str, Any]) -> str:
    limit_mb = order.get("settings", {}).get("memory_mb")
    return f"needs more than {limit_mb} MB of memory" if limit_mb else "needs too much memory"


def _limit_memory(memory_mb: int) -> None:
    """Let this process grow by `memory_mb` over what the libraries take up; Linux only."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return
    limit = pages * os.sysconf("SC_PAGE_SIZE") + memory_mb * (1 << 20)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _settle() -> None:
    """Leave no core file, ignore the terminal's Ctrl-C, steer the libraries; before any of them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ.update(_STEERING)
    for name in _UNWANTED:
        os.environ.pop(name, None)
    with contextlib.suppress(AttributeError, OSError):
        for option, value in _MALLOC_OPTIONS:
            ctypes.CDLL(None).mallopt(option, value)


def main() -> None:
    """Keep the pipe for messages, send all other output into the log, and serve."""
    _settle()
    fd = os.dup(1)
    log = Log()
    log.redirect()
    import_module("guardian_cli.media.worker.session")  # loads the libraries before "ready"

    Worker(fd, log).run()


if __name__ == "__main__":
    main()
