"""Frames on their way through the scorer, collected into samples in time order."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from guardian_cli.scanning.borders import BorderCutter
from guardian_cli.scanning.frame_queue import Origin
from guardian_cli.scanning.observer import ScoredFrame
from guardian_cli.verdict.timeline import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.media.frames import Frame
    from guardian_cli.scanning.frame_queue import PendingFrame
    from guardian_cli.scanning.observer import SourceObserver
    from guardian_cli.scanning.scorer import Scorer

# Both passes give a frame the same time, to the microsecond.
TIME_DIGITS = 6


@dataclass(slots=True)
class Picture:
    """A picture that is scored once, however many frames in a row show it; first at `time_s`.

    `inner` is the part of it inside its bars.
    """

    image: NDArray[np.uint8]
    time_s: float
    pending: PendingFrame
    inner: NDArray[np.uint8] | None = None
    is_retried: bool = False

    def is_in(self, frame: Frame) -> bool:
        """Whether the frame is the same picture, to the last bit; a failed score is not shared.

        Anything looser gains next to nothing: a scene that is still for the eye has the camera's
        noise in it, one that is drawn repeats exactly. And nothing small can slip through.
        """
        import numpy as np

        return not self.pending.failures and np.array_equal(self.image, frame.image)


class _Shown(NamedTuple):
    """A frame on its way: when it is shown, and the picture in it; was that shown before?"""

    time_s: float
    until_s: float | None
    picture: Picture
    is_repeat: bool


class SampleCollector:
    """Submits one source's frames and keeps of each only its time and scores.

    `scored` counts the frames that each detector, by its index, has scored, `not_sent` those that
    a cascade kept from it; `latencies_s` are how long the requests took that scored.
    """

    def __init__(
        self,
        scorer: Scorer,
        on_sample: Callable[[float], None],
        observers: Sequence[SourceObserver] = (),
    ) -> None:
        """`on_sample` is told the time in seconds of each sample, `observers` all there is."""
        self._scorer = scorer
        self._on_sample = on_sample
        self._observers = observers
        self._origin = Origin()
        self._borders = BorderCutter()
        self._is_refined = False
        self.scored: Counter[int] = Counter()
        self.not_sent: Counter[int] = Counter()
        self.deployments: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self.latencies_s: defaultdict[int, list[float]] = defaultdict(list)
        self.failures: dict[int, str] = {}
        self.misconfigured: set[int] = set()

    def collect(self, frames: Iterable[Frame], *, is_refined: bool = False) -> list[Sample]:
        """Score all frames; blocks until the last has been answered."""
        self._is_refined = is_refined
        samples: list[Sample] = []
        under_way: deque[_Shown] = deque()
        picture: Picture | None = None
        # Lets batches of an endpoint's requests wait for this source's next frames.
        self._origin.more = True
        try:
            for frame in frames:
                is_repeat = picture is not None and picture.is_in(frame)
                if picture is None or not is_repeat:
                    inner = self._borders.cut(frame.image, frame.time_s, is_refined=is_refined)
                    pending = self._scorer.submit(frame.image, self._origin, inner)
                    picture = Picture(frame.image, frame.time_s, pending, inner)
                shown = _Shown(frame.time_s, frame.shown_until_s, picture, is_repeat)
                under_way.append(shown)
                # In the order in which they came: a slow first one holds up those behind it.
                while under_way and self._is_scored(under_way[0]):
                    samples.append(self._sample(under_way.popleft()))
        finally:
            self._scorer.end(self._origin)
        while under_way:
            under_way[0].picture.pending.wait()
            if self._is_scored(under_way[0]):
                samples.append(self._sample(under_way.popleft()))
        return samples

    def _is_scored(self, shown: _Shown) -> bool:
        """Whether a frame's scores are there. A repeat does not share a failure that may pass."""
        picture = shown.picture
        if not picture.pending.done.is_set():
            return False
        if shown.is_repeat and picture.pending.failures and not picture.is_retried:
            # Once: where the failure lasts, the picture's other frames have failed as well.
            picture.pending = self._scorer.submit(picture.image, self._origin, picture.inner)
            picture.time_s, picture.is_retried = shown.time_s, True
            return False
        return True

    def _sample(self, shown: _Shown) -> Sample:
        pending = shown.picture.pending
        pending.wait()
        self.scored.update(index for index, scores in pending.scores.items() if scores)
        self.not_sent.update(pending.not_sent)
        for index, deployment in pending.deployments.items():
            self.deployments[index][deployment] += 1
        # A request counts once, however many frames its answer serves.
        if not shown.is_repeat:
            for index, took_s in pending.latencies_s.items():
                self.latencies_s[index].append(took_s)
        for index, reason in pending.failures.items():
            # What the user has to mend is told before what passes.
            if index in pending.misconfigured or index not in self.misconfigured:
                self.failures[index] = reason
        self.misconfigured |= pending.misconfigured
        self._on_sample(shown.time_s)
        first_s = shown.picture.time_s
        same_as_s = first_s if first_s != shown.time_s else None
        detectors = self._scorer.detectors
        not_sent = sorted(detectors[index].info.category or "" for index in pending.not_sent)
        scores = self._scorer.fuse(pending.scores)
        sample = Sample(shown.time_s, scores, same_as_s, shown.until_s, tuple(not_sent))
        if self._observers:
            scored = ScoredFrame(
                shown.picture.image,
                sample,
                pending.scores,
                pending.features,
                pending.deployments,
                self._is_refined,
                pending.errors,
            )
            for observer in self._observers:
                observer.on_frame(scored)
        return sample
