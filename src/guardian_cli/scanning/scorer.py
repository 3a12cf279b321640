"""Frames of many videos in, scores out: batches across sources, detectors side by side.

Every source submits its frames from its own thread; each detector has one queue and as many threads
as it may have calls at once, and fills its batches from whatever frames wait, whichever video they
are from. A bounded number of frames is under way, so memory does not grow with a video's length.

A detector may answer fast and say how far it may be off. A frame that such an error could decide is
scored once more, exactly; so the verdict does not depend on the numbers a machine computes in.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.detectors.base import Answer, Detector
    from guardian_cli.scanning.fusing import Fusing

FRAMES_UNDER_WAY = 128


class ScoringStopped(Exception):  # noqa: N818 - a signal, not an error of the user's
    """The scorer was stopped while a frame waited."""


@dataclass(slots=True)
class Ticket:
    """A frame under way: filled in by every detector, then `wait` returns.

    `errors` are how far scores may be off; with `exactly` it is asked for scores without.
    """

    image: NDArray[np.uint8] | None
    waiting: int = 0
    exactly: bool = False
    scores: dict[int, Mapping[str, float]] = field(default_factory=dict)
    errors: dict[int, Mapping[str, float]] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)
    crash: BaseException | None = None

    def wait(self) -> None:
        """Block until every detector has answered; raise what a detector died of."""
        self.done.wait()
        if self.crash is not None:
            raise self.crash


class Scorer:
    """Runs detectors over submitted frames. Use as a context manager; `stop` ends it at once."""

    def __init__(
        self, detectors: Sequence[Detector] | None = None, fusing: Fusing | None = None
    ) -> None:
        """Run `detectors`; with None, frames wait until `start` brings them.

        `fusing` says which errors matter; without it each does.
        """
        self._fusing = fusing
        self.detectors: tuple[Detector, ...] = ()
        self._queues: list[queue.SimpleQueue[Ticket | None]] = []
        self._room = threading.Semaphore(FRAMES_UNDER_WAY)
        self._lock = threading.Lock()
        self._started = threading.Event()
        self._stopped = threading.Event()
        self._early: list[Ticket] = []
        if detectors is not None:
            self.start(detectors)

    def start(self, detectors: Sequence[Detector]) -> None:
        """Begin to score, with frames that were handed in already first; call it once."""
        threads = []
        with self._lock:
            self.detectors = tuple(detectors)
            self._queues = [queue.SimpleQueue() for _ in self.detectors]
            for index, detector in enumerate(self.detectors):
                for _ in range(max(1, detector.concurrency)):
                    arguments = (index, detector)
                    threads.append(
                        threading.Thread(target=self._serve, args=arguments, daemon=True)
                    )
            self._started.set()
            for ticket in self._early:
                self._hand_out(ticket)
            self._early.clear()
        for thread in threads:
            thread.start()

    def wait_until_started(self) -> None:
        """Block until `detectors` are known; raise ScoringStopped if they never will be."""
        self._started.wait()
        if self._stopped.is_set():
            raise ScoringStopped

    def submit(self, image: NDArray[np.uint8]) -> Ticket:
        """Hand in one upright BGR image (H x W x 3, uint8); blocks while too many are under way."""
        while not self._room.acquire(timeout=0.5):
            if self._stopped.is_set():
                raise ScoringStopped
        ticket = Ticket(image)
        with self._lock:
            if self._stopped.is_set():
                raise ScoringStopped
            if self._started.is_set():
                self._hand_out(ticket)
            else:
                self._early.append(ticket)
        return ticket

    def _hand_out(self, ticket: Ticket) -> None:
        ticket.waiting = len(self.detectors)
        if not self.detectors:
            self._finish(ticket)
        for waiting in self._queues:
            waiting.put(ticket)

    def stop(self) -> None:
        """End the threads; frames that wait get ScoringStopped."""
        with self._lock:
            self._stopped.set()
            self._started.set()
            early, self._early = self._early, []
        self._give_up(early, ScoringStopped())
        for index, detector in enumerate(self.detectors):
            for _ in range(max(1, detector.concurrency)):
                self._queues[index].put(None)
            detector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _serve(self, index: int, detector: Detector) -> None:
        waiting = self._queues[index]
        while (first := waiting.get()) is not None:
            batch = [first, *_more(waiting, detector.batch_size - 1)]
            if self._stopped.is_set():
                self._give_up(batch, ScoringStopped())
                continue
            # Told apart before any is answered: an answer may send a frame back to be asked again.
            rough = [ticket for ticket in batch if not ticket.exactly]
            exact = [ticket for ticket in batch if ticket.exactly]
            if rough:
                self._ask(index, detector.score, rough)
            if exact:
                self._ask(index, detector.score_exactly, exact)

    def _ask(
        self,
        index: int,
        score: Callable[[Sequence[NDArray[np.uint8]]], Answer],
        group: list[Ticket],
    ) -> None:
        try:
            images = [ticket.image for ticket in group if ticket.image is not None]
            self._answer(index, group, score(images))
        except BaseException as error:  # noqa: BLE001 - handed to every source that waits
            self._give_up(group, error)

    def _answer(self, index: int, group: list[Ticket], answer: Answer) -> None:
        with self._lock:
            errors = answer.errors or [{}] * len(group)
            for ticket, scores, off_by in zip(group, answer.scores, errors, strict=True):
                ticket.scores[index] = scores
                ticket.errors[index] = off_by
                if answer.failure is not None and not scores:
                    ticket.failures[index] = answer.failure
                ticket.waiting -= 1
                if ticket.waiting == 0:
                    self._settle(ticket)

    def _settle(self, ticket: Ticket) -> None:
        """Finish a frame; or, where an error could decide, have it scored exactly first."""
        rough = [index for index, errors in ticket.errors.items() if any(errors.values())]
        if not rough or self._is_decided(ticket):
            self._finish(ticket)
            return
        if self._stopped.is_set():
            # The threads are told to end already: nobody would take it from a queue.
            ticket.crash = ScoringStopped()
            self._finish(ticket)
            return
        ticket.exactly, ticket.waiting = True, len(rough)
        for index in rough:
            self._queues[index].put(ticket)

    def _is_decided(self, ticket: Ticket) -> bool:
        if self._fusing is None:
            return False
        return self._fusing.is_decided(self.detectors, ticket.scores, ticket.errors)

    def _give_up(self, batch: list[Ticket], error: BaseException) -> None:
        with self._lock:
            for ticket in batch:
                if not ticket.done.is_set():
                    ticket.crash = error
                    self._finish(ticket)

    def _finish(self, ticket: Ticket) -> None:
        if ticket.done.is_set():
            return
        ticket.image = None
        ticket.done.set()
        self._room.release()


def _more(waiting: queue.SimpleQueue[Ticket | None], most: int) -> list[Ticket]:
    """What waits already, up to `most`; never blocks."""
    batch: list[Ticket] = []
    while len(batch) < most:
        try:
            ticket = waiting.get_nowait()
        except queue.Empty:
            break
        if ticket is None:
            waiting.put(None)
            break
        batch.append(ticket)
    return batch
