"""How far a training is: a bar on a terminal, plain lines elsewhere, nothing with --quiet."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType

    from guardian_cli.console import Console
    from guardian_cli.training.loop import Epoch

LINE_EVERY_S = 5.0


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


class _Words:
    """What every kind of progress says."""

    def __init__(self) -> None:
        self._since_s = time.monotonic()
        self._what = ""
        self._first = 0.0

    def step_text(self, what: str, done: int, total: int) -> tuple[str, float]:
        share = done / max(total, 1)
        return f"{what} {done}/{total}{self._left(what, share)}", share

    def epoch_text(self, fold: int, folds: int, epoch: Epoch, epochs: int) -> tuple[str, float]:
        share = (fold + epoch.number / epochs) / folds
        which = f"network {fold + 1}/{folds}, " if folds > 1 else ""
        losses = f"loss {epoch.loss:.3f}, validation {epoch.val_loss:.3f}"
        text = f"{which}epoch {epoch.number}/{epochs}, {losses}, AUC {epoch.val_auc:.3f}"
        return text + self._left("training", share), share

    def _left(self, what: str, share: float) -> str:
        now_s = time.monotonic()
        if what != self._what:
            self._what, self._since_s, self._first = what, now_s, share
        gained = share - self._first
        if gained <= 0 or share >= 1:
            return ""
        return f", {clock((now_s - self._since_s) * (1 - share) / gained)} left at most"


class SilentTraining:
    """Says nothing."""

    def step(self, what: str, done: int, total: int) -> None:
        """Say nothing."""

    def epoch(self, fold: int, folds: int, epoch: Epoch, epochs: int) -> None:
        """Say nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


class LineTraining(_Words):
    """A line on stderr every few seconds."""

    def __init__(self, name: str, console: Console, every_s: float = LINE_EVERY_S) -> None:
        super().__init__()
        self._name = name
        self._console = console
        self._every_s = every_s
        self._said_s = time.monotonic()

    def step(self, what: str, done: int, total: int) -> None:
        """Say so if it is time."""
        self._say(self.step_text(what, done, total)[0])

    def epoch(self, fold: int, folds: int, epoch: Epoch, epochs: int) -> None:
        """Say so if it is time."""
        self._say(self.epoch_text(fold, folds, epoch, epochs)[0])

    def _say(self, text: str) -> None:
        now_s = time.monotonic()
        if now_s - self._said_s >= self._every_s:
            self._said_s = now_s
            self._console.note(f"{self._name}: {text}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


class BarTraining(_Words):
    """A bar on a terminal."""

    def __init__(self, name: str, console: Console) -> None:
        super().__init__()
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._name = name
        self._bar = RichProgress(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.description}", markup=False),
            console=RichConsole(file=console.error_stream(), highlight=False),
            transient=True,
        )
        self._task = self._bar.add_task(name, total=1.0)

    def step(self, what: str, done: int, total: int) -> None:
        """Move the bar."""
        self._move(*self.step_text(what, done, total))

    def epoch(self, fold: int, folds: int, epoch: Epoch, epochs: int) -> None:
        """Move the bar."""
        self._move(*self.epoch_text(fold, folds, epoch, epochs))

    def _move(self, text: str, share: float) -> None:
        self._bar.update(self._task, completed=share, description=f"{self._name}: {text}")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()


def make_training_progress(
    name: str, console: Console
) -> SilentTraining | LineTraining | BarTraining:
    """Choose by who looks at stderr."""
    if console.quiet:
        return SilentTraining()
    return BarTraining(name, console) if console.err_is_terminal else LineTraining(name, console)


def clock(seconds: float) -> str:
    """Minutes and seconds, or hours too: 1:05, 2:00:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
