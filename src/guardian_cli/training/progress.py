"""How far a training is: puts it into words, and has the console show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardian_cli.progress import Progress

if TYPE_CHECKING:
    from guardian_cli.console import Console
    from guardian_cli.training.model.trainer import Epoch


class TrainingProgress(Progress):
    """Shows the training of a model on the console. Use it as a context manager."""

    def __init__(self, model: str, console: Console) -> None:
        super().__init__(console, model, "left at most")

    def step(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of `total` of a stage (reading, computing features) are done."""
        # A stage with nothing to do has a total of 0.
        self.show(stage, f"{stage} {done}/{total}", done / max(total, 1))

    def epoch(self, fold: int, folds: int, epoch: Epoch, epochs: int) -> None:
        """Show an epoch of the network number `fold` (from 0) of `folds`, with its losses."""
        which = f"network {fold + 1}/{folds}, " if folds > 1 else ""
        losses = f"loss {epoch.loss:.3f}, validation {epoch.val_loss:.3f}"
        text = f"{which}epoch {epoch.number}/{epochs}, {losses}, AUC {epoch.val_auc:.3f}"
        self.show("training", text, (fold + epoch.number / epochs) / folds)
