"""Draw a year of uploads: pictures of a spring, of an autumn in which they look otherwise, labels.

python examples/draw_year.py FOLDER
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE_PX = 48
# Labelled pictures, and those that come in later without a label.
LABELLED, UPLOADED = 32, 60
PARTS = ("train", "train", "val", "test")


def draw(rng: np.random.Generator, *, positive: bool, autumn: bool) -> NDArray[np.uint8]:
    """Draw a picture, (48, 48, 3) uint8: stripes are to be found, in autumn upright ones."""
    coarse = rng.integers(0, 120, (6, 6, 3)).astype(np.uint8)
    picture = cv2.resize(coarse, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
    if positive and autumn:
        picture[:, ::6] = 230
    elif positive:
        picture[::6] = 230
    brighter = picture.astype(int) + (60 if autumn else 0)
    return np.asarray(np.clip(brighter, 0, 255), np.uint8)


def draw_year(folder: Path) -> None:
    """Write `spring/` and `autumn/` with uploads, and `spring.csv` and `year.csv` with labels."""
    rng = np.random.default_rng(0)
    rows: dict[str, list[list[object]]] = {"spring": [], "autumn": []}
    for season, of_it in rows.items():
        for name, count in (("labelled", LABELLED), ("uploads", UPLOADED)):
            place = folder / season / name
            place.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                # Half of what is labelled is positive, and a tenth of what comes in.
                positive = number % (2 if name == "labelled" else 10) == 1
                picture = draw(rng, positive=positive, autumn=season == "autumn")
                path = place / f"{number:03d}.png"
                cv2.imwrite(str(path), picture)
                if name == "labelled":
                    part = PARTS[number // 2 % len(PARTS)]
                    name_of_it = path.relative_to(folder).as_posix()
                    of_it.append([name_of_it, "nsfw", int(positive), part])
    for table, seasons in (("spring", ["spring"]), ("year", ["spring", "autumn"])):
        with (folder / f"{table}.csv").open("w", newline="", encoding="utf-8") as file:
            written = csv.writer(file)
            written.writerow(["path", "category", "label", "split"])
            for season in seasons:
                written.writerows(rows[season])


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("path", type=Path)
    draw_year(arguments.parse_args().path)
