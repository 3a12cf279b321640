"""Fakes that implement the project's protocols; nothing is patched."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from guardian_cli.detectors.base import Answer, DetectorInfo
from guardian_cli.media.frames import Coverage, MediaFacts

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from guardian_cli.media.frames import DecodeSettings, Frame, Window

    Image = NDArray[np.uint8]


def brightness(image: Image) -> float:
    """A score anyone can compute: the mean of all pixels, 0..1."""
    return float(image.mean()) / 255.0


def number_in(image: Image) -> int:
    """The number that `picture_of` drew: no picture is like another."""
    return int(image[0, 0] @ np.array([1, 256, 65536]))


def picture_of(number: int) -> Image:
    """A picture with a number in its pixels."""
    colour = np.array([number % 256, number // 256 % 256, number // 65536], np.uint8)
    return np.broadcast_to(colour, (4, 4, 3)).copy()


@dataclass
class FakeDetector:
    """Scores by a function of the picture; can fail, hold back, and counts its calls."""

    info: DetectorInfo = field(default_factory=lambda: DetectorInfo("clip", None, "fake"))
    categories: Sequence[str] = ("nsfw",)
    short_side_px: int = 64
    batch_size: int = 8
    concurrency: int = 1
    function: Callable[[Image], float] = brightness
    failure: str | None = None
    crash: Exception | None = None
    gate: threading.Event | None = None
    batches: list[int] = field(default_factory=list)
    closed: bool = False

    def score(self, images: Sequence[Image]) -> Answer:
        if self.gate is not None:
            self.gate.wait(timeout=30)
        self.batches.append(len(images))
        if self.crash is not None:
            raise self.crash
        if self.failure is not None:
            return Answer([{} for _ in images], self.failure)
        return Answer(
            [{name: self.function(image) for name in self.categories} for image in images]
        )

    def score_fp32(self, images: Sequence[Image]) -> Answer:
        return self.score(images)

    def summary(self) -> str | None:
        return None

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeEndpoint(FakeDetector):
    """Deployments that answer in turn where none is asked for; notes who was, and for how many."""

    info: DetectorInfo = field(default_factory=lambda: DetectorInfo("endpoint", "nsfw", "fake"))
    deployment: str | None = None
    deployments: Sequence[str | None] = ("version-1", "version-2")
    asked: list[tuple[str | None, list[int]]] = field(default_factory=list)
    dealt: int = 0

    def score_by(self, deployment: str | None, images: Sequence[Image]) -> Answer:
        self.asked.append((deployment, [number_in(image) for image in images]))
        answered = deployment or self.deployments[self.dealt % len(self.deployments)]
        self.dealt += deployment is None
        return replace(self.score(images), deployment=answered)


@dataclass
class BilledEndpoint(FakeEndpoint):
    """An endpoint that costs money; counts the frames that it was spared."""

    not_sent: int = 0

    def note_not_sent(self, frames: int) -> None:
        self.not_sent += frames


@dataclass
class RoughDetector(FakeDetector):
    """Answers fast, `off_by` too high, and says that it may be off by `error`."""

    off_by: float = 0.03
    error: float = 0.05
    exact_batches: list[int] = field(default_factory=list)
    exact_failure: str | None = None

    def score(self, images: Sequence[Image]) -> Answer:
        rough = [
            {name: score + self.off_by for name, score in scores.items()}
            for scores in super().score(images).scores
        ]
        return Answer(rough, errors=[dict.fromkeys(scores, self.error) for scores in rough])

    def score_fp32(self, images: Sequence[Image]) -> Answer:
        self.exact_batches.append(len(images))
        if self.exact_failure is not None:
            return Answer([{} for _ in images], self.exact_failure)
        return super().score(images)


@dataclass
class FakeDecoder:
    """Every source is the same: `frames`, `again` at a second look; tells when `frames` end."""

    frames: Sequence[Frame] = ()
    again: Sequence[Frame] = ()
    kind: Literal["video", "image"] = "video"
    on_end: Callable[[], None] = lambda: None
    closed: bool = False

    def open(self, location: str, settings: DecodeSettings) -> FakeDecoding:
        return FakeDecoding(self, settings)

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeDecoding:
    """One source of a FakeDecoder."""

    decoder: FakeDecoder
    settings: DecodeSettings
    facts: MediaFacts | None = None
    closed: bool = False

    @property
    def coverage(self) -> Coverage:
        count = len(self.decoder.frames)
        return Coverage(float(count), "full", count, count, 1.0, True, 0, True)

    def frames(self) -> Iterator[Frame]:
        self.facts = MediaFacts(self.decoder.kind, 8, 8, self.coverage.duration_s, "fake", 0)
        yield from self.decoder.frames
        self.decoder.on_end()

    def refine(self, windows: Sequence[Window], step_s: float) -> Iterator[Frame]:
        yield from self.decoder.again

    def close(self) -> None:
        self.closed = True
