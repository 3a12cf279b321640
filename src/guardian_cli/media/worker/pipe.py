"""The worker's end of the conversation: orders come in on stdin, messages go out through a pipe."""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from guardian_cli.media.protocol import pack

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardian_cli.media.frames import Coverage, Frame, MediaFacts

_PROGRESS_EVERY_S = 1.0
_READ_BYTES = 65536


class StoppedError(Exception):
    """The order that is being carried out is wanted no more."""


class Orders:
    """Orders from standard input, read in a thread; its end is the end of this process."""

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
        # The parent has gone, and nobody waits for what is being decoded.
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
        self._raise_if_stopped()

    def go_on(self, coverage: Callable[[], Coverage]) -> None:
        """Tell how far it is about once a second, so that this is known if the process dies."""
        self._raise_if_stopped()
        if time.monotonic() >= self._progress_due_s:
            self._progress_due_s = time.monotonic() + _PROGRESS_EVERY_S
            self.send({"type": "progress", "coverage": asdict(coverage())})

    def _raise_if_stopped(self) -> None:
        if self._orders.stopped(self._order):
            raise StoppedError

    def send(self, header: dict[str, Any], pixels: memoryview | None = None) -> None:
        """Write one message, all of it."""
        packed = pack({**header, "order": self._order}, len(pixels) if pixels else 0)
        for part in (memoryview(packed), pixels):
            rest = part
            # A pipe may take less than it is given.
            while rest:
                rest = rest[os.write(self._fd, rest) :]
