"""Simulated data, drawn by our own code: learnable, not trivial, the same for the same seed.

It shows that the machinery works; a model trained on it knows nothing of the world.

    images    the positive ones have a large smooth shape of one warm tone, with a fold in it; the
              negatives have warm rectangles, warm backgrounds, or smooth shapes of other tones
    clips     in the positive ones two figures meet and spark in some of the frames; in the
              negatives they pass each other, or sparks fly where nobody is

Scenes (background, light, noise) are shared by a few samples each: they are the groups. A few
labels are wrong, as they are in life.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from guardian_cli.training.data.dataset import Dataset, Sample
from guardian_cli.training.data.frame_store import FileContent, FileFacts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

SIDE_PX = 96
IMAGES = 480
CLIPS = 160
PER_SCENE = 4
CLIP_CATEGORIES = frozenset({"violence"})
_WRONG_SHARE = 0.03
_SIZES = ((640, 360), (1280, 720), (854, 480), (480, 360))


@dataclass(frozen=True, slots=True)
class Simulation:
    """All the drawn samples of one category; reads the samples of its own dataset."""

    category: str
    seed: int = 0
    count: int | None = None

    @property
    def clips(self) -> bool:
        """Whether it draws clips rather than images."""
        return self.category in CLIP_CATEGORIES

    def dataset(self) -> Dataset:
        """List what will be drawn: half positive, a scene for every few."""
        samples = []
        for number in range(self.count or (CLIPS if self.clips else IMAGES)):
            wrong = self._generator(number, "label").random() < _WRONG_SHARE
            positive = (number % 2 == 0) != wrong
            label = self.category if positive else f"not {self.category}"
            name = f"simulated/{self.category}/{number:04d}"
            samples.append(Sample(Path(name), label, name, group=f"scene {number // PER_SCENE}"))
        return Dataset("simulated", tuple(samples), simulated=True)

    def __call__(self, sample: Sample, count: int) -> FileContent:
        """Draw a sample: one picture, or `count` frames of a clip."""
        import cv2
        import numpy as np

        number = int(sample.path.name)
        content = self._generator(number, "content")
        scene = self._generator(number // PER_SCENE, "scene")
        # What is drawn follows the number; only the label may be wrong.
        positive = number % 2 == 0
        # A soft, coloured, patchy ground; in one of three scenes a warm one.
        tone = warm_tone(scene) if scene.random() < 0.33 else scene.integers(30, 220, 3)
        coarse = (scene.normal(0, 25, (6, 6, 3)) + np.asarray(tone, float)).clip(0, 255)
        size = (SIDE_PX, SIDE_PX)
        background = to_bytes(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC))
        if self.clips:
            pictures = _draw_clip(background, content, positive=positive, count=count)
        else:
            pictures = [_draw_image(background, content, positive=positive)]
        noise = 4 + 8 * float(scene.random())
        pictures = [to_bytes(one + content.normal(0, noise, one.shape)) for one in pictures]
        digest = hashlib.sha256(b"".join(one.tobytes() for one in pictures)).hexdigest()
        # Facts of files that were never written; they say nothing about the label.
        width, height = _SIZES[int(content.integers(len(_SIZES)))]
        size_bytes = int(width * height * (0.1 + 0.2 * content.random()))
        facts = FileFacts(width, height, size_bytes)
        if self.clips:
            fps = float(content.choice(np.array([24.0, 25.0, 30.0])))
            facts = FileFacts(width, height, 20 * size_bytes, fps, float(2 + 3 * content.random()))
        return FileContent(pictures, facts, digest)

    def _generator(self, number: int, purpose: str) -> np.random.Generator:
        import numpy as np

        # Each thing that is drawn has random numbers of its own, so the order does not matter.
        text = f"{self.category}/{self.seed}/{purpose}/{number}"
        return np.random.default_rng(list(hashlib.sha256(text.encode()).digest()))


def to_bytes(values: NDArray[np.generic]) -> Picture:
    """Limit levels to 0..255 and cut them to bytes."""
    import numpy as np

    clipped: Picture = np.clip(np.asarray(values, float), 0, 255).astype(np.uint8)
    return clipped


def warm_tone(rng: np.random.Generator) -> tuple[float, float, float]:
    """Draw a warm tone, BGR."""
    light = float(rng.uniform(0.55, 1.1))
    shift = float(rng.uniform(-15, 15))
    return 120.0 * light, (155.0 + shift) * light, min(220.0 * light, 255.0)


def _draw_image(ground: Picture, rng: np.random.Generator, *, positive: bool) -> Picture:
    import cv2

    picture = ground.copy()
    centre = tuple(int(value) for value in rng.integers(28, SIDE_PX - 28, 2))
    half = (int(rng.integers(13, 28)), int(rng.integers(13, 28)))
    tone = warm_tone(rng)
    angle = float(rng.uniform(0, 180))
    kind = "shape" if positive else str(rng.choice(["box", "cold", "flat"]))
    if kind == "box":
        box = cv2.boxPoints((centre, (2 * half[0], 2 * half[1]), angle)).astype(int)
        cv2.fillPoly(picture, [box], tone)
    else:
        colour = tone if kind != "cold" else tuple(reversed(tone))
        cv2.ellipse(picture, centre, half, angle, 0, 360, colour, -1, cv2.LINE_AA)
    if kind != "flat":
        darker = tuple(0.55 * value for value in tone)
        fold = (max(4, half[0] // 2), max(4, half[1] // 2))
        cv2.ellipse(picture, centre, fold, angle, 20, 160, darker, 2, cv2.LINE_AA)
    return to_bytes(cv2.GaussianBlur(picture, (3, 3), 0))


def _draw_clip(
    ground: Picture, rng: np.random.Generator, *, positive: bool, count: int
) -> list[Picture]:
    import cv2
    import numpy as np

    meeting = float(rng.uniform(0.25, 0.75))
    height = float(rng.uniform(40, 62))
    reach = float(rng.uniform(60, 80))
    colours = [tuple(float(value) for value in rng.integers(0, 256, 3)) for _ in range(2)]
    stray = not positive and rng.random() < 0.5
    pictures = []
    for time in np.linspace(0, 1, count):
        gap = 6 + reach * abs(float(time) - meeting)
        # Figures that never meet, or else meet where no spark is.
        if not positive and not stray:
            gap = max(gap, 26)
        picture = ground.copy()
        left, right = (SIDE_PX - gap) / 2, (SIDE_PX + gap) / 2
        for x, colour in zip((left, right), colours, strict=True):
            feet = round(x), round(height)
            cv2.line(picture, feet, (feet[0], feet[1] - 18), colour, 4, cv2.LINE_AA)
            cv2.circle(picture, (feet[0], feet[1] - 23), 5, colour, -1, cv2.LINE_AA)
            for rise, width in ((0, 7), (-13, 9)):  # legs, arms
                for side in (-1, 1):
                    end = feet[0] + side * width, feet[1] + rise + int(rng.integers(4, 12))
                    cv2.line(picture, (feet[0], feet[1] + rise), end, colour, 2)
        if gap < 24 and positive:
            _draw_spark(picture, ((left + right) / 2, height - 8), rng)
        elif gap < 24 and stray:
            _draw_spark(picture, (float(rng.choice(np.array([10, SIDE_PX - 10]))), 12.0), rng)
        pictures.append(picture)
    return pictures


def _draw_spark(picture: Picture, at: tuple[float, float], rng: np.random.Generator) -> None:
    import cv2
    import numpy as np

    for angle in rng.uniform(0, 2 * np.pi, 6):
        length = float(rng.uniform(8, 13))
        end = (at[0] + length * float(np.cos(angle)), at[1] + length * float(np.sin(angle)))
        cv2.line(
            picture, (round(at[0]), round(at[1])), (round(end[0]), round(end[1])),
            (60.0, 200.0, 250.0), 2, cv2.LINE_AA,
        )  # fmt: skip
