"""Simulated data, drawn by our own code: learnable, not trivial, the same for the same seed.

It shows that the machinery works; a model trained on it knows nothing of the world.

    images    the positive ones have a large smooth shape of one warm tone, with a fold in it; the
              negatives have warm rectangles, warm backgrounds, or smooth shapes of other tones
    clips     in the positive ones two figures meet and spark in some of the frames; in the
              negatives they pass each other, or sparks fly where nobody is

Scenes (background, light, noise) are shared by a few items each: they are the groups. A few labels
are wrong, as they are in life.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from guardian_cli.training.data.frames import FileFacts, Reading
from guardian_cli.training.data.listing import Item, Listing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

SIDE_PX = 96
ITEMS = 480
CLIPS = 160
PER_SCENE = 4
CLIP_CATEGORIES = frozenset({"violence"})
_WRONG_SHARE = 0.03
_SIZES = ((640, 360), (1280, 720), (854, 480), (480, 360))


@dataclass(frozen=True, slots=True)
class Simulation:
    """All the drawn items of one category; a Reader of its own listing."""

    category: str
    seed: int = 0
    items: int | None = None

    @property
    def clips(self) -> bool:
        """Whether it draws clips rather than images."""
        return self.category in CLIP_CATEGORIES

    def listing(self) -> Listing:
        """List what will be drawn: half positive, a scene for every few."""
        count = self.items or (CLIPS if self.clips else ITEMS)
        items = []
        for number in range(count):
            wrong = self._chance(number, "label").random() < _WRONG_SHARE
            positive = (number % 2 == 0) != wrong
            label = self.category if positive else f"not {self.category}"
            name = f"simulated/{self.category}/{number:04d}"
            items.append(Item(Path(name), label, name, group=f"scene {number // PER_SCENE}"))
        return Listing("simulated", tuple(items), simulated=True)

    def __call__(self, item: Item, count: int) -> Reading:
        """Draw an item: one picture, or `count` frames of a clip."""
        number = int(item.path.name)
        chance = self._chance(number, "content")
        scene = self._chance(number // PER_SCENE, "scene")
        positive = number % 2 == 0
        background = _draw_background(scene)
        if self.clips:
            pictures = _draw_clip(background, chance, positive=positive, count=count)
        else:
            pictures = [_draw_image(background, chance, positive=positive)]
        noise = 4 + 8 * float(scene.random())
        pictures = [_add_noise(picture, chance, noise) for picture in pictures]
        digest = hashlib.sha256(b"".join(picture.tobytes() for picture in pictures))
        return Reading(pictures, self._facts(chance), digest.hexdigest())

    def _facts(self, chance: np.random.Generator) -> FileFacts:
        width, height = _SIZES[int(chance.integers(len(_SIZES)))]
        size_bytes = int(width * height * (0.1 + 0.2 * chance.random()))
        if not self.clips:
            return FileFacts(width, height, size_bytes)
        fps = float(chance.choice([24.0, 25.0, 30.0]))
        return FileFacts(width, height, 20 * size_bytes, fps, float(2 + 3 * chance.random()))

    def _chance(self, number: int, purpose: str) -> np.random.Generator:
        import numpy as np

        text = f"{self.category}/{self.seed}/{purpose}/{number}"
        return np.random.default_rng(list(hashlib.sha256(text.encode()).digest()))


def _draw_background(chance: np.random.Generator) -> Picture:
    """A soft, coloured, patchy ground; in one of three scenes a warm one."""
    import cv2
    import numpy as np

    tone = _warm(chance) if chance.random() < 0.33 else chance.integers(30, 220, 3)
    coarse = chance.normal(0, 25, (6, 6, 3)) + np.asarray(tone, float)
    smooth = cv2.resize(coarse.clip(0, 255), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
    return _bytes(smooth)


def _warm(chance: np.random.Generator) -> tuple[float, float, float]:
    """A warm tone, BGR."""
    light = float(chance.uniform(0.55, 1.1))
    blue, green, red = 120.0, 155.0, 220.0
    shift = float(chance.uniform(-15, 15))
    return blue * light, (green + shift) * light, min(red * light, 255.0)


def _draw_image(ground: Picture, chance: np.random.Generator, *, positive: bool) -> Picture:
    import cv2

    picture = ground.copy()
    centre = tuple(int(value) for value in chance.integers(28, SIDE_PX - 28, 2))
    half = (int(chance.integers(13, 28)), int(chance.integers(13, 28)))
    tone = _warm(chance)
    angle = float(chance.uniform(0, 180))
    kind = "shape" if positive else str(chance.choice(["box", "cold", "flat"]))
    if kind == "box":
        box = cv2.boxPoints((centre, (2 * half[0], 2 * half[1]), angle)).astype(int)
        cv2.fillPoly(picture, [box], tone)
    else:
        colour = tone if kind != "cold" else tuple(reversed(tone))
        cv2.ellipse(picture, centre, half, angle, 0, 360, colour, -1, cv2.LINE_AA)
    if kind in {"shape", "cold", "box"}:
        darker = tuple(0.55 * value for value in tone)
        fold = (max(4, half[0] // 2), max(4, half[1] // 2))
        cv2.ellipse(picture, centre, fold, angle, 20, 160, darker, 2, cv2.LINE_AA)
    return _bytes(cv2.GaussianBlur(picture, (3, 3), 0))


def _draw_clip(
    ground: Picture, chance: np.random.Generator, *, positive: bool, count: int
) -> list[Picture]:
    import numpy as np

    meeting = float(chance.uniform(0.25, 0.75))
    height = float(chance.uniform(40, 62))
    reach = float(chance.uniform(60, 80))
    colours = [tuple(float(value) for value in chance.integers(0, 256, 3)) for _ in range(2)]
    stray = not positive and chance.random() < 0.5
    pictures = []
    for time in np.linspace(0, 1, count):
        gap = 6 + reach * abs(float(time) - meeting)
        if not positive and not stray:
            gap = max(gap, 26)
        picture = ground.copy()
        left, right = (SIDE_PX - gap) / 2, (SIDE_PX + gap) / 2
        close = gap < 24
        for side, colour in zip((left, right), colours, strict=True):
            _draw_figure(picture, side, height, colour, chance)
        if positive and close:
            _draw_spark(picture, ((left + right) / 2, height - 8), chance)
        elif stray and close:
            _draw_spark(picture, (float(chance.choice([10, SIDE_PX - 10])), 12.0), chance)
        pictures.append(picture)
    return pictures


def _draw_figure(
    picture: Picture, x: float, y: float, colour: tuple[float, ...], chance: np.random.Generator
) -> None:
    import cv2

    at = (round(x), round(y))
    cv2.line(picture, at, (at[0], at[1] - 18), colour, 4, cv2.LINE_AA)
    cv2.circle(picture, (at[0], at[1] - 23), 5, colour, -1, cv2.LINE_AA)
    for height, spread in ((0, 7), (-13, 9)):
        for side in (-1, 1):
            end_y = at[1] + height + int(chance.integers(4, 12))
            cv2.line(picture, (at[0], at[1] + height), (at[0] + side * spread, end_y), colour, 2)


def _draw_spark(picture: Picture, at: tuple[float, float], chance: np.random.Generator) -> None:
    import cv2
    import numpy as np

    for angle in chance.uniform(0, 2 * np.pi, 6):
        far = float(chance.uniform(8, 13))
        end = (round(at[0] + far * float(np.cos(angle))), round(at[1] + far * float(np.sin(angle))))
        cv2.line(picture, (round(at[0]), round(at[1])), end, (60.0, 200.0, 250.0), 2, cv2.LINE_AA)


def _add_noise(picture: Picture, chance: np.random.Generator, level: float) -> Picture:
    return _bytes(picture + chance.normal(0, level, picture.shape))


def _bytes(values: NDArray[np.generic]) -> Picture:
    import numpy as np

    clipped: Picture = np.clip(np.asarray(values, float), 0, 255).astype(np.uint8)
    return clipped
