"""(d) The model alone, over batch sizes and precisions, and its share of what the machine can do.

    python benchmarks/model_alone.py [--rounds 5] [--device cpu|cuda] [--json FILE]

Frames as the decoder gives them go in, scores come out. The rival is the image tower in fp32, one
picture at a time. The peak is measured in the same run: the best matrix product of the sizes that
the model has, in the same precision on the same device.
"""

from __future__ import annotations

import functools
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from benchmarks import material
from benchmarks.measuring import arguments, in_turns, machine, ratio, save, show

from guardian_cli.detectors.clip import ClipDetector, load_clip
from guardian_cli.detectors.clip.hardware import choose_precision
from guardian_cli.detectors.clip.speedups import lay_out
from guardian_cli.prompts import DEFAULT_PROMPTS
from guardian_cli.settings import calm_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# Arithmetic of one view as guardian does it: the last block computes one token only.
GFLOP = {"ViT-B-32": 8.29, "ViT-S-32-alt": 2.2}


def frames(count: int) -> list[NDArray[np.uint8]]:
    """Square ones, so that one frame is one view."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (224, 224, 3), np.uint8) for _ in range(count)]


def speed(detector: ClipDetector, pictures: list[NDArray[np.uint8]], batch: int) -> float:
    """Pictures a second."""
    begun = time.perf_counter()
    for at in range(0, len(pictures), batch):
        detector.score(pictures[at : at + batch])
    return len(pictures) / (time.perf_counter() - begun)


def peak_gflops(precision: str, device: str) -> float:
    import torch

    kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    left = torch.randn(1600, 768, device=device).to(kind)
    right = torch.randn(3072, 768, device=device).to(kind)
    multiply = lay_out(right, torch.zeros(3072, device=device).to(kind))
    best = 0.0
    for _ in range(10):
        begun = time.perf_counter()
        product = multiply(left)
        float(product[0, 0])  # waits for a device that works on its own
        best = max(best, 2 * 1600 * 768 * 3072 / (time.perf_counter() - begun) / 1e9)
    return best


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--device", default="cpu")
    wanted = parser.parse_args()
    model, count, batches = "ViT-B-32", 64, [1, 8, 32]
    if wanted.quick:
        model, count, batches, wanted.rounds = "ViT-S-32-alt", 4, [1, 4], 1
    calm_threads()
    pictures = frames(count)
    half = "bf16" if wanted.device == "cpu" else "fp16"
    rivals: dict[str, Callable[[], float]] = {}
    with tempfile.TemporaryDirectory() as cache:
        for precision in ("fp32", half):
            detector = load_clip(
                *(model, str(material.checkpoint(model)), DEFAULT_PROMPTS),
                offline=True,
                device=wanted.device,
                precision=precision,
                text_cache=Path(cache),
            )
            detector.score(pictures[:2])
            for batch in batches:
                some = pictures[: max(batch, count // 8)]
                name = f"{precision}, batch {batch}"
                rivals[name] = functools.partial(speed, detector, some, batch)
        rivals["fp32 peak"] = lambda: peak_gflops("fp32", wanted.device)
        rivals[f"{half} peak"] = lambda: peak_gflops(half, wanted.device)
        taken = in_turns(rivals, wanted.rounds)
    rows = []
    for name in (one for one in taken if "batch" in one):
        speeds, peaks = taken[name], taken[f"{name.partition(',')[0]} peak"]
        shares = [GFLOP[model] * s / p for s, p in zip(speeds, peaks, strict=True)]
        rows.append([name, statistics.median(speeds), f"{statistics.median(shares):.0%}"])
    show(f"{model} on {wanted.device}", rows, ["", "views/s", "share of peak"])
    for name in ("fp32 peak", f"{half} peak"):
        print(f"{name}: {statistics.median(taken[name]):.0f} GFLOP/s")
    best = f"{half}, batch {batches[-1]}"
    ratios = {
        f"{half} / fp32, batch {batches[-1]}": ratio(taken, best, f"fp32, batch {batches[-1]}"),
        f"{best} / fp32, batch 1": ratio(taken, best, "fp32, batch 1"),
    }
    show("ratios, medians over rounds", [[k, v] for k, v in ratios.items()], ["", "ratio"])
    has = ", ".join(machine()["has"]) or "none of the known extensions"
    auto = choose_precision("auto", wanted.device)
    print(f"this machine has {has}; --precision auto takes {auto}")
    save(wanted.json, {"views_a_second_and_gflops": taken, "ratios": ratios})


if __name__ == "__main__":
    main()
