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
START_S = 60.0
_PIPE_BYTES = 1 << 20
_SET_PIPE_SIZE = 1031  # Linux: fcntl.F_SETPIPE_SZ
_MOST_HEADER_BYTES = 1 << 20
_MOST_PIXEL_BYTES = 1 << 31


class WorkerDiedError(Exception):
    """The process ended, or said something that makes no sense; the argument says how it ended."""


class WorkerLateError(Exception):
    """The time budget was used up waiting for the process."""


class Budget:
    """Seconds that may be spent waiting for the worker; time spent elsewhere is free."""

    def __init__(self, seconds: float) -> None:
        self.left_s = seconds


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """One message: its header and, for a frame, the pixels as H x W x 3, uint8."""

    header: dict[str, Any]
    image: NDArray[np.uint8] | None


class WorkerProcess:
    """A running worker. `receive` and `send` from one thread; `kill` from any."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `kill`
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                start_new_session=True,
                bufsize=0,
            )
        except OSError:
            self._said.close()
            raise
        assert self._process.stdin is not None  # noqa: S101 - both are pipes
        assert self._process.stdout is not None  # noqa: S101
        self._in, self._out = self._process.stdin, self._process.stdout
        os.set_blocking(self._out.fileno(), False)
        _widen(self._out.fileno())
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def send(self, order: bytes) -> None:
        """Send an order; raise WorkerDiedError when nobody is there to take it."""
        try:
            self._in.write(order)
        except (BrokenPipeError, ValueError) as error:
            raise WorkerDiedError(self._epitaph()) from error

    def receive(self, budget: Budget) -> Message:
        """Wait for a message; raise WorkerDiedError or WorkerLateError."""
        header_bytes, pixel_bytes = LENGTHS.unpack(self._read(LENGTHS.size, budget))
        if header_bytes > _MOST_HEADER_BYTES or pixel_bytes > _MOST_PIXEL_BYTES:
            raise WorkerDiedError("it sent nonsense")
        try:
            header = json.loads(self._read(header_bytes, budget))
        except ValueError as error:
            raise WorkerDiedError("it sent nonsense") from error
        return Message(header, self._pixels(header, pixel_bytes, budget) if pixel_bytes else None)

    def _pixels(self, header: dict[str, Any], size: int, budget: Budget) -> NDArray[np.uint8]:
        import numpy as np

        image = np.empty(size, np.uint8)
        self._fill(image.data, budget)
        return image.reshape(header["shape"])

    def _read(self, size: int, budget: Budget) -> bytearray:
        buffer = bytearray(size)
        self._fill(memoryview(buffer), budget)
        return buffer

    def _fill(self, view: memoryview, budget: Budget) -> None:
        while len(view):
            try:
                received = os.readv(self._out.fileno(), [view])
            except BlockingIOError:
                self._wait(budget)
                continue
            except (OSError, ValueError) as error:
                raise WorkerDiedError(self._epitaph()) from error
            if not received:
                raise WorkerDiedError(self._epitaph())
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

    def _epitaph(self) -> str:
        """Say how the process ended."""
        try:
            code = self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            return "it closed its output"
        if code >= 0:
            return f"it ended with exit code {code}"
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
        return f"signal {-code}"

    def last_words(self) -> str:
        """Return the last line it wrote on stderr before it took that away, if any."""
        with contextlib.suppress(OSError, ValueError):
            self._said.seek(0)
            lines = self._said.read(65536).decode("utf-8", "replace").split("\n")
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
        for file in (self._in, self._out, self._said):
            with contextlib.suppress(OSError):
                file.close()


def _widen(fd: int) -> None:
    """Let a whole frame fit into the pipe, where the system allows that."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, _SET_PIPE_SIZE, _PIPE_BYTES)
