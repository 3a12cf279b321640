"""Frames on their way through the scorer, collected into samples in time order."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from guardian_cli.scanning.frame_queue import Origin
from guardian_cli.verdict.timeline import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.media.frames import Frame
    from guardian_cli.scanning.frame_queue import Ticket
    from guardian_cli.scanning.fusing import Fusing
    from guardian_cli.scanning.scorer import Scorer

# Both looks give a frame the same time, to the microsecond.
TIME_DIGITS = 6


@dataclass(slots=True)
class Picture:
    """A picture that is scored once, however many frames in a row show it; first at `time_s`."""

    image: NDArray[np.uint8]
    time_s: float
    ticket: Ticket
    again: bool = False

    def serves(self, frame: Frame) -> bool:
        """Whether the frame is the same picture, to the last bit; a failed score is none to share.

        Anything looser gains next to nothing: a scene that is still for the eye has the camera's
        noise in it, one that is drawn repeats exactly. And nothing small can slip through.
        """
        import numpy as np

        return not self.ticket.failures and np.array_equal(self.image, frame.image)


class _Shot(NamedTuple):
    """A frame on its way: when it is shown, and its scores to be."""

    time_s: float
    shown_until_s: float | None
    ticket: Ticket


class _Repeat(NamedTuple):
    """A frame that shows the same picture as the one before."""

    time_s: float
    shown_until_s: float | None
    picture: Picture

    @property
    def ticket(self) -> Ticket:
        return self.picture.ticket


class SampleCollector:
    """Submits one source's frames and keeps of each only its time and scores."""

    def __init__(
        self,
        scorer: Scorer,
        fusing: Fusing,
        on_sample: Callable[[float], None],
    ) -> None:
        self._scorer = scorer
        self._fusing = fusing
        self._on_sample = on_sample
        self._origin = Origin()
        self.answered: Counter[int] = Counter()
        self.deployments: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self.failures: dict[int, str] = {}
        self.misconfigured: set[int] = set()

    def collect(self, frames: Iterable[Frame]) -> list[Sample]:
        """Score all frames; blocks until the last has been answered."""
        samples: list[Sample] = []
        under_way: deque[_Shot | _Repeat] = deque()
        last: Picture | None = None
        self._origin.more = True
        try:
            for frame in frames:
                if last is not None and last.serves(frame):
                    under_way.append(_Repeat(frame.time_s, frame.shown_until_s, last))
                else:
                    ticket = self._scorer.submit(frame.image, self._origin)
                    last = Picture(frame.image, frame.time_s, ticket)
                    under_way.append(_Shot(frame.time_s, frame.shown_until_s, ticket))
                while under_way and self._is_scored(under_way[0]):
                    samples.append(self._take(under_way.popleft()))
        finally:
            self._scorer.end(self._origin)
        while under_way:
            under_way[0].ticket.wait()
            if self._is_scored(under_way[0]):
                samples.append(self._take(under_way.popleft()))
        return samples

    def _is_scored(self, shot: _Shot | _Repeat) -> bool:
        """Whether a frame's scores are there. A repeat does not share a failure that may pass."""
        ticket = shot.ticket
        if not ticket.done.is_set():
            return False
        if isinstance(shot, _Repeat) and ticket.failures and not shot.picture.again:
            # Once: where the failure lasts, the picture's other frames have failed as well.
            shot.picture.ticket = self._scorer.submit(shot.picture.image, self._origin)
            shot.picture.time_s, shot.picture.again = shot.time_s, True
            return False
        return True

    def _take(self, shot: _Shot | _Repeat) -> Sample:
        ticket = shot.ticket
        ticket.wait()
        for index, scores in ticket.scores.items():
            if scores:
                self.answered[index] += 1
        for index, deployment in ticket.deployments.items():
            self.deployments[index][deployment] += 1
        for index, reason in ticket.failures.items():
            if index in ticket.misconfigured or index not in self.misconfigured:
                self.failures[index] = reason
        self.misconfigured |= ticket.misconfigured
        self._on_sample(shot.time_s)
        fused = self._fusing.fuse(self._scorer.detectors, ticket.scores)
        first_s = shot.picture.time_s if isinstance(shot, _Repeat) else shot.time_s
        same_as_s = first_s if first_s != shot.time_s else None
        return Sample(shot.time_s, fused, same_as_s, shot.shown_until_s)


def frames_not_in(samples: Iterable[Sample], frames: Iterable[Frame]) -> Iterator[Frame]:
    """Leave out frames that were scored already: none is paid for, or counted, twice."""
    times = {round(sample.time_s, TIME_DIGITS) for sample in samples}
    return (frame for frame in frames if round(frame.time_s, TIME_DIGITS) not in times)
