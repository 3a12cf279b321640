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

from guardian_cli.detectors.base import RoutedDetector, ViewDetector

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.detectors.base import Answer, Detector

# A live stream's frames come slowly, and its viewer watches the progress.
MAX_WAIT_S = 0.5
# Sources may share their first request, as pictures do that have no other, once so many first
# requests were answered by the same deployment: where traffic is split, each source is dealt alone.
FIRST_REQUESTS_ALONE = 8


@dataclass(slots=True, eq=False)
class Origin:
    """The source that frames are from. `more` says that frames are still to come.

    `deployments` holds, by a detector's index, who answers this source's requests: None where the
    answers name nobody, missing until the first one.
    """

    more: bool = False
    deployments: dict[int, str | None] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class PendingFrame:
    """A frame under way: filled in by every detector, then `wait` returns.

    `inner` is the part of the image that is inside its bars, None where that is not known.
    `errors` are how far scores may be off; with `in_fp32` it is asked for scores without. Of the
    `failures` those of `misconfigured` are the user's to mend; `features` are of its views, (V, D),
    `latencies_s` how long requests took. It is not yet handed to the detectors in `held`, and never
    was to those in `not_sent`. All are by a detector's index.
    """

    image: NDArray[np.uint8] | None
    origin: Origin
    unanswered: int = 0
    in_fp32: bool = False
    scores: dict[int, Mapping[str, float]] = field(default_factory=dict)
    errors: dict[int, Mapping[str, float]] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    misconfigured: set[int] = field(default_factory=set)
    deployments: dict[int, str] = field(default_factory=dict)
    features: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    latencies_s: dict[int, float] = field(default_factory=dict)
    held: set[int] = field(default_factory=set)
    not_sent: set[int] = field(default_factory=set)
    inner: NDArray[np.uint8] | None = None
    done: threading.Event = field(default_factory=threading.Event)
    crash: BaseException | None = None

    def wait(self) -> None:
        """Block until every detector has answered; raise what a detector crashed with."""
        self.done.wait()
        if self.crash is not None:
            raise self.crash


class Route(NamedTuple):
    """How a frame is to be asked for; frames with the same route may share a request.

    `first` marks a request whose answer decides who scores its sources.
    """

    in_fp32: bool
    deployment: str | None = None
    first: bool = False
    alone: Origin | None = None


class Batch(NamedTuple):
    """Frames for one call, each with its image: the frame itself lets go of it when given up."""

    route: Route
    frames: Sequence[tuple[PendingFrame, NDArray[np.uint8]]]


class FrameQueue:
    """Frames for the detector with this index. Thread-safe; `clock` gives monotonic seconds."""

    def __init__(
        self, index: int, detector: Detector, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._index = index
        self._batch_size = max(1, detector.batch_size)
        self._routed = detector if isinstance(detector, RoutedDetector) else None
        self._without_bars = isinstance(detector, ViewDetector) and detector.without_bars
        self._clock = clock
        # Each frame with the time at which it came.
        self._waiting: dict[PendingFrame, float] = {}
        # Sources whose first request is under way.
        self._asking_first: set[Origin] = set()
        self._first_answers = 0
        self._deployments: set[str | None] = set()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, *frames: PendingFrame) -> None:
        """Add frames; those of one call may share a batch."""
        with self._changed:
            self._waiting |= dict.fromkeys(frames, self._clock())
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
        """Take the batch whose turn it is, or say in how many seconds to try again, if ever."""
        groups: dict[Route, list[PendingFrame]] = {}
        for frame in list(self._waiting):
            if frame.done.is_set():
                # Another detector has crashed on it.
                del self._waiting[frame]
                continue
            route = self._route(frame)
            # Two requests that name no deployment could meet two of them: one at a time.
            if route.first and frame.origin in self._asking_first:
                continue
            group = groups.setdefault(route, [])
            if len(group) < self._batch_size:
                group.append(frame)
        next_s = None
        for route, group in groups.items():
            # Only requests to an endpoint are worth filling; nobody waits to learn who answers.
            is_full = len(group) == self._batch_size
            if self._routed and not route.first and not is_full:
                left_s = self._waiting[group[0]] + MAX_WAIT_S - self._clock()
                if left_s > 0 and all(frame.origin.more for frame in group):
                    next_s = left_s if next_s is None else min(next_s, left_s)
                    continue
            for frame in group:
                del self._waiting[frame]
            # Read once: a frame that is given up from now on lets go of its image.
            images = [(frame, frame.image, frame.inner) for frame in group]
            frames = [
                (frame, inner if self._without_bars and inner is not None else image)
                for frame, image, inner in images
                if image is not None
            ]
            if route.first:
                self._asking_first |= {frame.origin for frame, _ in frames}
            return Batch(route, frames), None
        return None, next_s

    def answered(self, batch: Batch, answer: Answer | None) -> None:
        """Take note of what came of a batch (None: nothing): its sources' next frames may go."""
        if not batch.route.first:
            return
        origins = {frame.origin for frame, _ in batch.frames}
        with self._changed:
            self._asking_first -= origins
            if answer is not None and any(answer.scores):
                self._first_answers += 1
                self._deployments.add(answer.deployment)
                for origin in origins:
                    origin.deployments[self._index] = answer.deployment
            self._changed.notify_all()

    def wake(self) -> None:
        """Choose again: a source has no more frames to come, so what waits for them may go."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> list[PendingFrame]:
        """Give out nothing more; returns what still waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            return list(self._waiting)

    def _route(self, frame: PendingFrame) -> Route:
        if self._routed is None:
            return Route(frame.in_fp32)
        if self._routed.deployment is not None:
            return Route(frame.in_fp32, self._routed.deployment)
        if self._index in frame.origin.deployments:
            return Route(frame.in_fp32, frame.origin.deployments[self._index])
        shared = self._first_answers >= FIRST_REQUESTS_ALONE and len(self._deployments) == 1
        return Route(frame.in_fp32, first=True, alone=None if shared else frame.origin)
