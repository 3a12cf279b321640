"""Batches of bags: which frames of which items enter the network, and how pictures are varied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray

_MARGIN_PX = 6


@dataclass(frozen=True, slots=True, eq=False)
class Bags:
    """All items' inputs. `inputs` is (P, px, px, 3) uint8 RGB or (P, D) float32, on disk or not.

    Item i owns rows starts[i] to starts[i] + counts[i]. `mean` and `std` (RGB, for 0..1) normalise
    pictures; None for features.
    """

    inputs: NDArray[np.uint8] | NDArray[np.float32]
    starts: Sequence[int]
    counts: Sequence[int]
    positive: Sequence[bool]
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Inputs of the real frames, (B, T) bool which frames are real, and (B,) float targets."""

    inputs: torch.Tensor
    real: torch.Tensor
    targets: torch.Tensor


def training_batches(
    bags: Bags, positions: Sequence[int], size: int, frames: int, chance: torch.Generator
) -> Iterator[Batch]:
    """Yield shuffled batches, at most `frames` frames a bag drawn anew, pictures varied.

    A lone item at the end joins the batch before: batch norm can do nothing with one.
    """
    import torch

    order = [positions[at] for at in torch.randperm(len(positions), generator=chance).tolist()]
    starts = list(range(0, len(order), size))
    if len(starts) > 1 and len(order) - starts[-1] == 1:
        starts.pop()
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        chosen = order[start:end]
        rows = [_draw(bags, at, frames, chance) for at in chosen]
        yield _batch(bags, chosen, rows, chance)


def judging_batches(bags: Bags, positions: Sequence[int], size: int) -> Iterator[Batch]:
    """Yield batches in order, with every frame of each bag, as they are."""
    for start in range(0, len(positions), size):
        chosen = positions[start : start + size]
        rows = [list(range(bags.starts[at], bags.starts[at] + bags.counts[at])) for at in chosen]
        yield _batch(bags, chosen, rows, None)


def _draw(bags: Bags, at: int, frames: int, chance: torch.Generator) -> list[int]:
    import torch

    drawn = torch.randperm(bags.counts[at], generator=chance)[:frames]
    return [bags.starts[at] + offset for offset in sorted(drawn.tolist())]


def _batch(
    bags: Bags, chosen: Sequence[int], rows: Sequence[list[int]], chance: torch.Generator | None
) -> Batch:
    import torch

    longest = max(len(own) for own in rows)
    real = torch.tensor([[at < len(own) for at in range(longest)] for own in rows])
    flat = [row for own in rows for row in own]
    inputs = torch.from_numpy(bags.inputs[flat])
    if bags.mean is not None and bags.std is not None:
        inputs = inputs.permute(0, 3, 1, 2).float() / 255.0
        if chance is not None:
            inputs = vary(inputs, [len(own) for own in rows], chance)
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (bags.mean, bags.std))
        # Convolutions on a CPU are twice as fast with the channels last.
        inputs = ((inputs - mean) / std).contiguous(memory_format=torch.channels_last)
    targets = torch.tensor([float(bags.positive[at]) for at in chosen])
    return Batch(inputs, real, targets)


def vary(pictures: torch.Tensor, counts: Sequence[int], chance: torch.Generator) -> torch.Tensor:
    """Flip, shift by a few pixels and relight (N, 3, px, px) in 0..1, alike within a bag."""
    import torch

    px = pictures.shape[-1]
    padded = torch.nn.functional.pad(pictures, (_MARGIN_PX,) * 4, mode="reflect")
    parts = []
    start = 0
    for count in counts:
        flip, contrast, light = torch.rand(3, generator=chance).tolist()
        top, left = torch.randint(0, 2 * _MARGIN_PX + 1, (2,), generator=chance).tolist()
        part = padded[start : start + count, :, top : top + px, left : left + px]
        if flip < 0.5:
            part = part.flip(-1)
        part = (part - 0.5) * (0.8 + 0.4 * contrast) + 0.5 + 0.2 * (light - 0.5)
        parts.append(part.clamp(0.0, 1.0))
        start += count
    return torch.cat(parts)
