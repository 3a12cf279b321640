"""Short ways to write timelines down, for the tests of this room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardian_cli.detectors.fusion import CategoryScore
from guardian_cli.media.frames import Coverage
from guardian_cli.verdict.thresholds import Thresholds
from guardian_cli.verdict.timeline import Sample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT = Thresholds(0.5, 0.8)
SEEN = Coverage(10.0, "fast", 250, 11, 1.0, reached_end=True, decode_errors=0, complete=True)


def samples(
    scores: Sequence[float | None],
    *,
    step_s: float = 1.0,
    start_s: float = 0.0,
    category: str = "x",
) -> list[Sample]:
    """One sample every `step_s`, scored in one category."""
    return [
        Sample(round(start_s + i * step_s, 6), {category: CategoryScore(score)})
        for i, score in enumerate(scores)
    ]


def at(scores: Mapping[float, float | None], category: str = "x") -> list[Sample]:
    """Samples at the given times, scored in one category."""
    return [Sample(t, {category: CategoryScore(score)}) for t, score in sorted(scores.items())]
