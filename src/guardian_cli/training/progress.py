"""How far a training is: puts it into words, and has the console show them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol, Self

from guardian_cli.console import clock

if TYPE_CHECKING:
    from guardian_cli.console import Console
    from guardian_cli.training.model.loop import Epoch


class Reporter(Protocol):
    """Who tells the user."""

    def note(self, text: str) -> None:
        """Say something that is not the result."""

    def warn(self, text: str) -> None:
        """Say what the user should know in any case."""


class TrainingProgress(Protocol):
    """Is told of every step; shows what it likes."""

    def step(self, what: str, done: int, total: int) -> None:
        """`done` of `total` of something (reading, embedding) are done."""

    def epoch(self, fold: int, folds: int, epoch: Epoch, epochs: int) -> None:
        """An epoch of the network number `fold` (from 0) of `folds` has ended."""


class ShownTraining:
    """Shows the training of a model on the console. Use it as a context manager."""

    def __init__(self, model: str, console: Console) -> None:
        self._model = model
        self._console = console
        self._since_s = time.monotonic()
        self._what = ""
        self._first = 0.0

    def step(self, what: str, done: int, total: int) -> None:
        """Show it, with the time left."""
        self._show(what, f"{what} {done}/{total}", done / max(total, 1))

    def epoch(self, fold: int, folds: int, epoch: Epoch, epochs: int) -> None:
        """Show it with its losses, and the time left."""
        which = f"network {fold + 1}/{folds}, " if folds > 1 else ""
        losses = f"loss {epoch.loss:.3f}, validation {epoch.val_loss:.3f}"
        text = f"{which}epoch {epoch.number}/{epochs}, {losses}, AUC {epoch.val_auc:.3f}"
        self._show("training", text, (fold + epoch.number / epochs) / folds)

    def _show(self, what: str, text: str, share: float) -> None:
        now_s = time.monotonic()
        if what != self._what:
            self._what, self._since_s, self._first = what, now_s, share
        gained = share - self._first
        if gained > 0 and share < 1:
            text += f", {clock((now_s - self._since_s) * (1 - share) / gained)} left at most"
        self._console.progress(text, share, self._model)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._console.end_progress()
