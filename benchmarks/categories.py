"""What seven more categories cost: CLIP on frames with two, and what two and nine add to the tower.

    python benchmarks/categories.py [--rounds 9] [--json FILE]

The image tower runs once for all categories; each category adds the products with its text features
and a fusion for each frame. That part is timed alone: it is too small to be seen in the whole.
Text features are there already, as in every run but the first.
"""

from __future__ import annotations

import functools
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from benchmarks import material
from benchmarks.measuring import arguments, in_turns, save, show

from guardian_cli.config import FusionSection
from guardian_cli.detectors.clip import load_clip
from guardian_cli.detectors.clip.scoring import score_ensembles
from guardian_cli.detectors.fusion import score_category
from guardian_cli.prompts import DEFAULT_CATEGORIES, DEFAULT_PROMPTS, READY
from guardian_cli.settings import calm_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def milliseconds(work: Callable[[], object], times: int) -> float:
    begun = time.perf_counter()
    for _ in range(times):
        work()
    return 1000 * (time.perf_counter() - begun) / times


def unit(rows: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(rows, 512), dim=1)


def beside_the_tower(categories: Sequence[str], frames: int) -> Callable[[], object]:
    """What ClipDetector and Scorer do with the features of two views a frame."""
    views, weights = unit(2 * frames), FusionSection()
    texts = [tuple(unit(len(side)) for side in READY[name].prompts) for name in categories]

    def work() -> None:
        with torch.inference_mode():
            for positive, negative in texts:
                scores = score_ensembles(views, positive, negative, 100.0).tolist()
                for at in range(frames):
                    score_category({"clip": max(scores[2 * at], scores[2 * at + 1])}, weights)

    return work


def main() -> None:
    wanted = arguments(__doc__ or "", rounds=9).parse_args()
    model, count = ("ViT-S-32-alt", 2) if wanted.quick else ("ViT-B-32", 32)
    wanted.rounds = 1 if wanted.quick else wanted.rounds
    calm_threads()
    random = np.random.default_rng(0)
    frames = [random.integers(0, 256, (224, 398, 3), np.uint8) for _ in range(count)]
    with tempfile.TemporaryDirectory() as cache:
        detector = load_clip(
            *(model, str(material.checkpoint(model)), DEFAULT_PROMPTS),
            offline=True,
            text_cache=Path(cache),
        )
    detector.score(frames)
    two, nine = "beside the tower, two", "beside the tower, nine"
    works: dict[str, tuple[Callable[[], object], int]] = {
        "all of it, two": (functools.partial(detector.score, frames), 1),
        two: (beside_the_tower(DEFAULT_CATEGORIES, count), 10),
        nine: (beside_the_tower(tuple(READY), count), 10),
    }
    rivals = {
        name: functools.partial(milliseconds, work, times) for name, (work, times) in works.items()
    }
    taken = in_turns(rivals, wanted.rounds)
    # The best of the rounds: whatever else runs here can only add to it.
    best = {name: min(times) for name, times in taken.items()}
    ratios = {"nine / two": 1 + (best[nine] - best[two]) / best["all of it, two"]}
    show(f"{count} frames of two views", [list(one) for one in best.items()], ["", "ms"])
    show("ratio", [["nine / two", f"{ratios['nine / two']:.4f}"]], ["", "ratio"])
    save(wanted.json, {"ms": taken, "ratios": ratios})


if __name__ == "__main__":
    main()
