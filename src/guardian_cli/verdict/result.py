"""What is known of one source in the end: all that any output format shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardian_cli.media.frames import Coverage, MediaFacts
    from guardian_cli.verdict.category import CategoryVerdict
    from guardian_cli.verdict.policy import DetectorReport, Outcome
    from guardian_cli.verdict.timeline import Sample


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time went, in seconds."""

    wall_s: float
    decode_s: float
    score_s: float


@dataclass(frozen=True, slots=True)
class SourceFailure:
    """Why a source could not be scanned; `kind` is a short stable word for scripts."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class ScanResult:
    """One source's result.

    `source` is as shown, secrets masked, and `source_id` tells masked ones apart; `sha256` is the
    file's, in hex. `samples` are all scored
    frames in any order, kept only where they are wanted. `every_s` is the sampling interval, for
    the reader's eye. `error` is set where the verdict is `error`, and `categories` is empty then.
    `made` says what made the result, as in guardian.scan/1.
    """

    source: str
    sha256: str | None
    verdict: Outcome
    reasons: tuple[str, ...]
    degraded: bool
    media: MediaFacts | None
    coverage: Coverage | None
    detectors: tuple[DetectorReport, ...]
    categories: Mapping[str, CategoryVerdict]
    timing: Timing
    samples: tuple[Sample, ...] | None = None
    error: SourceFailure | None = None
    source_id: str | None = None
    every_s: float | None = None
    made: Mapping[str, Any] | None = None
