"""Frames of many videos in, scores out: batches across sources, detectors side by side.

Every source submits its frames from its own thread; each detector has one queue and as many threads
as it may have calls at once, and fills its batches from whatever frames wait, whichever video they
are from. A bounded number of frames is under way, so memory does not grow with a video's length.
A detector that crashes takes the sources of that batch with it, and no other.

A detector may answer fast and say how far it may be off. A frame that such an error could decide is
scored once more, exactly; so the verdict does not depend on the numbers a machine computes in.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from guardian_cli.detectors.base import RoutedDetector
from guardian_cli.scanning.frame_queue import Batch, FrameQueue, Origin, Ticket

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.detectors.base import Answer, Detector
    from guardian_cli.scanning.fusing import Fusing

FRAMES_UNDER_WAY = 128


class ScoringStopped(Exception):  # noqa: N818 - a signal, not an error of the user's
    """The scorer was stopped while a frame waited."""


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
        self._queues: list[FrameQueue] = []
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
            self._queues = [FrameQueue(*numbered) for numbered in enumerate(self.detectors)]
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

    def submit(self, image: NDArray[np.uint8], origin: Origin | None = None) -> Ticket:
        """Hand in one upright BGR image (H x W x 3, uint8) of a source, or of one of its own.

        Blocks while too many are under way.
        """
        while not self._room.acquire(timeout=0.5):
            if self._stopped.is_set():
                raise ScoringStopped
        ticket = Ticket(image, origin or Origin())
        with self._lock:
            if self._stopped.is_set():
                raise ScoringStopped
            if self._started.is_set():
                self._hand_out(ticket)
            else:
                self._early.append(ticket)
        return ticket

    def end(self, origin: Origin) -> None:
        """Say that no more frames of a source are to come for now."""
        origin.more = False
        for waiting in self._queues:
            waiting.wake()

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
        for waiting, detector in zip(self._queues, self.detectors, strict=True):
            self._give_up(waiting.close(), ScoringStopped())
            detector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _serve(self, index: int, detector: Detector) -> None:
        waiting = self._queues[index]
        while (batch := waiting.take()) is not None:
            answer = None
            tickets = [ticket for ticket, _ in batch.frames]
            if self._stopped.is_set():
                self._give_up(tickets, ScoringStopped())
                continue
            try:
                answer = _ask(detector, batch)
                self._answer(index, batch, answer)
            except BaseException as error:  # noqa: BLE001 - handed to every source that waits
                self._give_up(tickets, error)
            finally:
                waiting.answered(batch, answer)

    def _answer(self, index: int, batch: Batch, answer: Answer) -> None:
        with self._lock:
            errors = answer.errors or [{}] * len(batch.frames)
            rows = zip(batch.frames, answer.scores, errors, strict=True)
            for (ticket, _), scores, off_by in rows:
                if ticket.done.is_set():
                    continue
                ticket.scores[index] = scores
                ticket.errors[index] = off_by
                if scores and answer.deployment is not None:
                    ticket.deployments[index] = answer.deployment
                if answer.failure is not None and not scores:
                    ticket.failures[index] = answer.failure
                    ticket.misconfigured |= {index} if answer.misconfigured else set()
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

    def _give_up(self, batch: Iterable[Ticket], error: BaseException) -> None:
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


def _ask(detector: Detector, batch: Batch) -> Answer:
    """Call a detector; its answer has as many scores as the batch has frames, or this raises."""
    images = [image for _, image in batch.frames]
    if batch.route.exactly:
        answer = detector.score_fp32(images)
    elif isinstance(detector, RoutedDetector):
        answer = detector.score_by(batch.route.deployment, images)
    else:
        answer = detector.score(images)
    if {len(answer.scores), len(answer.errors or answer.scores)} != {len(images)}:
        raise RuntimeError(f"{detector.info.name} does not answer each of {len(images)} frames")
    return answer
