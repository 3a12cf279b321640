"""Sources scanned by fake decoders and detectors, without a command line."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal

from guardian_cli.config import FusionSection, PolicySection
from guardian_cli.console import Console
from guardian_cli.detectors.detector_set import DetectorSet
from guardian_cli.media.frames import DecodeSettings
from guardian_cli.media.sources import Source
from guardian_cli.progress import ScanProgress
from guardian_cli.scanning.decoder_pool import DecoderPool
from guardian_cli.scanning.scorer import Scorer
from guardian_cli.scanning.source import ScanContext, scan_source
from guardian_cli.verdict.thresholds import Thresholds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from guardian_cli.detectors.base import Detector
    from guardian_cli.media.frames import Opener
    from guardian_cli.verdict.result import ScanResult

NSFW = {"nsfw": Thresholds(0.5, 0.8)}
BOTH = {**NSFW, "violence": Thresholds(0.5, 0.8)}


def idle_scorer(thresholds: Mapping[str, Thresholds] = NSFW) -> Scorer:
    """A scorer that waits for its detectors, with the default weights."""
    return Scorer(thresholds, FusionSection())


def running_scorer(
    detectors: Sequence[Detector], thresholds: Mapping[str, Thresholds] = NSFW
) -> Scorer:
    """A scorer that has begun; close it."""
    scorer = idle_scorer(thresholds)
    scorer.start(detectors)
    return scorer


def scan_context(scorer: Scorer, **more: Any) -> ScanContext:
    """A context for 8 pixels of height and both default categories; `more` replaces parts."""
    parts: dict[str, Any] = {
        "thresholds": BOTH,
        "policy": PolicySection(),
        "detector_set": DetectorSet(list(scorer.detectors)),
        "scorer": scorer,
        "decoding": DecodeSettings(short_side_px=8),
        "progress": ScanProgress(1, Console(quiet=True)),
        "fetch": lambda url, folder: folder,
        "made": lambda source: {},
        "is_done": lambda source, sha256: False,
    }
    return ScanContext(**{**parts, **more})


def scan_one(
    context: ScanContext,
    pool: DecoderPool,
    location: Path | str,
    kind: Literal["file", "url"] = "file",
) -> ScanResult:
    """Scan a source in this thread."""
    with pool.lease() as lease:
        result = scan_source(Source(kind, str(location), str(location)), context, lease)
    assert result is not None
    return result


def scan_alone(
    location: Path | str, detector: Detector, new_decoder: Callable[[], Opener] | None = None
) -> ScanResult:
    """Scan one source with tools of its own; by a real decoder if none is given."""
    pool = DecoderPool(1, new_decoder) if new_decoder else DecoderPool(1)
    with running_scorer([detector], BOTH) as scorer, closing(pool):
        return scan_one(scan_context(scorer), pool, location)
