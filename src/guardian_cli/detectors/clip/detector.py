"""The CLIP detector: frames in, a zero-shot score per category out."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from guardian_cli.detectors.base import Answer, DetectorInfo
from guardian_cli.detectors.clip.ensembles import score_ensembles, score_error
from guardian_cli.detectors.clip.pixels import cut_views
from guardian_cli.detectors.clip.tower import BATCH_SIZE
from guardian_cli.errors import GuardianError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from guardian_cli.detectors.clip.tower import ImageTower


class ClipDetector:
    """Zero-shot scores by CLIP, the larger of a frame's views. One call of `score` at a time.

    In half precision a score comes with the error it may have, and `score_exactly` has none.
    """

    def __init__(
        self,
        label: str,
        tower: ImageTower,
        texts: Mapping[str, tuple[Tensor, Tensor]],
        scale: float,
        *,
        logit_errors: Mapping[str, float],
        load_exact: Callable[[], ImageTower],
        digest: str | None = None,
    ) -> None:
        """Hold an image tower and, for each category, its unit text features (P, D) and (Q, D).

        `logit_errors` says for each category how far the log of the odds may be off, and is empty
        where it is not; else `load_exact` brings the tower in fp32, once it is needed. `digest` is
        the SHA-256 of the checkpoint.
        """
        self._info = DetectorInfo("clip", None, label, digest)
        self._tower: ImageTower | None = tower
        self._exact: ImageTower | None = None
        self._load_exact = load_exact
        self._texts = texts
        self._scale = scale
        self._logit_errors = logit_errors
        self._side_px = min(tower.preprocessing.size_px)

    @property
    def info(self) -> DetectorInfo:
        """Name and model."""
        return self._info

    @property
    def categories(self) -> Sequence[str]:
        """Every category that has prompts."""
        return tuple(self._texts)

    @property
    def short_side_px(self) -> int:
        """The model's own picture size: larger frames show it nothing more."""
        return self._side_px

    @property
    def batch_size(self) -> int:
        """Frames in one call, each of them one or more views."""
        return BATCH_SIZE

    @property
    def concurrency(self) -> int:
        """One: torch spreads a single call over the cores itself."""
        return 1

    @property
    def precision(self) -> str:
        """fp32, bf16 or fp16: the numbers the image tower computes in."""
        return self._tower.precision if self._tower else "fp32"

    def score(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """Score upright BGR frames (H x W x 3, uint8): each category's largest view, in 0..1."""
        answer = self._score(self._open_tower(), images)
        if not self._logit_errors:
            return answer
        if answer.failure is not None:
            # A number too large for half precision may be none in fp32.
            return self.score_exactly(images)
        return replace(answer, errors=[self._errors(scores) for scores in answer.scores])

    def score_exactly(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """Score as `score` does, in fp32. What can't be had any more is an answer that failed."""
        tower = self._open_tower()
        if not self._logit_errors:
            return self._score(tower, images)
        try:
            self._exact = self._exact or self._load_exact()
        except (GuardianError, OSError) as error:
            return Answer([{} for _ in images], f"CLIP in fp32: {error}")
        return self._score(self._exact, images)

    def summary(self) -> str | None:
        """Nothing: CLIP has no story of its own to tell."""
        return None

    def close(self) -> None:
        """Let the model go."""
        self._tower = self._exact = None

    def _open_tower(self) -> ImageTower:
        if self._tower is None:
            raise RuntimeError("the detector is closed")
        return self._tower

    def _score(self, tower: ImageTower, images: Sequence[NDArray[np.uint8]]) -> Answer:
        import torch

        if not images:
            return Answer(())
        with torch.inference_mode():
            views, owners = cut_views(images, tower.preprocessing)
            features = tower.features(views)
            columns = {
                name: score_ensembles(features, positive, negative, self._scale).tolist()
                for name, (positive, negative) in self._texts.items()
            }
        frames = [_largest(columns, owners, index) for index in range(len(images))]
        failed = not all(frames)
        return Answer(frames, "CLIP answered with something that is no number" if failed else None)

    def _errors(self, scores: Mapping[str, float]) -> dict[str, float]:
        return {
            name: score_error(score, self._logit_errors[name]) for name, score in scores.items()
        }


def _largest(
    columns: Mapping[str, Sequence[float]], owners: Sequence[int], frame: int
) -> dict[str, float]:
    """A frame's largest score per category; empty when one is no number."""
    largest: dict[str, float] = {}
    for category, column in columns.items():
        scores = [score for score, owner in zip(column, owners, strict=True) if owner == frame]
        if not all(map(math.isfinite, scores)):
            return {}
        largest[category] = max(scores)
    return largest
