"""The same scoring as an MLflow model: `predict` takes base64 JPEGs, gives a score a frame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardian_cli.serving.model import FrameScorer, load_model
from guardian_cli.serving.protocol import decode_cell

if TYPE_CHECKING:
    import pandas as pd


class FrameModel:
    """What MLflow wraps."""

    def __init__(self, scorer: FrameScorer) -> None:
        self._scorer = scorer

    def predict(self, frames: pd.DataFrame, params: dict[str, Any] | None = None) -> list[float]:  # noqa: ARG002 - MLflow's signature
        """Score a DataFrame with the column `image`: base64 JPEGs. Raises ValueError for others."""
        cells = list(frames["image"])
        return self._scorer.score([decode_cell(cell, n) for n, cell in enumerate(cells)])


def _load_pyfunc(path: str) -> FrameModel:
    """Load the model for MLflow, which knows this function by its name."""
    return FrameModel(load_model(Path(path)))
