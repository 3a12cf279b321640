"""The parent's end of the worker process: start it, talk to it within a time budget, end it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardian_cli.media.protocol import LENGTHS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

# -P: a folder of uploads may hold a file named like a module.
COMMAND = (sys.executable, "-P", "-m", "guardian_cli.media.worker.main")
# What steers the libraries has to be there before they are loaded.
_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_IO_MAX_IMAGE_PIXELS": str(1 << 28),
    "OPENCV_LOG_LEVEL": "ERROR",
    # glibc: some memory is kept between small videos instead of being given back and cleared anew,
    # which is 7% of a short clip's decoding.
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(4 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 20),
}
START_S = 60.0
_PIPE_BYTES = 1 << 20
_SET_PIPE_SIZE = 1031  # Linux: fcntl.F_SETPIPE_SZ
# A worker that a hostile file has taken over may claim any length.
_MAX_HEADER_BYTES = 1 << 20
_MAX_PIXEL_BYTES = 1 << 31


class WorkerDiedError(Exception):
    """The process ended, or said something that makes no sense; the argument says how it ended."""


class WorkerLateError(Exception):
    """The time budget was used up waiting for the process."""


@dataclass(slots=True)
class Budget:
    """Seconds that may be spent waiting for the worker; time spent elsewhere is free."""

    left_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """One message: its header and, for a frame, the pixels as H x W x 3, uint8."""

    header: dict[str, Any]
    image: NDArray[np.uint8] | None


class WorkerProcess:
    """A running worker. `receive` and `send` from one thread; `kill` from any."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        # Not a pipe: nobody would empty it, and a full one stops the worker.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `dispose`
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                # The terminal's Ctrl-C is for the parent alone, which ends its workers itself.
                start_new_session=True,
                bufsize=0,
                env={**os.environ, **_ENVIRONMENT},
            )
        except OSError:
            self._stderr.close()
            raise
        assert self._process.stdin is not None  # noqa: S101 - both are pipes
        assert self._process.stdout is not None  # noqa: S101
        self._in, self._out = self._process.stdin, self._process.stdout
        # Not blocking, so that no wait is longer than its budget.
        os.set_blocking(self._out.fileno(), False)
        with contextlib.suppress(OSError):
            # A whole frame fits into the pipe then, where the system allows that.
            fcntl.fcntl(self._out.fileno(), _SET_PIPE_SIZE, _PIPE_BYTES)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def send(self, **order: Any) -> None:
        """Send an order; raise WorkerDiedError when nobody is there to take it."""
        try:
            self._in.write(json.dumps(order).encode("ascii") + b"\n")
        except (BrokenPipeError, ValueError) as error:
            raise WorkerDiedError(self._exit_reason()) from error

    def receive(self, budget: Budget) -> Message:
        """Wait for a message; raise WorkerDiedError or WorkerLateError."""
        lengths = bytearray(LENGTHS.size)
        self._fill(memoryview(lengths), budget)
        header_bytes, pixel_bytes = LENGTHS.unpack(lengths)
        if header_bytes > _MAX_HEADER_BYTES or pixel_bytes > _MAX_PIXEL_BYTES:
            raise WorkerDiedError("it sent nonsense")
        packed = bytearray(header_bytes)
        self._fill(memoryview(packed), budget)
        try:
            header = json.loads(packed)
        except ValueError as error:
            raise WorkerDiedError("it sent nonsense") from error
        if not pixel_bytes:
            return Message(header, None)
        import numpy as np

        image = np.empty(pixel_bytes, np.uint8)
        self._fill(image.data, budget)
        return Message(header, image.reshape(header["shape"]))

    def _fill(self, view: memoryview, budget: Budget) -> None:
        while len(view):
            try:
                received = os.readv(self._out.fileno(), [view])
            except BlockingIOError:
                self._wait(budget)
                continue
            except (OSError, ValueError) as error:
                raise WorkerDiedError(self._exit_reason()) from error
            if not received:
                raise WorkerDiedError(self._exit_reason())
            view = view[received:]

    def _wait(self, budget: Budget) -> None:
        began_s = time.monotonic()
        if budget.left_s <= 0:
            raise WorkerLateError
        try:
            self._selector.select(min(budget.left_s, 1.0))
        except (OSError, ValueError, KeyError) as error:
            raise WorkerDiedError("it was ended") from error
        budget.left_s -= time.monotonic() - began_s

    def _exit_reason(self) -> str:
        try:
            code = self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            return "it closed its output"
        if code >= 0:
            return f"it ended with exit code {code}"
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
        return f"signal {-code}"

    def stderr_tail(self) -> str:
        """Return the last line on its stderr, "" for none; once ready, it writes to a log."""
        with contextlib.suppress(OSError, ValueError):
            self._stderr.seek(0)
            lines = self._stderr.read(65536).decode("utf-8", "replace").split("\n")
            return next((line.strip() for line in reversed(lines) if line.strip()), "")
        return ""

    def kill(self) -> None:
        """End the process at once and wait for it; idempotent. A reader elsewhere gets its end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()

    def dispose(self) -> None:
        """Kill, and free what is held here; nobody may be reading any more."""
        self.kill()
        self._selector.close()
        for file in (self._in, self._out, self._stderr):
            with contextlib.suppress(OSError):
                file.close()
