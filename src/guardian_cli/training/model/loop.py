"""One network trained: epochs, early stopping, and a checkpoint from which a killed run goes on.

Every epoch draws its own chance from the seed, the fold and the epoch's number, so a run that was
interrupted ends with the same numbers as one that was not.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from guardian_cli.files import replacing
from guardian_cli.training.evaluation.metrics import auc
from guardian_cli.training.model.bags import judging_batches, training_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from guardian_cli.training.data.splits import Fold
    from guardian_cli.training.model.bags import Bags
    from guardian_cli.training.model.heads import BagLogits, BagNetwork


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How to train. `frames` is the most frames of a bag in one training batch of `bags` bags."""

    epochs: int
    patience: int
    learning_rate: float
    bags: int
    frames: int
    seed: int
    weight_decay: float = 0.01
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch gave, on the training and the validation part."""

    number: int
    loss: float
    val_loss: float
    val_auc: float


@dataclass(slots=True)
class _State:
    history: list[Epoch] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)
    best_loss: float = math.inf
    stale: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """Logits of items, in the order asked for: pooled from frames, and by attention (or None)."""

    bags: NDArray[np.float64]
    temporal: NDArray[np.float64] | None


def derive_seed(seed: int, *parts: object) -> int:
    """A seed of 63 bits for one purpose; the same purpose always has the same one."""
    text = "/".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def fit(
    build: Callable[[], BagNetwork],
    bags: Bags,
    fold: Fold,
    settings: LoopSettings,
    *,
    name: str,
    checkpoint: Path,
    tell: Callable[[Epoch], None],
) -> tuple[BagNetwork, list[Epoch]]:
    """Train one network and return it as it was at its lowest validation loss.

    `tell` hears each epoch, those of an earlier process included. The checkpoint is the caller's
    to delete.
    """
    import torch

    torch.manual_seed(derive_seed(settings.seed, name, "start"))
    network = build().to(settings.device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        [weights for weights in network.parameters() if weights.requires_grad],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
    )
    state = _restore(checkpoint, network, optimizer)
    for epoch in state.history:
        tell(epoch)
    weight = _positive_weight(bags, fold.train, settings.device)
    while len(state.history) < settings.epochs and state.stale < settings.patience:
        number = len(state.history)
        loss = _train_epoch(network, optimizer, bags, fold.train, settings, name, number, weight)
        epoch = _validate(network, bags, fold.val, settings, number, loss, weight)
        _note(state, epoch, network)
        _save(checkpoint, network, optimizer, state)
        tell(epoch)
    network.load_state_dict(state.best)
    return network.eval(), state.history


def judge(
    network: BagNetwork, bags: Bags, positions: Sequence[int], settings: LoopSettings
) -> Judgement:
    """Score items with every frame they have."""
    import numpy as np
    import torch

    network.eval()
    pooled, temporal = [], []
    with torch.inference_mode():
        for batch in judging_batches(bags, positions, settings.bags):
            found: BagLogits = network(
                batch.inputs.to(settings.device), batch.real.to(settings.device)
            )
            pooled.append(found.bags.double().cpu().numpy())
            if found.temporal is not None:
                temporal.append(found.temporal.double().cpu().numpy())
    return Judgement(np.concatenate(pooled), np.concatenate(temporal) if temporal else None)


def _train_epoch(
    network: BagNetwork,
    optimizer: torch.optim.Optimizer,
    bags: Bags,
    positions: Sequence[int],
    settings: LoopSettings,
    name: str,
    number: int,
    weight: torch.Tensor,
) -> float:
    import torch

    from guardian_cli.training.model.heads import bag_loss

    seed = derive_seed(settings.seed, name, "epoch", number)
    chance = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    network.train()
    steps = max(1, -(-len(positions) // settings.bags))
    total, seen = 0.0, 0
    batches = training_batches(bags, positions, settings.bags, settings.frames, chance)
    for step, batch in enumerate(batches):
        done = (number + step / steps) / settings.epochs
        for part in optimizer.param_groups:
            part["lr"] = settings.learning_rate * rate_at(done)
        real = batch.real.to(settings.device)
        found = network(batch.inputs.to(settings.device), real)
        loss = bag_loss(found, batch.targets.to(settings.device), weight)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        total += float(loss.detach()) * len(batch.targets)
        seen += len(batch.targets)
    return total / seen


def rate_at(done: float, warm_up: float = 0.05, last: float = 0.05) -> float:
    """The learning rate's factor: up over the first part, then a cosine down to `last`."""
    if done < warm_up:
        return max(done / warm_up, 0.1)
    angle = math.pi * (done - warm_up) / (1 - warm_up)
    return last + (1 - last) * (1 + math.cos(angle)) / 2


def _validate(
    network: BagNetwork,
    bags: Bags,
    positions: Sequence[int],
    settings: LoopSettings,
    number: int,
    loss: float,
    weight: torch.Tensor,
) -> Epoch:
    import torch

    found = judge(network, bags, positions, settings)
    labels = [bags.positive[at] for at in positions]
    val_loss = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.from_numpy(found.bags),
        torch.tensor(labels, dtype=torch.float64),
        pos_weight=weight.double().cpu(),
    )
    return Epoch(number + 1, loss, float(val_loss), auc(labels, found.bags))


def _positive_weight(bags: Bags, positions: Sequence[int], device: str) -> torch.Tensor:
    import torch

    hits = sum(bags.positive[at] for at in positions)
    return torch.tensor((len(positions) - hits) / max(hits, 1), device=device)


def _note(state: _State, epoch: Epoch, network: BagNetwork) -> None:
    state.history.append(epoch)
    if not state.best or epoch.val_loss < state.best_loss:
        state.best_loss, state.stale = epoch.val_loss, 0
        state.best = {
            name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()
        }
    else:
        state.stale += 1


def _save(path: Path, network: BagNetwork, optimizer: torch.optim.Optimizer, state: _State) -> None:
    import torch

    saved = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "history": [asdict(epoch) for epoch in state.history],
        "best": state.best,
        "best_loss": state.best_loss,
        "stale": state.stale,
    }
    with replacing(path) as partial:
        torch.save(saved, partial)


def _restore(path: Path, network: BagNetwork, optimizer: torch.optim.Optimizer) -> _State:
    import torch

    if not path.is_file():
        return _State()
    saved = torch.load(path, weights_only=True)
    network.load_state_dict(saved["network"])
    optimizer.load_state_dict(saved["optimizer"])
    history = [Epoch(**epoch) for epoch in saved["history"]]
    return _State(history, saved["best"], saved["best_loss"], saved["stale"])
