"""The protocol every detector follows: frames in, a score per category out.

A detector is known by its `DetectorSpec` before it is loaded: who it is and what frames it wants.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from guardian_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

Status = Literal["ok", "degraded", "unavailable", "off"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a detector says of a batch: one mapping category -> score in 0..1 for each frame.

    A failed call has `failure` set (one line, no secret in it) and an empty mapping for each frame;
    `misconfigured` says that it is the user's to mend, no outage that will pass. `deployment` is
    who answered, where there are several who could.
    `errors` says, for each frame as well, how far each score may be from the one that `score_fp32`
    gives; without it, not at all.
    `features` are, for each frame as well, the unit image features of its views, (V, D) float32,
    from a detector that has such. `latencies_s` are, for each frame as well, how long the request
    took that scored it, None where that failed, from a detector that asks over a network.
    """

    scores: Sequence[Mapping[str, float]]
    failure: str | None = None
    errors: Sequence[Mapping[str, float]] = ()
    misconfigured: bool = False
    deployment: str | None = None
    features: Sequence[NDArray[np.float32]] = ()
    latencies_s: Sequence[float | None] = ()


@dataclass(frozen=True, slots=True)
class DetectorInfo:
    """Who a detector is, for reports: `category` is None where it scores several.

    `weights` is the SHA-256 of the file its weights are from, in hex, where there is one.
    """

    name: str
    category: str | None
    model: str | None
    weights: str | None = None


class Detector(Protocol):
    """Scores frames. `score` is called from several threads where `concurrency` is over 1."""

    @property
    def info(self) -> DetectorInfo:
        """Name, category and model, for reports."""

    @property
    def categories(self) -> Sequence[str]:
        """The categories this detector scores."""

    @property
    def short_side_px(self) -> int:
        """The shorter side, in pixels, that frames should have; larger ones are a waste."""

    @property
    def batch_size(self) -> int:
        """The most frames worth giving to one call of `score`."""

    @property
    def concurrency(self) -> int:
        """How many calls of `score` may run at once."""

    def score(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """Score upright BGR images (H x W x 3, uint8). Never raises for what a network can do."""

    def score_fp32(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """Score as `score` does, without `errors`; for the few frames where those matter."""

    def summary(self) -> str | None:
        """One line for stderr at the end of a run, or None when there is nothing to say."""

    def close(self) -> None:
        """Free what is held; idempotent."""


@runtime_checkable
class RoutedDetector(Detector, Protocol):
    """A detector that several deployments stand behind, each with a model of its own."""

    @property
    def deployment(self) -> str | None:
        """The one that all sources are to be scored by, or None: whoever answers a source first."""

    def score_by(self, deployment: str | None, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """Score as `score` does, by this deployment and no other; None: by whoever answers."""


@runtime_checkable
class ViewDetector(Detector, Protocol):
    """A detector that lays views over a frame, and loses room where it has letterbox bars."""

    @property
    def without_bars(self) -> bool:
        """Whether it is to be shown frames without their bars."""


@runtime_checkable
class BilledDetector(Detector, Protocol):
    """A detector whose calls cost money, and which a cascade may spare some frames."""

    def note_not_sent(self, frames: int) -> None:
        """Count frames that it was not asked about, for its summary."""


@runtime_checkable
class FeatureDetector(Detector, Protocol):
    """A detector that can do with the features that another one makes of a frame anyway."""

    @property
    def source(self) -> Detector | None:
        """Whose features it takes; None where it looks for itself."""

    def follow(self, others: Sequence[Detector]) -> None:
        """Take the features of one of these, if one makes the right ones; before the first score.

        Raises UsageError where what it would look with itself can't be loaded.
        """

    def score_features(self, features: Sequence[NDArray[np.float32]]) -> Answer:
        """Score frames as `score` does, by their source's `Answer.features`.

        `Answer.errors` are for features as its `score` gives them; of `score_fp32` there are none.
        """


def no_version(named: str) -> ModelFiles:
    """Find no version: there is no registry to look into. Raises UsageError."""
    raise UsageError(f"{named}: there is no registry here", hint="name the folder of a model")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A registered version: `nsfw-detector@2`, and the folder with its files."""

    label: str
    folder: Path


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """What the command line says about detectors; `on_download` is told of progress, in lines.

    `find_version` brings the files of a role (MODEL@champion) or a version (MODEL@2).
    """

    no_endpoints: bool = False
    offline: bool = False
    deployment: str | None = None
    device: str = "auto"
    precision: str = "auto"
    model_config: Path | None = None
    on_download: Callable[[str], None] = lambda _: None
    find_version: Callable[[str], ModelFiles] = no_version


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """A detector that can be had, before anything heavy is loaded for it.

    `short_side_px` is the shorter side, in pixels, that frames should have. `load` brings it, and
    raises MissingError where it can't be had after all, UsageError for settings that make none.
    """

    info: DetectorInfo
    categories: Sequence[str]
    short_side_px: int
    load: Callable[[], Detector]


@dataclass(frozen=True, slots=True)
class Absent:
    """A detector that was wanted or possible but does not run, and why."""

    info: DetectorInfo
    status: Literal["unavailable", "off"]
    reason: str
    categories: Sequence[str] = field(default=())
    hint: str | None = None
