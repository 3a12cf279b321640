"""An adult score from NudeNet's body-part boxes, weights in its wheel, where a user names it.

    score = 1 - product over exposed parts p of (1 - weight[p] * confidence[p])

`confidence[p]` is the surest box of that part in the frame, 0 where there is none: a noisy-or, in
which one part seen surely is enough, and two kinds half-seen count for more than either. Exposed
genitals and anus weigh 1, breasts 0.9, buttocks 0.7 (alone they ask for a review, they never
block). What is covered counts nothing, nor do faces, feet, bellies, armpits and male chests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardian_cli.detectors.base import Answer, DetectorInfo
from guardian_cli.detectors.onnx import OnnxDetector
from guardian_cli.serving.views import View, views_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

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
SIDE_PX = 320
# As in nudenet: what is less sure is no box, and of two boxes that overlap by more one is kept.
MIN_CONFIDENCE = 0.25
BOX_OVERLAP = 0.45
# The longer side over the shorter: what is longer is looked at in parts.
MAX_ASPECT = 2.5


def score_parts(confidences: Mapping[str, float]) -> float:
    """The adult score, in 0..1, of the surest confidence (0..1) per body part."""
    innocence = 1.0
    for part, confidence in confidences.items():
        innocence *= 1.0 - WEIGHTS.get(part, 0.0) * confidence
    return 1.0 - innocence


class NudeNetDetector(OnnxDetector):
    """NudeNet's 320 px detector."""

    info = DetectorInfo("nudenet", "nsfw", "nudenet-320n")
    # The model looks at 320 px of the longer side: a shorter one of 320 is plenty.
    short_side_px = SIDE_PX
    packaged = ("nudenet", "320n.onnx", 'pip install "guardian-cli[nudenet]"')

    def score(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """Score upright BGR frames (H x W x 3, uint8) for nsfw, each in 0..1."""
        return Answer([{"nsfw": score_parts(parts)} for parts in self.find_parts(images)])

    def find_parts(self, images: Sequence[NDArray[np.uint8]]) -> list[dict[str, float]]:
        """The surest confidence of each body part found in each BGR frame."""
        import numpy as np

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
        outputs = self.run(np.concatenate([_blob(piece) for _, piece in pieces]))
        for (index, _), output in zip(pieces, outputs, strict=True):
            for part, confidence in _read_boxes(output).items():
                found[index][part] = max(confidence, found[index].get(part, 0.0))
        return found


def _blob(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pad a BGR picture to a square at its right and bottom, and shrink it: (1, 3, 320, 320)."""
    import cv2
    import numpy as np

    height, width = image.shape[:2]
    side = max(height, width)
    padded = cv2.copyMakeBorder(
        np.ascontiguousarray(image), 0, side - height, 0, side - width, cv2.BORDER_CONSTANT
    )
    # The channels stay BGR: nudenet 3.4 swaps them twice on the way in, and so feeds BGR.
    blob = cv2.dnn.blobFromImage(padded, 1 / 255.0, (SIDE_PX, SIDE_PX), swapRB=False, crop=False)
    return np.asarray(blob, dtype=np.float32)


def _read_boxes(output: NDArray[np.float32]) -> dict[str, float]:
    """The surest confidence per label in an output (4 + labels, boxes), overlaps removed."""
    import cv2
    import numpy as np

    # A box counts for its surest label alone.
    sure = output[:, output[4:].max(axis=0) >= MIN_CONFIDENCE]
    boxes, labels, confidences = sure[:4].T, sure[4:].argmax(axis=0), sure[4:].max(axis=0)
    # From centre and size to the corner that OpenCV takes.
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], axis=1)
    # The surest of boxes that overlap wins, whatever its label: a covered breast seen surely
    # outweighs an exposed one that is half seen.
    kept = cv2.dnn.NMSBoxes(corners.tolist(), confidences.tolist(), MIN_CONFIDENCE, BOX_OVERLAP)
    found: dict[str, float] = {}
    for index in kept:
        label = LABELS[int(labels[index])]
        found[label] = max(found.get(label, 0.0), float(confidences[index]))
    return found
