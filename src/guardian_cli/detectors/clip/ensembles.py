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
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


# The smallest numbers, and steps down from 1, that a float32 of full precision has.
LEAST, LEAST_FROM_1 = 2.0**-126, 2.0**-24


def score_ensembles(images: Tensor, positive: Tensor, negative: Tensor, scale: float) -> Tensor:
    """Score unit image features (N, D) against unit text features (P, D) and (Q, D): (N,), 0..1."""
    return compare_ensembles(images, positive, negative, scale).sigmoid()


def compare_ensembles(images: Tensor, positive: Tensor, negative: Tensor, scale: float) -> Tensor:
    """L(positive) - L(negative) of each image, (N,): the log of the score's odds."""
    return _log_mean_exp(scale * images @ positive.T) - _log_mean_exp(scale * images @ negative.T)


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


def _log_mean_exp(logits: Tensor) -> Tensor:
    import torch

    return torch.logsumexp(logits, dim=1) - math.log(logits.shape[1])
