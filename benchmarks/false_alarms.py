"""How many clean videos are flagged by length: by `max`, by `mean`, and by guardian calibrated.

python benchmarks/false_alarms.py [--quick] [--json FILE]

Each rule is given the threshold that flags 1% of one-minute videos, on one set of clean videos, and
is tried on others of a minute, ten minutes and two hours at a frame a second. Scores are noise of
several kinds, independent from frame to frame; the last is a detector that is wrong about one
frame in a hundred. Guardian's smoothing is done for all videos at once here; a test holds it to
what `verdict` decides. A flash that a refinement would dismiss is left out of all.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measuring import save, show

from guardian_cli.evaluation.calibrate import Levels, fit_threshold
from guardian_cli.verdict.calibration import logit
from guardian_cli.verdict.timeline import FLICKER_REACH, FLICKER_REVIEW

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RATE = 0.01
LENGTHS = {"1 min": 60, "10 min": 600, "2 h": 7200}
NOISE: dict[str, Callable[[np.random.Generator, int, int], Floats]] = {
    "uniform": lambda rng, videos, samples: rng.random((videos, samples)),
    "exponential": lambda rng, videos, samples: rng.beta(1, 8, (videos, samples)),
    "normal": lambda rng, videos, samples: rng.normal(0.3, 0.1, (videos, samples)).clip(0, 1),
    "1% wrong": lambda rng, videos, samples: np.where(
        rng.random((videos, samples)) < 0.01,
        rng.beta(8, 2, (videos, samples)),
        rng.beta(1, 12, (videos, samples)),
    ),
}


def levels_of(scores: Floats) -> Floats:
    """The highest `review` threshold that each row (V, N) of scores reaches; (V,).

    Two samples in a row confirm each other, and of 17 three are enough for a person to look.
    """
    pairs = np.minimum(scores[:, 1:], scores[:, :-1]).max(axis=1)
    around = 2 * FLICKER_REACH + 1
    padded = np.pad(scores, ((0, 0), (FLICKER_REACH, FLICKER_REACH)), constant_values=-1.0)
    windows = np.lib.stride_tricks.sliding_window_view(padded, around, axis=1)
    third = np.partition(windows, around - FLICKER_REVIEW, axis=2)[:, :, around - FLICKER_REVIEW]
    # A sample counts for what it is at most.
    highest: Floats = np.maximum(pairs, np.minimum(third, scores).max(axis=1))
    return highest


def simulate(noise: str, clean: int, tried: int, seed: int = 0) -> dict[str, dict[str, float]]:
    """The share of clean videos that each rule flags, by rule and length."""
    rng = np.random.default_rng(seed)
    draw = NOISE[noise]
    known = draw(rng, clean, LENGTHS["1 min"])
    count = math.floor(RATE * clean)
    edges = {
        name: float(np.sort(values)[::-1][count - 1 : count + 1].mean())
        for name, values in (("max", known.max(axis=1)), ("mean", known.mean(axis=1)))
    }
    levels = levels_of(known)
    data = Levels(
        np.zeros(clean, dtype=bool), levels, np.full(clean, 60), range(clean), [""] * clean
    )
    threshold, samples, scale, _ = fit_threshold(data, ~data.positive, RATE)
    shares: dict[str, dict[str, float]] = {}
    for length, number in LENGTHS.items():
        counts: dict[str, list[bool]] = {}
        # A few at a time: two hours of a thousand videos are 7 million samples, 17 times over.
        for _ in range(0, tried, 25):
            scores = draw(rng, 25, number)
            heights = np.array([logit(one) for one in levels_of(scores)])
            raised = threshold + scale * math.log(number / samples)
            for rule, flagged in (
                ("max", scores.max(axis=1) >= edges["max"]),
                ("mean", scores.mean(axis=1) >= edges["mean"]),
                ("guardian, any length alike", heights >= threshold),
                ("guardian", heights >= raised),
            ):
                counts.setdefault(rule, []).extend(flagged.tolist())
        for rule, flags in counts.items():
            shares.setdefault(rule, {})[length] = float(np.mean(flags))
    return shares


def main() -> None:
    """Simulate, print a table, and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    clean, tried = (300, 50) if options.quick else (1000, 500)
    shares = {noise: simulate(noise, clean, tried) for noise in NOISE}
    rows = [
        (noise, rule, *(f"{share:.1%}" for share in row.values()))
        for noise, by_rule in shares.items()
        for rule, row in by_rule.items()
    ]
    show(
        "Clean videos flagged, 1% of those of a minute being allowed",
        rows,
        ("noise", "rule", *LENGTHS),
    )
    save(options.json, {"rate": RATE, "shares": shares})


if __name__ == "__main__":
    main()
