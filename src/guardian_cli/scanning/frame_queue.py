"""The frames that wait for one detector, handed out as batches from whatever sources they are.

A detector in this process takes what waits, at once. Requests to an endpoint differ in two ways.
One source is scored by one deployment: its first request goes out alone, and whoever answers it is
asked for by name from then on, so a batch holds only frames for the same deployment. And while all
sources of a batch have frames to come, it waits to be filled: nobody needs the scores before.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from guardian_cli.detectors.base import RoutedDetector

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.detectors.base import Answer, Detector

# A live stream's frames come slowly, and its viewer looks at the progress.
LONGEST_WAIT_S = 0.5
# Sources may share their first request, as pictures do that have no other, once so many first
# requests were answered by the same deployment: where traffic is split, each source is dealt alone.
FIRST_REQUESTS_ALONE = 8


@dataclass(slots=True, eq=False)
class Origin:
    """The source that frames are from. `more` says that frames are still to come.

    `deployments` tells by a detector's index who answers this source's requests: None where the
    answers name nobody, missing until the first one.
    """

    more: bool = False
    deployments: dict[int, str | None] = field(default_factory=dict)


@dataclass(slots=True)
class Ticket:
    """A frame under way: filled in by every detector, then `wait` returns.

    `errors` are how far scores may be off; with `exactly` it is asked for scores without. Of the
    `failures` those of `misconfigured` are the user's to mend. All are by a detector's index.
    """

    image: NDArray[np.uint8] | None
    origin: Origin = field(default_factory=Origin)
    waiting: int = 0
    exactly: bool = False
    scores: dict[int, Mapping[str, float]] = field(default_factory=dict)
    errors: dict[int, Mapping[str, float]] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    misconfigured: set[int] = field(default_factory=set)
    deployments: dict[int, str] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)
    crash: BaseException | None = None

    def wait(self) -> None:
        """Block until every detector has answered; raise what a detector died of."""
        self.done.wait()
        if self.crash is not None:
            raise self.crash


class Route(NamedTuple):
    """How a frame is to be asked for; frames with the same route may share a request.

    `first` marks a request whose answer decides who scores its sources.
    """

    exactly: bool
    deployment: str | None = None
    first: bool = False
    alone: Origin | None = None


class Batch(NamedTuple):
    """Frames for one call. A ticket and its image are one thing: others may give the ticket up."""

    route: Route
    frames: Sequence[tuple[Ticket, NDArray[np.uint8]]]


class _Waiting(NamedTuple):
    ticket: Ticket
    since_s: float


class FrameQueue:
    """Frames for the detector with this index. Thread-safe; `clock` gives monotonic seconds."""

    def __init__(
        self, index: int, detector: Detector, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._index = index
        self._batch_size = max(1, detector.batch_size)
        self._routed = detector if isinstance(detector, RoutedDetector) else None
        self._clock = clock
        self._waiting: list[_Waiting] = []
        self._asking_first: set[Origin] = set()
        self._first_answers = 0
        self._deployments: set[str | None] = set()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, ticket: Ticket) -> None:
        """Add a frame."""
        with self._changed:
            self._waiting.append(_Waiting(ticket, self._clock()))
            self._changed.notify_all()

    def take(self) -> Batch | None:
        """Wait for a batch; None once the queue is closed."""
        with self._changed:
            while not self._closed:
                batch, wait_s = self.choose()
                if batch is not None:
                    return batch
                self._changed.wait(wait_s)
        return None

    def choose(self) -> tuple[Batch | None, float | None]:
        """Take the batch whose turn it is, or say in how many seconds to look again, if ever."""
        self._waiting = [one for one in self._waiting if not one.ticket.done.is_set()]
        groups: dict[Route, list[_Waiting]] = {}
        for one in self._waiting:
            route = self._route(one.ticket)
            if route.first and one.ticket.origin in self._asking_first:
                continue
            group = groups.setdefault(route, [])
            if len(group) < self._batch_size:
                group.append(one)
        wait_s = None
        for route, group in groups.items():
            left_s = self._left_s(route, group)
            if left_s <= 0:
                return self._hand_out(route, group), None
            wait_s = left_s if wait_s is None else min(wait_s, left_s)
        return None, wait_s

    def answered(self, batch: Batch, answer: Answer | None) -> None:
        """Take note of what came of a batch (None: nothing): its sources' next frames may go."""
        if not batch.route.first:
            return
        origins = {ticket.origin for ticket, _ in batch.frames}
        with self._changed:
            self._asking_first -= origins
            if answer is not None and any(answer.scores):
                self._first_answers += 1
                self._deployments.add(answer.deployment)
                for origin in origins:
                    origin.deployments[self._index] = answer.deployment
            self._changed.notify_all()

    def wake(self) -> None:
        """Look again: a source has no more frames to come, so what waits for them may go."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> list[Ticket]:
        """Give out nothing more; returns what still waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            return [one.ticket for one in self._waiting]

    def _route(self, ticket: Ticket) -> Route:
        if self._routed is None:
            return Route(ticket.exactly)
        if self._routed.deployment is not None:
            return Route(ticket.exactly, self._routed.deployment)
        if self._index in ticket.origin.deployments:
            return Route(ticket.exactly, ticket.origin.deployments[self._index])
        shared = self._first_answers >= FIRST_REQUESTS_ALONE and len(self._deployments) == 1
        return Route(ticket.exactly, first=True, alone=None if shared else ticket.origin)

    def _left_s(self, route: Route, group: Sequence[_Waiting]) -> float:
        """How many seconds a group may still wait for more frames to share its request."""
        full = len(group) == self._batch_size
        if self._routed is None or route.first or full:
            return 0.0
        if not all(one.ticket.origin.more for one in group):
            return 0.0
        return group[0].since_s + LONGEST_WAIT_S - self._clock()

    def _hand_out(self, route: Route, group: Sequence[_Waiting]) -> Batch:
        taken = {id(one.ticket) for one in group}
        self._waiting = [one for one in self._waiting if id(one.ticket) not in taken]
        # Read once: a ticket that is given up from now on lets go of its image.
        images = [(one.ticket, one.ticket.image) for one in group]
        frames = [(ticket, image) for ticket, image in images if image is not None]
        if route.first:
            self._asking_first |= {ticket.origin for ticket, _ in frames}
        return Batch(route, frames)
