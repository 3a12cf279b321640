"""The zero-shot score: a positive prompt ensemble against an explicit negative one.

With unit vectors v (the view) and t (a prompt) and the model's own trained scale s:

    L(E)  = log( 1/|E| * sum over t in E of exp(s * v.t) )
    score = sigmoid( L(positive) - L(negative) )

This is CLIP's softmax over all prompts (Radford et al. 2021, section 3.1.2) with the two sides at
even odds and each side's half divided evenly among its prompts: a side gains nothing by merely
having more prompts, and a set of prompts written twice scores the same. The embeddings of a side
are not averaged, as section 3.1.4 does with templates of one class: swimwear, statues and food are
different things, and their mean is none of them.

The score ranks frames and is not a calibrated probability: the softmax is sharp (s is about 100),
so a small difference in likeness moves it far.

In half precision the score errs by what the weights, the prompts and the processor make of fewer
digits, which nobody can say beforehand. So it is measured for each model: the largest difference of
the log of the odds, over eight drawn pictures. Real pictures were seen to err up to 2.7 times as
much (111 pictures and frames, two models), so ALLOWANCE times as much is allowed for: an estimate,
no bound, and a poor one for models that err much.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from guardian_cli.detectors.clip.tower import ImageTower

PICTURES = 8
ALLOWANCE = 4.0
# `auto` takes half precision up to here. A score of 0.5 changes by a quarter of this at most.
MAX_LOGIT_ERROR = 0.2
# The smallest numbers, and steps down from 1, that a float32 of full precision has.
LEAST, LEAST_FROM_1 = 2.0**-126, 2.0**-24


def score_ensembles(images: Tensor, positive: Tensor, negative: Tensor, scale: float) -> Tensor:
    """Score unit image features (N, D) against unit text features (P, D) and (Q, D): (N,), 0..1."""
    return compare_ensembles(images, positive, negative, scale).sigmoid()


def compare_ensembles(images: Tensor, positive: Tensor, negative: Tensor, scale: float) -> Tensor:
    """L(positive) - L(negative) of each image, (N,): the log of the score's odds."""
    import torch

    sides = [
        torch.logsumexp(scale * images @ side.T, dim=1) - math.log(len(side))
        for side in (positive, negative)
    ]
    return sides[0] - sides[1]


def score_error(score: float, logit_error: float) -> float:
    """How far a score in 0..1 can be off if the log of its odds is by at most `logit_error`.

    The score is a float32: what reads 0 or 1 was rounded to it, and has odds.
    """
    if not math.isfinite(logit_error):
        return 1.0
    some, rest = max(score, LEAST), max(1 - score, LEAST_FROM_1)
    # The odds move by a factor; as a shrinking one it can't overflow.
    shrunk = math.exp(-logit_error)
    up = some / (some + rest * shrunk) - score
    down = score - some * shrunk / (some * shrunk + rest)
    return max(up, down)


def measure_errors(
    exact: ImageTower,
    fast: ImageTower,
    log_odds: Mapping[str, Callable[[Tensor], Tensor]],
) -> dict[str, float]:
    """For each category the largest difference between two towers in the log of the odds.

    `log_odds` give them, (N,), for unit image features (N, D). Infinity where one of them gives no
    number.
    """
    import torch

    views = draw_views(exact.preprocessing.size_px)
    differences = {}
    with torch.inference_mode():
        features = exact.features(views), fast.features(views)
        for name, read in log_odds.items():
            one, other = (read(some) for some in features)
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
