"""How far a model's scores in half precision may be from those in fp32: measured for each model.

Numbers with fewer digits err by what the weights, the prompts and the processor make of them, so
nobody can say it beforehand. A model is asked for eight drawn pictures in both precisions when it
is first used, and the largest difference of the log of the odds is remembered. Real pictures were
seen to err up to 2.7 times as much (111 pictures and frames, two models), so ALLOWANCE times as
much is allowed for: an estimate, no bound, and a poor one for models that err much. `auto` takes
half precision only where that is MOST_LOGITS at most, 0.05 of a score.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING

from guardian_cli.detectors.clip.ensembles import compare_ensembles
from guardian_cli.detectors.clip.hardware import name_hardware
from guardian_cli.detectors.clip.text_cache import put_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from torch import Tensor

    from guardian_cli.detectors.clip.tower import ImageTower

PICTURES = 8
ALLOWANCE = 4.0
# The score changes by at most a quarter of this, where it is 0.5.
MOST_LOGITS = 0.2


def allowed_errors(measured: Mapping[str, float]) -> dict[str, float]:
    """For each category how far the log of a score's odds may be off, by what was measured."""
    return {name: ALLOWANCE * error for name, error in measured.items()}


def is_precise(allowed: Mapping[str, float]) -> bool:
    """Whether the errors that have to be allowed for are small enough to go without being asked."""
    return all(error <= MOST_LOGITS for error in allowed.values())


def measure(
    exact: ImageTower,
    fast: ImageTower,
    texts: Mapping[str, tuple[Tensor, Tensor]],
    scale: float,
) -> dict[str, float]:
    """For each category the largest difference between two towers; infinity for what is none."""
    import torch

    views = draw_views(exact.preprocessing.size_px)
    with torch.inference_mode():
        pair = exact.features(views), fast.features(views)
        differences = {}
        for name, (positive, negative) in texts.items():
            one, other = (compare_ensembles(side, positive, negative, scale) for side in pair)
            difference = float((one - other).abs().max())
            differences[name] = difference if math.isfinite(difference) else math.inf
    return differences


def draw_views(size_px: tuple[int, int]) -> Tensor:
    """Pictures with something of every size in them, (PICTURES, 3, height, width), uint8."""
    import torch

    random = torch.Generator().manual_seed(0)
    height, width = size_px
    pictures = 255 * torch.rand((PICTURES, 3, 1, 1), generator=random)
    pictures = pictures.expand(-1, -1, height, width)
    for cells, strength in ((2, 60.0), (5, 40.0), (16, 25.0), (64, 12.0)):
        rough = strength * torch.randn((PICTURES, 3, cells, cells), generator=random)
        pictures = pictures + torch.nn.functional.interpolate(
            rough, size=(height, width), mode="bicubic"
        )
    return pictures.clamp(0, 255).byte()


def remembered(
    file: Path | None, categories: Iterable[str], take: Callable[[], dict[str, float]]
) -> dict[str, float]:
    """What was measured before, from `file`; else what `take` measures now, kept there.

    A file that says nothing of one of the `categories`, or of others, is damaged.
    """
    known = _read(file, set(categories)) if file is not None else None
    if known is not None:
        return known
    measured = take()
    if file is not None:
        put_whole(file, json.dumps(measured).encode())
    return measured


def check_key(
    model_key: str, texts: Mapping[str, tuple[Tensor, Tensor]], device: str, precision: str
) -> str:
    """A digest of all that the differences depend on; `model_key` has weights and prompts in it.

    The processor counts as well: a home can be shared by machines, and each computes its own way.
    """
    import torch

    categories = [(name, *map(len, sides)) for name, sides in texts.items()]
    parts = [model_key, categories, name_hardware(device), precision, torch.__version__, PICTURES]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _read(file: Path, categories: set[str]) -> dict[str, float] | None:
    try:
        known = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(known, dict) or known.keys() != categories:
        return None
    sound = all(isinstance(number, float) and number >= 0 for number in known.values())
    return known if sound else None
