"""How far a training is: puts it into words, and has the console show them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from guardian_cli.console import clock

if TYPE_CHECKING:
    from guardian_cli.console import Console
    from guardian_cli.training.model.trainer import Epoch


class TrainingProgress:
    """Shows the training of a model on the console. Use it as a context manager."""

    def __init__(self, model: str, console: Console) -> None:
        self._model = model
        self._console = console
        self._stage = ""
        self._started_s = self._started_share = 0.0

    def step(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of `total` of a stage (reading, computing features) are done."""
        self.show(stage, f"{stage} {done}/{total}", done / max(total, 1))

    def epoch(self, fold: int, folds: int, epoch: Epoch, epochs: int) -> None:
        """Show an epoch of the network number `fold` (from 0) of `folds`, with its losses."""
        which = f"network {fold + 1}/{folds}, " if folds > 1 else ""
        losses = f"loss {epoch.loss:.3f}, validation {epoch.val_loss:.3f}"
        text = f"{which}epoch {epoch.number}/{epochs}, {losses}, AUC {epoch.val_auc:.3f}"
        self.show("training", text, (fold + epoch.number / epochs) / folds)

    def show(self, stage: str, text: str, share: float) -> None:
        """Show a text, how much of the stage is done (0..1), and the time left."""
        now_s = time.monotonic()
        if stage != self._stage:
            # A stage may begin in the middle, where an interrupted run had come to.
            self._stage, self._started_s, self._started_share = stage, now_s, share
        gained = share - self._started_share
        if gained > 0 and share < 1:
            text += f", {clock((now_s - self._started_s) * (1 - share) / gained)} left at most"
        self._console.progress(text, share, self._model)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._console.end_progress()
