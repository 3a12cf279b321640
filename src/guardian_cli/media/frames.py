"""What a decoder tells about a source: frames with their time, facts, and what was really seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

DecodeMode = Literal["fast", "full"]
DEFAULT_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture and when it is shown.

    `time_s` is seconds on the video's own clock, 0 being the first video frame, `shown_until_s`
    when the next picture takes its place (None: not known). `image` is H x W x 3, uint8, BGR,
    upright, pixels square, its shorter side at most what was asked for.
    """

    time_s: float
    image: NDArray[np.uint8]
    shown_until_s: float | None = None


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What the container says and the decoder confirms. Pixels are as shown: rotation applied."""

    kind: Literal["video", "image"]
    width: int
    height: int
    duration_s: float | None
    codec: str | None
    rotation: int
    frames_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a source was really seen, so far or in the end.

    `duration_s` is the video track's own length where known, else the end of what was decoded.
    `largest_gap_s` is the widest stretch without a scored frame, both ends of the video included.
    `complete` means: the end was reached, nothing was damaged, and no frames were passed over for
    longer than `max_gap_s`; `notes` say in words what stands against it, `remarks` what else is to
    know. `timed_out` means that decoding took too long and was ended before the source did;
    `discontinuities` counts where the time stamps start again or jump.
    """

    duration_s: float | None
    decode: DecodeMode
    frames_decoded: int = 0
    frames_scored: int = 0
    largest_gap_s: float | None = None
    reached_end: bool = False
    decode_errors: int = 0
    complete: bool = False
    timed_out: bool = False
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    discontinuities: int = 0


@dataclass(frozen=True, slots=True)
class DecodeSettings:
    """How to decode: sampling interval, limits, and the shorter side the detectors want (pixels).

    `threads` is how many the decoder may use, 0 for as many as it likes; `for_s` is for streams.
    Without a `timeout_s` the time allowed is the larger of DEFAULT_TIMEOUT_S and twice the length.
    In fast mode frames are left out of videos of at least `skip_over_px` pixels over all frames:
    below (about a second of decoding) there is nothing to win.
    """

    every_s: float = 1.0
    mode: DecodeMode = "fast"
    max_gap_s: float = 2.0
    short_side_px: int = 336
    timeout_s: float | None = None
    memory_mb: int = 4096
    for_s: float | None = None
    threads: int = 0
    skip_over_px: float = 5e8


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time to be sampled more densely, in seconds, both ends included."""

    start_s: float
    end_s: float


class Decoding(Protocol):
    """One source being decoded. Use it in one thread; `close` may come from another."""

    def frames(self) -> Iterator[Frame]:
        """Yield the samples in time order; raise SourceError when the source can't be scanned."""

    def refine(self, windows: Sequence[Window], step_s: float) -> Iterator[Frame]:
        """Yield frames at least `step_s` apart inside the windows, in time order, after `frames`.

        Their times are those that a first pass gives. Stills and live streams yield nothing.
        """

    @property
    def facts(self) -> MediaFacts | None:
        """What is known of the source; None until its first frame comes, final after the last."""

    @property
    def coverage(self) -> Coverage:
        """What was seen so far; final once `frames` has ended or raised."""

    def close(self) -> None:
        """Give the worker back; idempotent."""


class Opener(Protocol):
    """Opens one source after another; `close` ends it, from any thread."""

    def open(self, location: str, settings: DecodeSettings) -> Decoding:
        """Return a source to be decoded; nothing happens yet."""

    def close(self) -> None:
        """Free what is held; idempotent."""
