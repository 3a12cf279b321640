"""What may watch a source's frames as they are scored: whoever keeps stills, features or counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.verdict.result import ScanResult
    from guardian_cli.verdict.timeline import Sample


@dataclass(frozen=True, slots=True)
class ScoredFrame:
    """A frame with its scores: an upright BGR `image` (H x W x 3, uint8), which is not to change.

    `scores` are what each detector, by its index among those of the run, answered for each category
    before fusion; `features` the unit image features of its views, (V, D), by the same index;
    `deployments` who answered; `errors` how far scores may be off, where they may be.
    `is_refined` is set for frames of the second, denser pass.
    """

    image: NDArray[np.uint8]
    sample: Sample
    scores: Mapping[int, Mapping[str, float]]
    features: Mapping[int, NDArray[np.float32]]
    deployments: Mapping[int, str]
    is_refined: bool
    errors: Mapping[int, Mapping[str, float]] = field(default_factory=dict)


class SourceObserver(Protocol):
    """Watches one source, in the thread that scans it."""

    def on_frame(self, frame: ScoredFrame) -> None:
        """Take note of a frame; frames of each pass come in the order of their times."""

    def on_result(self, result: ScanResult) -> None:
        """Take note of how the source ended, once, before its result is written anywhere."""
