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


def score_ensembles(images: Tensor, positive: Tensor, negative: Tensor, scale: float) -> Tensor:
    """Score unit image features (N, D) against unit text features (P, D) and (Q, D): (N,), 0..1."""
    import torch

    difference = _log_mean_exp(scale * images @ positive.T) - _log_mean_exp(
        scale * images @ negative.T
    )
    return torch.sigmoid(difference)


def _log_mean_exp(logits: Tensor) -> Tensor:
    import torch

    return torch.logsumexp(logits, dim=1) - math.log(logits.shape[1])
