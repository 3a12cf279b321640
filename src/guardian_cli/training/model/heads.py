"""What is trained: a score for each frame, and a clip's score made of them.

A clip is a bag of frames of which only some may show what its label says (multiple-instance
learning). Its logit is the mean of the upper half of its frames' logits, in the manner of Sultani
et al. (2018), so that the network scores single frames, which is what an endpoint is asked for.
Beside it, for clips, an attention over neighbouring frames (Ilse et al., 2018) learns from the same
features: it steers training and says what time would add; it is not released.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch  # noqa: TID253 - a leaf: whoever imports it is about to train
from torch import nn  # noqa: TID253 - as above

# Clips are few: a wider one would learn them by heart.
_ATTENTION_WIDTH = 32


@dataclass(frozen=True, slots=True)
class BagLogits:
    """Logits of a batch: frames (B, T), bags (B,), and bags by attention (B,) for clips."""

    frames: torch.Tensor
    bags: torch.Tensor
    temporal: torch.Tensor | None


class TemporalAttention(nn.Module):
    """Weighs frames by themselves and their neighbours."""

    def __init__(self, features: int) -> None:
        super().__init__()
        width = _ATTENTION_WIDTH
        self.squeeze = nn.Linear(features, width)
        self.context = nn.Conv1d(width, width, 3, padding=1)
        self.attend = nn.Linear(width, 1)
        self.score = nn.Linear(width, 1)

    def forward(
        self, features: torch.Tensor, frame_logits: torch.Tensor, real: torch.Tensor
    ) -> torch.Tensor:
        """Score (B, T, D) features with (B, T) logits; `real` (B, T) is False for padding: (B,)."""
        squeezed = nn.functional.gelu(self.squeeze(features)) * real.unsqueeze(-1)
        seen: torch.Tensor = nn.functional.gelu(
            self.context(squeezed.transpose(1, 2)).transpose(1, 2)
        )
        attention = self.attend(seen).squeeze(-1).masked_fill(~real, float("-inf"))
        scored = frame_logits + self.score(seen).squeeze(-1)
        weights = torch.softmax(attention, dim=1)
        logits: torch.Tensor = (weights * scored.masked_fill(~real, 0.0)).sum(dim=1)
        return logits


class BagNetwork(nn.Module):
    """`embed` turns one input a view into (N, features), `head` these into (N, 1) logits.

    The largest of a frame's views counts, as it does where the network is served.
    """

    def __init__(self, embed: nn.Module, head: nn.Module, features: int, *, temporal: bool) -> None:
        super().__init__()
        self.embed = embed
        self.head = head
        self.temporal = TemporalAttention(features) if temporal else None

    def forward(self, inputs: torch.Tensor, real: torch.Tensor, owners: torch.Tensor) -> BagLogits:
        """Score the real frames of a batch: inputs (N, ...) by view, real (B, T) bool.

        `owners` (N,) says of each view which of the sum of `real` frames it is of, in rising order.
        """
        features = self.embed(inputs)
        logits = self.head(features).squeeze(1)
        count = int(real.sum())
        if len(owners) != count:
            largest = logits.new_zeros(count).scatter_reduce(
                0, owners, logits, "amax", include_self=False
            )
            # The attention over time has one feature a frame: the mean of its views'.
            sums = features.new_zeros((count, features.shape[1])).index_add(0, owners, features)
            features = sums / owners.bincount(minlength=count).unsqueeze(1)
            logits = largest
        # Only real frames went through the network; here they go back to their places.
        frames = torch.zeros(real.shape, dtype=logits.dtype, device=logits.device)
        frames[real] = logits
        bags = pool_logits(frames, real)
        if self.temporal is None:
            return BagLogits(frames, bags, None)
        padded = features.new_zeros((*real.shape, features.shape[1]))
        padded[real] = features
        return BagLogits(frames, bags, self.temporal(padded, frames, real))


def pool_logits(frames: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """The mean of the upper half (rounded up) of each row's real logits: (B, T) to (B,)."""
    # Padding sorts to the end, behind every real frame.
    ranked = frames.masked_fill(~real, float("-inf")).sort(dim=1, descending=True).values
    wanted = (real.sum(dim=1) + 1) // 2
    places = torch.arange(frames.shape[1], device=frames.device)
    chosen = places.unsqueeze(0) < wanted.unsqueeze(1)
    return ranked.masked_fill(~chosen, 0.0).sum(dim=1) / wanted


def bag_loss(
    logits: BagLogits, targets: torch.Tensor, positive_weight: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of the bags, the rarer class weighing more; the attention's counts half."""
    cross_entropy = nn.BCEWithLogitsLoss(pos_weight=positive_weight)
    loss: torch.Tensor = cross_entropy(logits.bags, targets)
    if logits.temporal is not None:
        loss = loss + 0.5 * cross_entropy(logits.temporal, targets)
    return loss
