"""A custom model in this process: a registered version, or a folder that holds one.

Where its backbone is the CLIP that scans, only its head runs here, on the features that CLIP makes
of each frame anyway. In half precision these are a little off; what that may do to the head's
scores is measured as it is for CLIP's own, and a frame that it could decide is scored again with
CLIP's features in fp32. Otherwise a frame goes the way that it would go to the model's endpoint, to
the last bit: shrunk, as a JPEG, and through the same code.
"""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from guardian_cli.detectors.base import Absent, Answer, DetectorInfo, DetectorSpec, ModelFiles
from guardian_cli.detectors.clip.cache import Cache, digest_of
from guardian_cli.detectors.clip.detector import DEFAULT_CACHE, ClipDetector
from guardian_cli.errors import UsageError
from guardian_cli.media.jpeg import encode_jpeg
from guardian_cli.serving.format import (
    CARD_NAME,
    WEIGHTS_NAME,
    FormatError,
    find_artifact,
    read_card,
)
from guardian_cli.serving.model import ModelFaultError, load_head, load_model, score_logit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from guardian_cli.detectors.base import Detector, DetectorOptions
    from guardian_cli.serving.format import ModelCard
    from guardian_cli.serving.model import FrameScorer
    from guardian_cli.settings import Settings

Loaded = TypeVar("Loaded")

# What an endpoint gets.
SHORT_SIDE_PX = 336
BATCH_SIZE = 8


def model_specs(settings: Settings, options: DetectorOptions) -> list[DetectorSpec | Absent]:
    """A detector for each category that has a model.

    Raises UsageError for a category that has an endpoint in use as well.
    """
    specs: list[DetectorSpec | Absent] = []
    for category, section in settings.config.categories.items():
        if section.model is None:
            continue
        endpoint = settings.endpoints.get(category)
        is_asked = "endpoint" in settings.config.scan.detectors and not (
            options.no_endpoints or options.offline
        )
        if endpoint is not None and endpoint.uri is not None and is_asked:
            raise UsageError(
                f"{category} has an endpoint ({endpoint.named_by}) and a model "
                f"(categories.{category}.model): which one is meant?",
                hint=f"an empty {endpoint.named_by} switches the endpoint off, as "
                "--no-endpoints does for one scan; or take the model out of guardian.yaml",
            )
        # The folders of the user's own machine have no place in a report.
        shown = Path(section.model).name
        info = DetectorInfo("model", category, shown)
        is_remote = settings.config.target != "local" or settings.tracking_uri is not None
        if options.offline and is_remote and not Path(section.model).expanduser().is_dir():
            specs.append(Absent(info, "off", "--offline", (category,)))
            continue
        load = partial(load_model_detector, category, section.model, options)
        specs.append(DetectorSpec(info, (category,), SHORT_SIDE_PX, load))
    return specs


def load_model_detector(category: str, named: str, options: DetectorOptions) -> ModelDetector:
    """Load what `categories.<category>.model` names; raises what `find_model` does."""
    return ModelDetector(*find_model(category, named, options))


def find_model(
    category: str, named: str, options: DetectorOptions
) -> tuple[DetectorInfo, Path, ModelCard]:
    """Find what `categories.<category>.model` names, and read what it is.

    Raises UsageError for what is no model of this category, PlatformError for a registry that does
    not answer.
    """
    where = f"categories.{category}.model"
    folder = Path(named).expanduser()
    if folder.is_dir():
        files = ModelFiles(folder.resolve().name, folder)
    elif "/" not in named and all(named.partition("@")):
        files = options.find_version(named)
    else:
        raise UsageError(
            f"{where}: {named} is no folder, and no MODEL@champion or MODEL@VERSION",
            hint="guardian endpoints lists models and their versions",
        )
    try:
        artifact = find_artifact(files.folder)
        card = read_card(artifact)
        weights = Cache(DEFAULT_CACHE).digest(artifact / WEIGHTS_NAME)
    except (FormatError, OSError) as error:
        raise UsageError(
            f"{where}: {files.label} is no model that guardian can run: {error}",
            hint="guardian train registers models that it can",
        ) from error
    if card.category != category:
        raise UsageError(
            f"{where}: {files.label} was trained for {card.category}",
            hint=f"name it under categories.{card.category}.model",
        )
    # The card is a part of the model: its threshold alone makes other scores.
    facts = hashlib.sha256((artifact / CARD_NAME).read_bytes()).hexdigest()
    info = DetectorInfo("model", category, files.label, digest_of([facts, weights]))
    return info, artifact, card


class ModelDetector:
    """Scores one category by a model in `folder`. One call of `score` at a time."""

    def __init__(self, info: DetectorInfo, folder: Path, card: ModelCard) -> None:
        self.info = info
        self.card = card
        self.categories: Sequence[str] = (card.category,)
        self.short_side_px = SHORT_SIDE_PX
        self.batch_size = BATCH_SIZE
        self.concurrency = 1
        self.source: ClipDetector | None = None
        self._folder: Path | None = folder
        self._head: torch.nn.Module | None = None
        self._logit_error = 0.0
        self._whole: FrameScorer | None = None

    def follow(self, others: Sequence[Detector]) -> None:
        """Take the features of the CLIP among these whose tower is this model's own.

        Raises UsageError where the model can't be loaded.
        """
        for other in others:
            # Two backbones without a name need not be the same one.
            if isinstance(other, ClipDetector) and self.card.backbone == other.backbone != "":
                self.source = other
                self._head = self._load(load_head)
                self._logit_error = other.head_error(self.info.weights or "", self._log_odds)
                return
        self._whole = self._load(lambda folder, _: load_model(folder))

    def score(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """Score upright BGR frames (H x W x 3, uint8), each in 0..1, as the endpoint would."""
        # Also where CLIP had no features of a frame after all.
        whole = self._whole = self._whole or self._load(lambda folder, _: load_model(folder))
        try:
            scores = whole.score([encode_jpeg(image, SHORT_SIDE_PX) for image in images])
        except ModelFaultError as error:
            return Answer([{} for _ in images], f"{self.info.model}: {error}")
        return Answer([{self.card.category: score} for score in scores])

    def score_fp32(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """The same: the model itself computes in fp32."""
        return self.score(images)

    def score_features(self, features: Sequence[NDArray[np.float32]]) -> Answer:
        """Score frames by the unit features (V, D) of their views; the largest view counts."""
        import numpy as np
        import torch

        if self._head is None:
            raise RuntimeError("the detector is closed")
        with torch.inference_mode():
            rows = torch.from_numpy(np.concatenate(features)).double()
            logits = self._head(rows).squeeze(1).numpy()
        frames = np.split(logits, np.cumsum([len(one) for one in features])[:-1])
        scores: list[dict[str, float]] = []
        errors: list[dict[str, float]] = []
        # The error was measured behind the temperature, and is needed before it.
        off_by, category = self._logit_error * self.card.temperature, self.card.category
        for frame in frames:
            largest = float(frame.max())
            if not np.isfinite(frame).all():
                scores.append({})
                errors.append({})
                continue
            score = score_logit(largest, self.card)
            around = (
                score_logit(largest - off_by, self.card),
                score_logit(largest + off_by, self.card),
            )
            scores.append({category: score})
            errors.append({category: max(score - around[0], around[1] - score)})
        failure = None if all(scores) else f"{self.info.model} gave no number"
        return Answer(scores, failure, errors=errors if off_by else ())

    def summary(self) -> str | None:
        """Nothing to say."""
        return None

    def close(self) -> None:
        """Let the model go."""
        self._head = self._whole = self._folder = None

    def _log_odds(self, features: torch.Tensor) -> torch.Tensor:
        """The head's logits of unit features (N, D), as its card calibrates them: (N,)."""
        assert self._head is not None  # noqa: S101 - it is loaded before
        logits: torch.Tensor = self._head(features.double()).squeeze(1)
        return logits / self.card.temperature

    def _load(self, load: Callable[[Path, ModelCard], Loaded]) -> Loaded:
        if self._folder is None:
            raise RuntimeError("the detector is closed")
        try:
            return load(self._folder, self.card)
        except FormatError as error:
            raise UsageError(
                f"{self.info.model} can't be loaded: {error}",
                hint="guardian train registers models that can",
            ) from error
