"""An adult score from NudeNet's body-part boxes, weights in its wheel, where a user names it.

    score = 1 - product over exposed parts p of (1 - weight[p] * confidence[p])

`confidence[p]` is the surest box of that part in the frame, 0 where there is none: a noisy-or, in
which one part seen surely is enough, and two kinds half-seen count for more than either. Exposed
genitals and anus weigh 1, breasts 0.9, buttocks 0.7 (alone they ask for a review, they never
block). What is covered counts nothing, nor do faces, feet, bellies, armpits and male chests.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from guardian_cli.detectors.base import Answer, DetectorInfo, DetectorSpec
from guardian_cli.detectors.onnx import BATCH_SIZE, find_packaged_model, open_session
from guardian_cli.serving.views import View, views_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.detectors.base import DetectorOptions
    from guardian_cli.settings import Settings

HINT = 'pip install "guardian-cli[nudenet]"'
WEIGHTS: dict[str, float] = {
    "FEMALE_GENITALIA_EXPOSED": 1.0,
    "MALE_GENITALIA_EXPOSED": 1.0,
    "ANUS_EXPOSED": 1.0,
    "FEMALE_BREAST_EXPOSED": 0.9,
    "BUTTOCKS_EXPOSED": 0.7,
}
# The order of the model's outputs, as in nudenet 3.4.
LABELS = (
    "FEMALE_GENITALIA_COVERED", "FACE_FEMALE", "BUTTOCKS_EXPOSED", "FEMALE_BREAST_EXPOSED",
    "FEMALE_GENITALIA_EXPOSED", "MALE_BREAST_EXPOSED", "ANUS_EXPOSED", "FEET_EXPOSED",
    "BELLY_COVERED", "FEET_COVERED", "ARMPITS_COVERED", "ARMPITS_EXPOSED", "FACE_MALE",
    "BELLY_EXPOSED", "MALE_GENITALIA_EXPOSED", "ANUS_COVERED", "FEMALE_BREAST_COVERED",
    "BUTTOCKS_COVERED",
)  # fmt: skip
INFO = DetectorInfo("nudenet", "nsfw", "nudenet-320n")
CATEGORIES = ("nsfw",)
SIDE_PX = 320
# As in nudenet: what is less sure is no box, and of two boxes that overlap by more one is kept.
MIN_CONFIDENCE = 0.25
BOX_OVERLAP = 0.45
MAX_ASPECT = 2.5


def score_parts(confidences: Mapping[str, float]) -> float:
    """The adult score, in 0..1, of the surest confidence (0..1) per body part."""
    innocence = 1.0
    for part, confidence in confidences.items():
        innocence *= 1.0 - WEIGHTS.get(part, 0.0) * confidence
    return 1.0 - innocence


def nudenet_specs(_settings: Settings, _options: DetectorOptions) -> list[DetectorSpec]:
    """The one detector there is. Raises MissingError when it is not installed."""
    find_model()
    # The model looks at 320 px of the longer side: a shorter one of 320 is plenty.
    return [DetectorSpec(INFO, CATEGORIES, SIDE_PX, load_nudenet)]


def load_nudenet(threads: int | None = None) -> NudeNetDetector:
    """Load the detector from the installed nudenet package; `threads` bounds onnxruntime's.

    Raises MissingError when nudenet or onnxruntime is not installed.
    """
    return NudeNetDetector(find_model(), threads)


def find_model() -> Path:
    """The ONNX file in the nudenet package. Raises MissingError when that is not installed."""
    return find_packaged_model("nudenet", "320n.onnx", HINT)


class NudeNetDetector:
    """NudeNet's 320 px detector on onnxruntime. One call of `score` at a time."""

    def __init__(self, model: Path, threads: int | None = None) -> None:
        """Open the ONNX file `model` on the CPU with `threads` threads."""
        self._session: Any = open_session(model, threads)
        self._input = self._session.get_inputs()[0].name
        self.info = replace(INFO, weights=hashlib.sha256(model.read_bytes()).hexdigest())
        self.categories: Sequence[str] = CATEGORIES
        self.short_side_px = SIDE_PX
        self.batch_size = BATCH_SIZE
        self.concurrency = 1
        self.without_bars = True

    def score(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """Score upright BGR frames (H x W x 3, uint8) for nsfw, each in 0..1."""
        return Answer([{"nsfw": score_parts(parts)} for parts in self.find_parts(images)])

    def score_fp32(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """The same: no score here is an approximation."""
        return self.score(images)

    def find_parts(self, images: Sequence[NDArray[np.uint8]]) -> list[dict[str, float]]:
        """The surest confidence of each body part found in each BGR frame."""
        import numpy as np

        session = self._session
        if session is None:
            raise RuntimeError("the detector is closed")
        pieces = []
        for index, image in enumerate(images):
            height, width = image.shape[:2]
            # Fitted into a square, a long frame would be a sliver: its views are looked at.
            is_long = max(width, height) > MAX_ASPECT * min(width, height)
            views = views_of(width, height) if is_long else [View(0, 0, width, height)]
            for left, top, wide, high in views:
                pieces.append((index, image[top : top + high, left : left + wide]))
        found: list[dict[str, float]] = [{} for _ in images]
        if not pieces:
            return found
        blobs = np.concatenate([_blob(piece) for _, piece in pieces])
        outputs = session.run(None, {self._input: blobs})[0]
        for (index, _), output in zip(pieces, outputs, strict=True):
            for part, confidence in _read_boxes(output).items():
                found[index][part] = max(confidence, found[index].get(part, 0.0))
        return found

    def summary(self) -> str | None:
        """Nothing to say."""
        return None

    def close(self) -> None:
        """Let the model go."""
        self._session = None


def _blob(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pad a BGR picture to a square at its right and bottom, and shrink it: (1, 3, 320, 320).

    The channels stay BGR: nudenet 3.4 swaps them twice on the way in, and so feeds BGR.
    """
    import cv2
    import numpy as np

    height, width = image.shape[:2]
    side = max(height, width)
    padded = cv2.copyMakeBorder(
        np.ascontiguousarray(image), 0, side - height, 0, side - width, cv2.BORDER_CONSTANT
    )
    blob = cv2.dnn.blobFromImage(padded, 1 / 255.0, (SIDE_PX, SIDE_PX), swapRB=False, crop=False)
    return np.asarray(blob, dtype=np.float32)


def _read_boxes(output: NDArray[np.float32]) -> dict[str, float]:
    """The surest confidence per label in an output (4 + labels, boxes), overlaps removed.

    A box counts for its surest label alone, and where boxes overlap the surest one wins, whatever
    its label: a covered breast seen surely outweighs an exposed one half-seen.
    """
    import cv2
    import numpy as np

    confidences = output[4:].max(axis=0)
    sure = confidences >= MIN_CONFIDENCE
    boxes, labels, confidences = (
        output[:4, sure].T,
        output[4:, sure].argmax(axis=0),
        confidences[sure],
    )
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], axis=1)
    kept = cv2.dnn.NMSBoxes(corners.tolist(), confidences.tolist(), MIN_CONFIDENCE, BOX_OVERLAP)
    found: dict[str, float] = {}
    for index in kept:
        label = LABELS[int(labels[index])]
        found[label] = max(found.get(label, 0.0), float(confidences[index]))
    return found
