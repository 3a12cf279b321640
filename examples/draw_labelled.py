"""Draw short labelled videos to try `guardian evaluate` on: red stars, and what is no red star.

python examples/draw_labelled.py labelled --videos 40
"""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT, FPS, SECONDS = 160, 120, 5, 3
RED, BLUE = (40, 40, 220), (210, 90, 30)
SETTINGS = """\
scan: {detectors: [clip]}
categories:
  nsfw: off
  violence: off
  red-star:
    prompts:
      positive: [a red star, a picture of a red star, a drawing of a red star]
      negative: [a red circle, a red square, a blue star, a blue circle, a blue square, nothing]
"""


def draw_shape(picture: np.ndarray, corners: int, colour: tuple[int, int, int], x: int) -> None:
    """Draw a star of ten corners, or a regular shape of fewer or more, at `x` in the middle."""
    at = []
    for corner in range(corners):
        length = 30 * (0.42 if corners == 10 and corner % 2 else 1.0)
        angle = math.tau * corner / corners - math.pi / 2
        at.append((x + length * math.cos(angle), HEIGHT / 2 + length * math.sin(angle)))
    cv2.fillPoly(picture, [np.array(at).round().astype(np.int32)], colour, cv2.LINE_AA)


def write_video(path: Path, rng: np.random.Generator, *, positive: bool) -> None:
    """Write a shape that drifts over a plain background; a red star if it is `positive`."""
    others = [(corners, colour) for corners in (4, 10, 64) for colour in (RED, BLUE)]
    others.remove((10, RED))
    corners, colour = (10, RED) if positive else others[int(rng.integers(len(others)))]
    ground = rng.integers(60, 220) + rng.integers(-30, 31, 3)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
    start = int(rng.integers(40, 80))
    for number in range(FPS * SECONDS):
        picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        picture[:] = np.clip(ground, 0, 255)
        draw_shape(picture, corners, colour, start + 3 * number)
        writer.write(picture)
    writer.release()


def main(arguments: list[str] | None = None) -> None:
    """Write videos, labels.csv and a guardian.yaml into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--videos", type=int, default=40)
    options = parser.parse_args(arguments)
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    rows = [("path", "category", "label")]
    for number in range(options.videos):
        positive = number % 3 == 0
        path = folder / f"{number:04d}.mp4"
        write_video(path, np.random.default_rng(number), positive=positive)
        rows.append((path.name, "red-star", "red-star" if positive else "other"))
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    (folder / "guardian.yaml").write_text(SETTINGS, encoding="utf-8")
    print(f"drew {options.videos} videos into {folder}, with labels.csv and guardian.yaml")


if __name__ == "__main__":
    main()
