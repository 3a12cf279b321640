"""Frames on their way through the scorer, collected into samples in time order."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from guardian_cli.detectors.fusion import CategoryScore, FusionWeights, score_category
from guardian_cli.verdict.timeline import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from guardian_cli.media.frames import Frame
    from guardian_cli.scanning.scorer import Scorer, Ticket


class SampleCollector:
    """Submits one source's frames and keeps of each only its time and scores."""

    def __init__(
        self,
        scorer: Scorer,
        categories: Sequence[str],
        weights: FusionWeights,
        on_sample: Callable[[float], None],
    ) -> None:
        self._scorer = scorer
        self._categories = categories
        self._weights = weights
        self._on_sample = on_sample
        self.answered: Counter[int] = Counter()
        self.failures: dict[int, str] = {}

    def collect(self, frames: Iterable[Frame]) -> list[Sample]:
        """Score all frames; blocks until the last has been answered."""
        samples: list[Sample] = []
        under_way: deque[tuple[float, Ticket]] = deque()
        for frame in frames:
            under_way.append((frame.time_s, self._scorer.submit(frame.image)))
            while under_way and under_way[0][1].done.is_set():
                samples.append(self._take(*under_way.popleft()))
        while under_way:
            samples.append(self._take(*under_way.popleft()))
        return samples

    def _take(self, time_s: float, ticket: Ticket) -> Sample:
        ticket.wait()
        for index, scores in ticket.scores.items():
            if scores:
                self.answered[index] += 1
        self.failures.update(ticket.failures)
        self._on_sample(time_s)
        return Sample(time_s, self._fused(ticket.scores))

    def _fused(self, answers: Mapping[int, Mapping[str, float]]) -> dict[str, CategoryScore]:
        by_name = [
            (detector.info.name, answers.get(index, {}))
            for index, detector in enumerate(self._scorer.detectors)
        ]
        return {
            category: score_category(
                **{
                    name: next(
                        (
                            scores[category]
                            for who, scores in by_name
                            if who == name and category in scores
                        ),
                        None,
                    )
                    for name in ("clip", "endpoint", "nudenet")
                },
                weights=self._weights,
            )
            for category in self._categories
        }
