"""Frames on their way through the scorer, collected into samples in time order."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, NamedTuple

from guardian_cli.verdict.timeline import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from guardian_cli.media.frames import Frame
    from guardian_cli.scanning.fusing import Fusing
    from guardian_cli.scanning.scorer import Scorer, Ticket

# Both looks give a frame the same time, to the microsecond.
TIME_DIGITS = 6


class _Shot(NamedTuple):
    """A frame on its way: when it is shown, who scores it, and whose scores it takes over."""

    time_s: float
    shown_until_s: float | None
    ticket: Ticket
    same_as_s: float | None


class Scored(NamedTuple):
    """The last frame of a source that was handed in for scoring."""

    frame: Frame
    ticket: Ticket

    def serves(self, frame: Frame) -> bool:
        """Whether the frame is the same picture, to the last bit; a failed score is none to share.

        Anything looser gains next to nothing: a scene that is still for the eye has the camera's
        noise in it, one that is drawn repeats exactly. And nothing small can slip through.
        """
        import numpy as np

        return not self.ticket.failures and np.array_equal(self.frame.image, frame.image)


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
        self.answered: Counter[int] = Counter()
        self.failures: dict[int, str] = {}

    def collect(self, frames: Iterable[Frame]) -> list[Sample]:
        """Score all frames; blocks until the last has been answered."""
        samples: list[Sample] = []
        under_way: deque[_Shot] = deque()
        twin: Scored | None = None
        for frame in frames:
            if twin is not None and twin.serves(frame):
                same_as_s: float | None = twin.frame.time_s
            else:
                twin, same_as_s = Scored(frame, self._scorer.submit(frame.image)), None
            under_way.append(_Shot(frame.time_s, frame.shown_until_s, twin.ticket, same_as_s))
            while under_way and under_way[0].ticket.done.is_set():
                samples.append(self._take(under_way.popleft()))
        while under_way:
            samples.append(self._take(under_way.popleft()))
        return samples

    def _take(self, shot: _Shot) -> Sample:
        ticket = shot.ticket
        ticket.wait()
        for index, scores in ticket.scores.items():
            if scores:
                self.answered[index] += 1
        self.failures.update(ticket.failures)
        self._on_sample(shot.time_s)
        fused = self._fusing.fuse(self._scorer.detectors, ticket.scores)
        return Sample(shot.time_s, fused, shot.same_as_s, shot.shown_until_s)


def frames_not_in(samples: Iterable[Sample], frames: Iterable[Frame]) -> Iterator[Frame]:
    """Leave out frames that were scored already: none is paid for, or counted, twice."""
    times = {round(sample.time_s, TIME_DIGITS) for sample in samples}
    return (frame for frame in frames if round(frame.time_s, TIME_DIGITS) not in times)
