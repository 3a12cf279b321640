"""What is known of one source in the end: all that any output format shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardian_cli.detectors.base import Status
    from guardian_cli.media.frames import Coverage, MediaFacts
    from guardian_cli.verdict.thresholds import Thresholds
    from guardian_cli.verdict.timeline import Sample

Verdict = Literal["allow", "review", "block"]
Outcome = Literal["allow", "review", "block", "error"]


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of time, in seconds, in which a category was found.

    `peak` is the highest fused score in it, reached at `peak_s`; `end_s` is when something else is
    seen, or when sampling ended.
    """

    start_s: float
    end_s: float
    peak: float
    peak_s: float


@dataclass(frozen=True, slots=True)
class CategoryVerdict:
    """A category's outcome; `score` is None where no detector could score it.

    `at_s` is when the score was reached. `unconfirmed` are samples at or above `review` that no
    other sample confirmed, as (time_s, score), highest first. `is_capped` means that a higher score
    counts for `review` only, because nothing confirms it. `scored` of `samples` frames had a score.
    `level`, where it was asked for, is the highest `review` threshold that it would reach, and
    `pictures` how many the first pass saw.
    For drawing: `timeline` has at most `category.TIMELINE_CELLS` fused scores, each the highest of
    a stretch of `step_s` seconds, to a thousandth, None where nothing was scored; and `thresholds`.
    """

    score: float | None
    verdict: Verdict
    segments: tuple[Segment, ...] = ()
    at_s: float | None = None
    unconfirmed: tuple[tuple[float, float], ...] = ()
    is_capped: bool = False
    scored: int = 0
    samples: int = 0
    timeline: tuple[float | None, ...] = ()
    step_s: float = 0.0
    thresholds: Thresholds | None = None
    level: float | None = None
    pictures: int = 0


@dataclass(frozen=True, slots=True)
class DetectorReport:
    """What became of a detector on one source; `frames` counts those it scored there.

    `deployments` counts them by the endpoint's deployment that answered. `misconfigured` means that
    it is degraded because of a wrong key, address or request. `not_sent` counts frames that it was
    not asked about, because a cheaper detector was sure (`scan.cascade`). `latency_ms` has `p50`
    and `p95` of the requests that scored these frames, each frame counted, of an endpoint.
    """

    name: str
    category: str | None
    model: str | None
    status: Status
    reason: str | None = None
    frames: int = 0
    deployments: Mapping[str, int] = field(default_factory=dict)
    misconfigured: bool = False
    latency_ms: Mapping[str, float] | None = None
    not_sent: int = 0

    @property
    def label(self) -> str:
        """Its name for people: `clip`, or `nsfw endpoint`."""
        return f"{self.category} {self.name}" if self.name == "endpoint" else self.name


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
    file's, in hex. `reasons` are short lines, the worst first. `samples` are all scored frames in
    any order, kept only where they are wanted. `every_s` is the sampling interval. `error` is set
    where the verdict is `error`, and `categories` is empty then. `made` says what made the result,
    as in guardian.scan/1. `needs_rescan` says that frames were missing when it was decided again.
    """

    source: str
    sha256: str | None
    verdict: Outcome
    reasons: tuple[str, ...]
    degraded: bool
    media: MediaFacts | None
    coverage: Coverage
    detectors: tuple[DetectorReport, ...]
    categories: Mapping[str, CategoryVerdict]
    timing: Timing
    samples: tuple[Sample, ...] | None = None
    error: SourceFailure | None = None
    source_id: str | None = None
    every_s: float | None = None
    made: Mapping[str, Any] | None = None
    needs_rescan: bool = False
