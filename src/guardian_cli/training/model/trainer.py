"""Trains the networks of one training: one for each fold, and the one that is released.

Every epoch draws its random numbers from the seed, the fold and the epoch's number, so a run that
was interrupted ends with the same numbers as one that was not.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from guardian_cli.files import replacing
from guardian_cli.training.evaluation.calibration import Calibration, fit_calibration
from guardian_cli.training.evaluation.metrics import auc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from guardian_cli.training.data.splits import Fold, SplitPlan
    from guardian_cli.training.model.backbones import Backbone
    from guardian_cli.training.model.heads import BagLogits, BagNetwork
    from guardian_cli.training.progress import TrainingProgress
    from guardian_cli.training.run.directory import RunDirectory

_MAX_SHIFT_PX = 6
# With little data one odd batch could throw the weights far off.
_MAX_GRADIENT_NORM = 5.0
# The share of the training in which the learning rate rises, and what is left of it at the end.
_WARM_UP, _LAST_RATE = 0.05, 0.05


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How to train. `frames` is the most frames of a bag in one training batch of `bags` bags."""

    epochs: int
    patience: int
    learning_rate: float
    bags: int
    frames: int
    seed: int = 0
    weight_decay: float = 0.01
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch gave, on the training and the validation part."""

    number: int
    loss: float
    val_loss: float
    val_auc: float


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """The released network, and what the folds' networks gave the samples that they had not seen.

    `scores` and `temporal` (by attention; None for images) are calibrated, in 0..1, in the order
    of `positions`; `histories` has every network's epochs.
    """

    network: BagNetwork
    calibration: Calibration
    positions: list[int]
    scores: NDArray[np.float64]
    temporal: NDArray[np.float64] | None
    histories: list[list[Epoch]]


def train_folds(
    plan: SplitPlan,
    backbone: Backbone,
    bags: Bags,
    settings: TrainSettings,
    directory: RunDirectory,
    progress: TrainingProgress,
) -> Trained:
    """Train and test every fold, then the network that is released.

    What an earlier process has finished is not done again.
    """
    import numpy as np

    folds = [*plan.folds, *([plan.final] if plan.final else [])]
    positions: list[int] = []
    scores, temporal, histories = [], [], []
    for number, fold in enumerate(folds):
        # The last network is the released one, so it is needed itself and not only its numbers;
        # its checkpoint gives it back.
        found = directory.read(f"fold-{number}.json") if number < len(folds) - 1 else None
        if found is None:
            network, history = fit(
                lambda: backbone.build(temporal=max(bags.counts) > 1),
                bags,
                fold,
                settings,
                name=f"network {number}",
                checkpoint=directory.folder / f"fold-{number}.pt",
                on_epoch=lambda epoch: progress.epoch(number, len(folds), epoch, settings.epochs),  # noqa: B023 - called within this turn only
            )
            val_logits, _ = predict(network, bags, fold.val, settings)
            calibration = fit_calibration([bags.positive[at] for at in fold.val], val_logits)
            logits, by_attention = predict(network, bags, fold.test, settings)
            found = {
                "history": [asdict(epoch) for epoch in history],
                "calibration": asdict(calibration),
                "logits": logits.tolist(),
                "temporal": None if by_attention is None else by_attention.tolist(),
            }
            directory.write(f"fold-{number}.json", found)
        calibration = Calibration(**found["calibration"])
        histories.append([Epoch(**epoch) for epoch in found["history"]])
        positions += fold.test
        scores.append(calibration.scores(found["logits"]))
        if found["temporal"] is not None:
            temporal.append(calibration.scores(found["temporal"]))
    joined = np.concatenate(temporal) if temporal else None
    return Trained(network, calibration, positions, np.concatenate(scores), joined, histories)


def fit(
    build: Callable[[], BagNetwork],
    bags: Bags,
    fold: Fold,
    settings: TrainSettings,
    *,
    name: str,
    checkpoint: Path,
    on_epoch: Callable[[Epoch], None],
) -> tuple[BagNetwork, list[Epoch]]:
    """Train one network and return it as it was at its lowest validation loss.

    `on_epoch` gets each epoch, those of an earlier process included. The checkpoint is the
    caller's to delete.
    """
    import torch

    # The weights that a network starts with come from the global generator.
    torch.manual_seed(derive_seed(settings.seed, name, "start"))
    network = build().to(settings.device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        [weights for weights in network.parameters() if weights.requires_grad],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
    )
    hits = sum(bags.positive[at] for at in fold.train)
    # Both classes weigh the same in all, whichever is the rarer one.
    weight = torch.tensor((len(fold.train) - hits) / max(hits, 1), device=settings.device)
    val_entropy = torch.nn.BCEWithLogitsLoss(pos_weight=weight.double().cpu())
    val_labels = [bags.positive[at] for at in fold.val]
    val_targets = torch.tensor(val_labels, dtype=torch.float64)
    history: list[Epoch] = []
    best = {}
    if checkpoint.is_file():
        # Tensors and plain values only: a pickle may run code.
        saved = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        history, best = [Epoch(**epoch) for epoch in saved["history"]], saved["best"]
    for epoch in history:
        on_epoch(epoch)
    while len(history) < settings.epochs and _since_best(history) < settings.patience:
        loss = _train_epoch(network, optimizer, bags, fold, settings, name, len(history), weight)
        logits, _ = predict(network, bags, fold.val, settings)
        val_loss = float(val_entropy(torch.from_numpy(logits), val_targets))
        history.append(Epoch(len(history) + 1, loss, val_loss, auc(val_labels, logits)))
        if _since_best(history) == 0:
            best = {key: one.detach().cpu().clone() for key, one in network.state_dict().items()}
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
        epochs = [asdict(epoch) for epoch in history]
        # Whole or not at all: a kill in the middle leaves the epoch before.
        with replacing(checkpoint) as partial:
            torch.save({**state, "history": epochs, "best": best}, partial)
        on_epoch(history[-1])
    network.load_state_dict(best)
    return network.eval(), history


def _since_best(history: Sequence[Epoch]) -> int:
    """How many epochs have gone by since the one with the lowest validation loss."""
    # Of equal ones the first, and a loss that is NaN is never lower.
    losses = [epoch.val_loss for epoch in history]
    return len(losses) - 1 - losses.index(min(losses)) if losses else 0


def _train_epoch(
    network: BagNetwork,
    optimizer: torch.optim.Optimizer,
    bags: Bags,
    fold: Fold,
    settings: TrainSettings,
    name: str,
    done: int,
    positive_weight: torch.Tensor,
) -> float:
    """Train for one epoch after `done` others, and return the mean loss."""
    import torch

    from guardian_cli.training.model.heads import bag_loss

    seed = derive_seed(settings.seed, name, "epoch", done)
    generator = torch.Generator().manual_seed(seed)
    # Dropout draws from the global generator.
    torch.manual_seed(seed)
    network.train()
    steps = max(1, -(-len(fold.train) // settings.bags))
    total = 0.0
    batches = bags.training_batches(fold.train, settings.bags, settings.frames, generator)
    for step, batch in enumerate(batches):
        share = (done + step / steps) / settings.epochs
        for part in optimizer.param_groups:
            part["lr"] = settings.learning_rate * learning_rate_factor(share)
        found = network(
            batch.inputs.to(settings.device),
            batch.real.to(settings.device),
            batch.owners.to(settings.device),
        )
        loss = bag_loss(found, batch.targets.to(settings.device), positive_weight)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(network.parameters(), _MAX_GRADIENT_NORM)
        optimizer.step()
        total += float(loss.detach()) * len(batch.targets)
    return total / len(fold.train)


def predict(
    network: BagNetwork, bags: Bags, positions: Sequence[int], settings: TrainSettings
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Score samples with every frame they have: logits (N,) pooled, and by attention or None."""
    import numpy as np
    import torch

    network.eval()
    # The final network has nothing to be tested on: no positions give no logits.
    pooled, temporal = [np.zeros(0)], []
    with torch.inference_mode():
        for batch in bags.evaluation_batches(positions, settings.bags):
            inputs, real = batch.inputs.to(settings.device), batch.real.to(settings.device)
            found: BagLogits = network(inputs, real, batch.owners.to(settings.device))
            pooled.append(found.bags.double().cpu().numpy())
            if found.temporal is not None:
                temporal.append(found.temporal.double().cpu().numpy())
    return np.concatenate(pooled), np.concatenate(temporal) if temporal else None


def learning_rate_factor(share: float) -> float:
    """The learning rate's factor at a share of the training: a short rise, then a cosine down."""
    if share < _WARM_UP:
        # Not from 0: the first steps would learn nothing.
        return max(share / _WARM_UP, 0.1)
    angle = math.pi * (share - _WARM_UP) / (1 - _WARM_UP)
    return _LAST_RATE + (1 - _LAST_RATE) * (1 + math.cos(angle)) / 2


def derive_seed(seed: int, *parts: object) -> int:
    """A seed of 63 bits for one purpose; the same purpose always has the same one."""
    text = "/".join(map(str, (seed, *parts)))
    # torch takes seeds as signed numbers of 64 bits.
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Inputs of the real frames' views, (B, T) bool which frames are real, (B,) float targets.

    `owners` says of each view which of the real frames it is of, counted through the batch.
    """

    inputs: torch.Tensor
    real: torch.Tensor
    targets: torch.Tensor
    owners: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Bags:
    """All samples' inputs. `inputs` is (P, px, px, 3) uint8 RGB or (P, D) float32, on disk or not.

    Sample i has counts[i] frames of views[i] rows each (1 where `views` says nothing), from
    starts[i] on. `mean` and `std` (RGB, for 0..1)
    normalise pictures; None for features.
    """

    inputs: NDArray[np.uint8] | NDArray[np.float32]
    starts: Sequence[int]
    counts: Sequence[int]
    positive: Sequence[bool]
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    views: Sequence[int] = ()

    def training_batches(
        self, positions: Sequence[int], size: int, frames: int, generator: torch.Generator
    ) -> Iterator[Batch]:
        """Yield shuffled batches, at most `frames` frames a bag drawn anew, pictures varied."""
        import torch

        shuffled = torch.randperm(len(positions), generator=generator).tolist()
        order = [positions[at] for at in shuffled]
        starts = list(range(0, len(order), size))
        # A lone sample at the end joins the batch before: batch norm can do nothing with one.
        if len(starts) > 1 and len(order) - starts[-1] == 1:
            starts.pop()
        for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
            rows = []
            for at in order[start:end]:
                drawn = torch.randperm(self.counts[at], generator=generator)[:frames].tolist()
                rows.append(sorted(drawn))
            yield self._batch(order[start:end], rows, generator)

    def evaluation_batches(self, positions: Sequence[int], size: int) -> Iterator[Batch]:
        """Yield batches in order, with every frame of each bag, as they are."""
        for start in range(0, len(positions), size):
            chosen = positions[start : start + size]
            yield self._batch(chosen, [[*range(self.counts[at])] for at in chosen], None)

    def _batch(
        self, chosen: Sequence[int], frames: Sequence[list[int]], generator: torch.Generator | None
    ) -> Batch:
        """Bring the views of these frames of each of the chosen samples."""
        import torch

        longest = max(len(own) for own in frames)
        real = torch.tensor([[at < len(own) for at in range(longest)] for own in frames])
        rows: list[list[int]] = []
        owners: list[int] = []
        count = 0
        for at, own in zip(chosen, frames, strict=True):
            views = self.views[at] if self.views else 1
            first = self.starts[at]
            rows.append([first + frame * views + view for frame in own for view in range(views)])
            owners += [count + number for number in range(len(own)) for _ in range(views)]
            count += len(own)
        inputs = torch.from_numpy(self.inputs[[row for own in rows for row in own]])
        if self.mean is not None and self.std is not None:
            inputs = inputs.permute(0, 3, 1, 2).float() / 255.0
            if generator is not None:
                inputs = augment(inputs, [len(own) for own in rows], generator)
            mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.std))
            # Convolutions on a CPU are twice as fast with the channels last.
            inputs = ((inputs - mean) / std).contiguous(memory_format=torch.channels_last)
        targets = torch.tensor([float(self.positive[at]) for at in chosen])
        return Batch(inputs, real, targets, torch.tensor(owners))


def augment(
    pictures: torch.Tensor, counts: Sequence[int], generator: torch.Generator
) -> torch.Tensor:
    """Flip, shift by a few pixels and relight (N, 3, px, px) in 0..1, alike within a bag."""
    import torch

    px = pictures.shape[-1]
    padded = torch.nn.functional.pad(pictures, (_MAX_SHIFT_PX,) * 4, mode="reflect")
    parts = []
    for part in padded.split_with_sizes(list(counts)):
        flip, contrast, light = torch.rand(3, generator=generator).tolist()
        top, left = torch.randint(0, 2 * _MAX_SHIFT_PX + 1, (2,), generator=generator).tolist()
        cut = part[:, :, top : top + px, left : left + px]
        if flip < 0.5:
            cut = cut.flip(-1)
        cut = (cut - 0.5) * (0.8 + 0.4 * contrast) + 0.5 + 0.2 * (light - 0.5)
        parts.append(cut.clamp(0.0, 1.0))
    return torch.cat(parts)
