"""The nsfwjs classifier, so that tests can serve a real custom model behind an endpoint.

model = NsfwJs(shared_data / "models" / "nsfwjs" / "nsfwjs_mobilenet_v2.onnx")
with ScoringServer(model.unsafe) as server: ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import onnxruntime

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CLASSES = ("Drawing", "Hentai", "Neutral", "Porn", "Sexy")
_SIDE_PX = 224


class NsfwJs:
    """Five class probabilities for a picture. Thread safe."""

    def __init__(self, model: Path) -> None:
        self._session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    def probabilities(self, image: NDArray[np.uint8]) -> dict[str, float]:
        """Classify an H x W x 3 uint8 BGR picture."""
        batch = _squeezed(image)[None, :, :, ::-1].astype(np.float32) / 255
        (row,) = self._session.run(["probs"], {"image": batch})[0]
        return dict(zip(CLASSES, map(float, row), strict=True))

    def unsafe(self, image: NDArray[np.uint8]) -> float:
        """Porn + Hentai, the score of category nsfw."""
        found = self.probabilities(image)
        return min(1.0, found["Porn"] + found["Hentai"])

    def drawing(self, image: NDArray[np.uint8]) -> float:
        """The class of which the golden picture has most."""
        return self.probabilities(image)["Drawing"]


def _squeezed(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Resize as TensorFlow.js does: bilinear, the corners' centres on the corners' centres."""
    height, width = image.shape[:2]
    x, y = np.meshgrid(
        np.linspace(0, width - 1, _SIDE_PX, dtype=np.float32),
        np.linspace(0, height - 1, _SIDE_PX, dtype=np.float32),
    )
    squeezed: NDArray[np.float32] = cv2.remap(image.astype(np.float32), x, y, cv2.INTER_LINEAR)
    return squeezed
