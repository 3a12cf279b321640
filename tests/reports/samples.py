"""Results made by the real judge, for the tests of this room."""

from __future__ import annotations

from dataclasses import replace

from guardian_cli.config import PolicySection
from guardian_cli.detectors.fusion import CategoryScore
from guardian_cli.media.frames import Coverage, MediaFacts
from guardian_cli.verdict.policy import judge
from guardian_cli.verdict.result import DetectorReport, ScanResult, SourceFailure, Timing
from guardian_cli.verdict.thresholds import Thresholds
from guardian_cli.verdict.timeline import Sample

CLIP = DetectorReport("clip", None, "ViT-B-32/laion2b_s34b_b79k", "ok", None, 64)
OFF = DetectorReport("endpoint", "nsfw", "https://example.test/score", "off", "--no-endpoints", 0)
DOWN = DetectorReport(
    "endpoint", "nsfw", "https://example.test/score", "degraded", "401 Unauthorized", 12
)
COVERAGE = Coverage(63.2, "fast", 1896, 64, 1.0, reached_end=True, decode_errors=0, complete=True)
MEDIA = MediaFacts("video", 1920, 1080, 63.2, "h264", 0)


def wave(time_s: float, start_s: float, end_s: float, height: float) -> float:
    """A scene from `start_s` to `end_s` over a quiet ground."""
    return height if start_s <= time_s <= end_s else 0.05 + 0.02 * (time_s % 5)


def video(source: str = "uploads/holiday.mp4") -> ScanResult:
    """A minute of video with one scene, judged."""
    samples = tuple(
        Sample(
            float(t),
            {
                "nsfw": CategoryScore(wave(t, 11, 14, 0.71 if t == 12 else 0.7), 0.8, None),
                "violence": CategoryScore(wave(t, 99, 99, 0), 0.1, None),
            },
        )
        for t in range(64)
    )
    limits = {"nsfw": Thresholds(0.5, 0.8), "violence": Thresholds(0.6, 0.9)}
    verdict = judge(
        samples,
        thresholds=limits,
        policy=PolicySection(),
        coverage=COVERAGE,
        every_s=1.0,
        detectors=[CLIP, OFF],
    )
    return ScanResult(
        source=source,
        sha256="0" * 64,
        verdict=verdict.verdict,
        reasons=verdict.reasons,
        degraded=verdict.degraded,
        media=MEDIA,
        coverage=COVERAGE,
        detectors=(CLIP, OFF),
        categories=verdict.categories,
        timing=Timing(3.1, 2.0, 1.2),
        samples=samples,
        every_s=1.0,
    )


def image(source: str = "uploads/cat.jpg", score: float | None = 0.02) -> ScanResult:
    """A still picture, judged in one category; unscored with `score=None`."""
    sample = Sample(0.0, {"nsfw": CategoryScore(score)})
    coverage = replace(
        COVERAGE, duration_s=None, frames_decoded=1, frames_scored=1, largest_gap_s=None
    )
    verdict = judge(
        [sample],
        thresholds={"nsfw": Thresholds(0.5, 0.8)},
        policy=PolicySection(),
        coverage=coverage,
        every_s=1.0,
        detectors=[DOWN],
        kind="image",
    )
    return replace(
        video(source),
        verdict=verdict.verdict,
        reasons=verdict.reasons,
        degraded=verdict.degraded,
        media=MediaFacts("image", 640, 480, None, "mjpeg", 90),
        coverage=coverage,
        detectors=(DOWN,),
        categories=verdict.categories,
        samples=(sample,),
    )


def failed(source: str = "uploads/broken.mp4") -> ScanResult:
    """A source that could not be scanned."""
    error = SourceFailure("no-frames", "gives no frame: the stream is cut off")
    return replace(
        video(source),
        verdict="error",
        reasons=(error.message,),
        media=None,
        coverage=replace(COVERAGE, frames_decoded=0, frames_scored=0, complete=False),
        categories={},
        samples=None,
        error=error,
    )
