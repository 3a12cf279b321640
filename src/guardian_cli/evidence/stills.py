"""Stills of what was found: small pictures of the frames that may become a segment's peak."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from guardian_cli.media.jpeg import encode_jpeg

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.config import Config
    from guardian_cli.scanning.observer import ScoredFrame
    from guardian_cli.verdict.result import ScanResult

SHORT_SIDE_PX = 180
QUALITY = 75
# Of each category, about 10 kB each: more than a person looks at, whatever a video does.
MAX_STILLS = 48


class Still(NamedTuple):
    """A JPEG of the frame at `time_s`, for the segment of `category` that peaks at `peak_s`."""

    category: str
    peak_s: float
    time_s: float
    jpeg: bytes


class _Kept(NamedTuple):
    score: float
    time_s: float
    jpeg: bytes


OnStills = Callable[["ScanResult", "list[Still]"], None]


def keep_stills(config: Config, on_stills: OnStills | None) -> list[StillKeeper]:
    """Return what keeps the stills of one source, if anybody wants them."""
    if on_stills is None:
        return []
    # The lowest that can apply: a calibrated threshold only rises, with a video's length.
    review = {name: one.review for name, one in config.categories.items()}
    return [StillKeeper(review, config.scan.every, on_stills)]


class StillKeeper:
    """Observes one source; keeps the best frame of each stretch at or above `review`.

    That is one image for each category that is above now, and MAX_STILLS small JPEGs of it.
    `on_stills` gets those of the segments' peaks when the source has ended.
    """

    def __init__(
        self,
        review: Mapping[str, float],
        every_s: float,
        on_stills: OnStills,
    ) -> None:
        """`review` are the categories' thresholds, `every_s` is the sampling interval."""
        self._review = review
        self._every_s = every_s
        self._on_stills = on_stills
        self._best: dict[str, tuple[float, float, NDArray[np.uint8]]] = {}
        self._kept: dict[str, list[_Kept]] = {name: [] for name in review}
        self._last_s = 0.0
        self._is_refined = False

    def on_frame(self, frame: ScoredFrame) -> None:
        """Keep the frame while no other of its stretch is higher."""
        time_s = frame.sample.time_s
        # Two windows of a refinement may be side by side only in the order of their frames.
        if frame.is_refined and (not self._is_refined or time_s - self._last_s > self._every_s / 2):
            self._end_stretches()
        self._is_refined, self._last_s = frame.is_refined, time_s
        for category, review in self._review.items():
            score = frame.sample.fused(category)
            best = self._best.get(category)
            if score is None or score < review:
                self._end_stretch(category)
            elif best is None or score > best[0]:
                self._best[category] = score, time_s, frame.image

    def on_result(self, result: ScanResult) -> None:
        """Hand over a still for each segment, the highest peaks first where there are too many."""
        self._end_stretches()
        found = [
            (segment, name) for name, one in result.categories.items() for segment in one.segments
        ]
        stills = []
        for segment, name in found:
            nearest = min(
                (
                    one
                    for one in self._kept.get(name, ())
                    if segment.start_s - 1e-6 <= one.time_s <= segment.end_s + 1e-6
                ),
                # The peak's own frame, unless a higher one of the same stretch has taken its place.
                key=lambda one: abs(one.time_s - segment.peak_s),
                default=None,
            )
            if nearest is not None:
                stills.append(Still(name, segment.peak_s, nearest.time_s, nearest.jpeg))
        # Pictures go at once: whoever keeps this observer must not keep them.
        self._kept.clear()
        self._on_stills(result, stills)

    def _end_stretches(self) -> None:
        for category in list(self._best):
            self._end_stretch(category)

    def _end_stretch(self, category: str) -> None:
        """Make the stretch's best frame small; the lowest of too many goes."""
        best = self._best.pop(category, None)
        if best is None:
            return
        score, time_s, image = best
        kept = self._kept[category]
        # Before the JPEG is made, which takes longer than the question.
        if len(kept) == MAX_STILLS and score <= kept[0].score:
            return
        # A heap, so that the lowest is at hand when one more comes.
        heapq.heappush(kept, _Kept(score, time_s, encode_jpeg(image, SHORT_SIDE_PX, QUALITY)))
        if len(kept) > MAX_STILLS:
            heapq.heappop(kept)
