"""Draw a short video with our own code: a calm scene in which a star shows up for two seconds.

python examples/draw_video.py star.mp4
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT, FPS, SECONDS = 640, 360, 25, 12
STAR_FROM_S, STAR_TO_S = 7.0, 9.0


def draw_frame(time_s: float) -> np.ndarray:
    """Return one BGR picture: sky, hills, a moving cloud, and the star while it is there."""
    rows = np.linspace(0, 1, HEIGHT)[:, None, None]
    sky = (1 - rows) * np.array([214, 150, 92]) + rows * np.array([235, 214, 190])
    picture = np.repeat(sky, WIDTH, axis=1).astype(np.uint8)
    hills = [
        (x, int(HEIGHT * 0.72 - 34 * math.sin(x / 70) - 18 * math.sin(x / 23)))
        for x in range(WIDTH)
    ]
    ground = np.array([*hills, (WIDTH, HEIGHT), (0, HEIGHT)], np.int32)
    cv2.fillPoly(picture, [ground], (86, 128, 82), cv2.LINE_AA)
    cloud_x = int(40 + 40 * time_s)
    for shift, radius in ((0, 26), (30, 34), (62, 24)):
        cv2.circle(picture, (cloud_x + shift, 80), radius, (250, 248, 246), -1, cv2.LINE_AA)
    if STAR_FROM_S <= time_s < STAR_TO_S:
        cv2.fillPoly(picture, [_star(460, 190, 70)], (40, 40, 230), cv2.LINE_AA)
    return picture


def _star(x: int, y: int, radius: int) -> np.ndarray:
    corners = []
    for corner in range(10):
        length = radius if corner % 2 == 0 else radius * 0.42
        angle = math.pi * corner / 5 - math.pi / 2
        corners.append((round(x + length * math.cos(angle)), round(y + length * math.sin(angle))))
    return np.array(corners, np.int32)


def write_video(path: Path) -> None:
    """Write the whole video as MPEG-4, which every OpenCV can encode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
    for number in range(FPS * SECONDS):
        writer.write(draw_frame(number / FPS))
    writer.release()


def main() -> None:
    """Read the path and write the video there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    path = parser.parse_args().path
    write_video(path)
    print(f"drew {path}: {SECONDS} s, a star from {STAR_FROM_S:g} s to {STAR_TO_S:g} s")


if __name__ == "__main__":
    main()
