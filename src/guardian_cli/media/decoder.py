"""Frames of a file or stream, decoded in a process that may crash, hang or eat memory.

    with Decoder() as decoder:
        decoding = decoder.open("video.mp4", DecodeSettings())
        for frame in decoding.frames(): ...
        decoding.coverage

The process is started when it is needed, used for one source after another, and replaced when it
dies. SourceError's `kind` is one of: missing, empty, unreadable, playlist, no-video, encrypted,
no-frames, crashed, timeout, memory, stopped (closed from another thread).
"""

from __future__ import annotations

import errno
import itertools
import math
import threading
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from guardian_cli.errors import SourceError
from guardian_cli.media.frames import DEFAULT_TIMEOUT_S, Coverage, Frame, MediaFacts
from guardian_cli.media.process import (
    COMMAND,
    START_S,
    Budget,
    WorkerDiedError,
    WorkerLateError,
    WorkerProcess,
)
from guardian_cli.media.protocol import coverage_from

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guardian_cli.media.frames import DecodeSettings, Window
    from guardian_cli.media.process import Message

_STOP_S = 2.0
_STREAMS = ("rtsp://", "rtsps://")


class Decoder:
    """Owns one worker process. One source at a time: opening the next closes the one before."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = command
        self._worker: WorkerProcess | None = None
        # Each order has its own number, by which a late answer to one given up is known.
        self.orders = itertools.count(1)
        self._decoding: SourceDecoding | None = None

    def open(self, location: str, settings: DecodeSettings) -> SourceDecoding:
        """Return a source to be decoded: a local path, or an rtsp:// URL. Nothing happens yet."""
        if self._decoding is not None:
            self._decoding.close()
        if not location.casefold().startswith(_STREAMS):
            location = str(Path(location).absolute())
        self._decoding = SourceDecoding(self, location, settings)
        return self._decoding

    def worker(self) -> WorkerProcess:
        """Return the running worker, started if need be; raise SourceError if it won't run."""
        if self._worker is None:
            try:
                worker = WorkerProcess(self._command)
            except OSError as error:
                # As it is, it would read as if the source could not be opened.
                limit = " (see ulimit -u)" if error.errno == errno.EAGAIN else ""
                message = f"no decoder process can be started: {error.strerror or error}{limit}"
                raise SourceError(message, kind="crashed") from error
            try:
                worker.receive(Budget(START_S))
            except (WorkerDiedError, WorkerLateError) as error:
                why = worker.stderr_tail() or str(error)
                worker.dispose()
                message = f"the decoder process does not start ({why})"
                raise SourceError(message, kind="crashed") from None
            except BaseException:
                # Ctrl-C, which a program that uses guardian as a library may outlive.
                worker.dispose()
                raise
            self._worker = worker
        return self._worker

    def discard(self) -> None:
        """End the worker; the next source gets a new one."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.dispose()

    def kill(self) -> None:
        """End the worker from another thread than the one that reads from it."""
        if self._worker is not None:
            self._worker.kill()

    @property
    def pid(self) -> int | None:
        """The worker's process number while there is one."""
        return self._worker.pid if self._worker is not None else None

    def close(self) -> None:
        """End the worker; idempotent."""
        if self._decoding is not None:
            self._decoding.close()
        self.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SourceDecoding:
    """One source being decoded (see `Decoding`). Use it in one thread; `close` from any."""

    def __init__(self, decoder: Decoder, location: str, settings: DecodeSettings) -> None:
        self.facts: MediaFacts | None = None
        self.coverage = Coverage(None, settings.mode)
        self._decoder = decoder
        self._location = location
        self._settings = settings
        self._allowed_s = settings.timeout_s or _allowance_s(settings.for_s)
        self._budget = Budget(self._allowed_s)
        self._order: int | None = None
        self._opened = False
        self._closed = False
        self._reading = threading.Lock()

    def frames(self) -> Iterator[Frame]:
        """Yield the samples in time order; raise SourceError when the source can't be scanned."""
        if self._opened or self._closed:
            raise RuntimeError("a source is decoded once")
        self._opened = True
        settings = asdict(self._settings)
        yield from self._carry_out(do="open", location=self._location, settings=settings)

    def refine(self, windows: Sequence[Window], step_s: float) -> Iterator[Frame]:
        """Yield frames at least `step_s` apart inside the windows, after `frames`, in order."""
        if not self._opened or self._closed or self._order is not None or not windows:
            return
        coverage, stretches = self.coverage, [asdict(window) for window in windows]
        try:
            yield from self._carry_out(do="refine", windows=stretches, step_s=step_s)
        finally:
            # A refinement sees a second time what the first pass has counted already.
            self.coverage = coverage

    def _carry_out(self, **command: Any) -> Iterator[Frame]:
        worker = self._decoder.worker()
        self._order = order = next(self._decoder.orders)
        try:
            worker.send(order=order, **command)
            while (message := self._receive(worker, order)).header["type"] != "end":
                header = message.header
                if header["type"] == "error":
                    self._order = None
                    raise SourceError(header["message"], kind=header["kind"])
                if message.image is not None:
                    yield Frame(header["time_s"], message.image, header["shown_until_s"])
            self._order = None
        except WorkerDiedError as death:
            if self._closed:
                raise self._lost("given up before its end", "stopped") from None
            raise self._lost(f"the decoder crashed on it ({death})", "crashed") from None
        except WorkerLateError:
            is_over = self._budget.left_s <= 0
            late = f"not decoded within {self._allowed_s:g} s" if is_over else "the decoder hangs"
            raise self._lost(late, "timeout") from None
        finally:
            if self._order is not None:
                self._stop(worker)

    def _receive(self, worker: WorkerProcess, order: int) -> Message:
        """Wait for the next message that belongs to an order, and note what it tells."""
        while True:
            # A length can be claimed that nothing has: however much time it is given, a worker that
            # says nothing for as long as any source is given hangs. It speaks every second.
            quiet_s = self._settings.timeout_s or DEFAULT_TIMEOUT_S
            wait = Budget(min(self._budget.left_s, quiet_s))
            self._budget.left_s -= wait.left_s
            try:
                with self._reading:
                    message = worker.receive(wait)
            finally:
                self._budget.left_s += wait.left_s
            header = message.header
            if header.get("order") != order:
                continue
            if header.get("coverage") is not None:
                self.coverage = coverage_from(header["coverage"])
            if header["type"] == "facts":
                self.facts = MediaFacts(**header["facts"])
                if self._settings.timeout_s is None:
                    allowed_s = max(self._allowed_s, _allowance_s(self.facts.duration_s))
                    self._budget.left_s += allowed_s - self._allowed_s
                    self._allowed_s = allowed_s
            return message

    def _lost(self, message: str, kind: str) -> SourceError:
        """Give the worker up; what was seen until then stays known, and is never complete."""
        self._order = None
        self._closed = True
        self.coverage = replace(self.coverage, reached_end=False, complete=False)
        self._decoder.discard()
        return SourceError(message, kind=kind)

    def _stop(self, worker: WorkerProcess) -> None:
        """Make the worker drop what it does, gently if it listens."""
        order, self._order = self._order, None
        self.coverage = replace(self.coverage, reached_end=False, complete=False)
        try:
            worker.send(do="stop", order=order)
            budget = Budget(_STOP_S)
            while True:
                header = worker.receive(budget).header
                if header.get("order") == order and header["type"] in ("end", "error"):
                    return
        except (WorkerDiedError, WorkerLateError):
            self._closed = True
            self._decoder.discard()

    def close(self) -> None:
        """Give the worker back; idempotent. From another thread it ends the worker at once."""
        self._closed = True
        if self._order is None:
            return
        # Who reads can't be told anything but by the end of what it reads from.
        if not self._reading.acquire(blocking=False):
            self._decoder.kill()
            return
        self._reading.release()
        self._stop(self._decoder.worker())


def _allowance_s(length_s: float | None) -> float:
    """Return how long a source of this length may take to decode when nobody says so."""
    if length_s is None or not math.isfinite(length_s):
        return DEFAULT_TIMEOUT_S
    return max(DEFAULT_TIMEOUT_S, 2 * length_s)
