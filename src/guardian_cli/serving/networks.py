"""The networks, by the name that stands in a model's card.

    tiny        a small convolutional network of our own; options: width (16)
    clip-head   an open_clip image tower, frozen, and a head on its unit-length feature; options:
                clip_config (the open_clip model-config JSON, inline), hidden (0 is a linear head)

Every network takes float32 (N, 3, px, px) and gives one logit a picture, shape (N,).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - a leaf: whoever imports it is about to run a network
from torch import nn  # noqa: TID253 - as above

from guardian_cli.serving.format import FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardian_cli.serving.format import ModelCard


# A tower is all we want of open_clip's model: the text side is built as small as it can be.
_NO_TEXT = {"context_length": 4, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}


class MeanAndMax(nn.Module):
    """Pool (N, C, h, w) to (N, 2 C)."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Mean and maximum of each channel."""
        # The maximum beside the mean: what is small still counts.
        return torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)


class TinyNetwork(nn.Module):
    """`body`, four halvings and a pooling, turns pictures into (N, 8 * width) features."""

    # A picture at a time is as fast, and no digit of a score depends on what else is in a batch.
    views_at_once = (1, 1)

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        sizes = [3, width, 2 * width, 4 * width, 4 * width]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(sizes):
            layers += [
                nn.Conv2d(before, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
            ]
        self.body = nn.Sequential(*layers, MeanAndMax())
        self.head = nn.Linear(2 * sizes[-1], 1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, 3, px, px) to (N,) logits."""
        logits: torch.Tensor = self.head(self.body(pictures)).squeeze(1)
        return logits


class ClipHead(nn.Module):
    """An open_clip image tower and a small head on its normalised feature."""

    # From eight pictures on, a matrix product adds up in the same order however many there are.
    views_at_once = (8, 64)

    def __init__(self, clip_config: Mapping[str, Any], hidden: int = 0) -> None:
        super().__init__()
        self.tower = build_tower(clip_config)
        self.head = build_head(int(clip_config["embed_dim"]), hidden)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, 3, px, px) to (N,) logits."""
        features = nn.functional.normalize(self.tower(pictures), dim=-1)
        logits: torch.Tensor = self.head(features).squeeze(1)
        return logits


def build_tower(clip_config: Mapping[str, Any]) -> nn.Module:
    """Build open_clip's image tower for a model config, with untrained weights."""
    import open_clip

    model = open_clip.CLIP(
        embed_dim=int(clip_config["embed_dim"]),
        vision_cfg=dict(clip_config["vision_cfg"]),
        text_cfg=dict(_NO_TEXT),
        quick_gelu=bool(clip_config.get("quick_gelu", False)),
    )
    tower: nn.Module = model.visual
    return tower


def build_head(features: int, hidden: int) -> nn.Module:
    """Build a linear head, or one with a hidden layer: (N, features) to (N, 1)."""
    if not hidden:
        return nn.Linear(features, 1)
    return nn.Sequential(
        nn.Linear(features, hidden), nn.GELU(), nn.Dropout(0.1), nn.Linear(hidden, 1)
    )


def build_network(card: ModelCard) -> nn.Module:
    """Build the network of a card, untrained. Raises FormatError for a name nobody knows."""
    kinds = {"tiny": TinyNetwork, "clip-head": ClipHead}
    kind = kinds.get(card.architecture)
    if kind is None:
        known = ", ".join(sorted(kinds))
        raise FormatError(f"architecture is {card.architecture!r}, not one of {known}")
    try:
        network: nn.Module = kind(**card.options)
    except (TypeError, KeyError) as error:
        raise FormatError(f"the options of {card.architecture} are wrong: {error}") from error
    return network
