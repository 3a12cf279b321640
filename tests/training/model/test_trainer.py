"""Training: it learns, repeats itself, and goes on after an interruption as if there were none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from guardian_cli.serving.format import CLIP_MEAN, CLIP_STD
from guardian_cli.training.data.splits import Fold
from guardian_cli.training.evaluation.metrics import auc
from guardian_cli.training.model.backbones import TinyBackbone
from guardian_cli.training.model.heads import BagNetwork, pool_logits
from guardian_cli.training.model.trainer import (
    Bags,
    Epoch,
    TrainSettings,
    fit,
    learning_rate_factor,
    predict,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PX = 32
SETTINGS = TrainSettings(epochs=6, patience=6, learning_rate=5e-3, bags=8, frames=2, seed=3)
FOLD = Fold(tuple(range(32)), tuple(range(32, 48)), tuple(range(48, 64)))


def bright_and_dark() -> Bags:
    """Sixty-four bags of one to three pictures; the positive ones have a bright corner."""
    rng = np.random.default_rng(0)
    counts = [1 + at % 3 for at in range(64)]
    starts = [sum(counts[:at]) for at in range(64)]
    positive = [at % 2 == 0 for at in range(64)]
    pictures = rng.integers(0, 120, (sum(counts), PX, PX, 3)).astype(np.uint8)
    for start, count, bright in zip(starts, counts, positive, strict=True):
        if bright:
            pictures[start : start + count, 8:20, 8:20] = 230
    return Bags(pictures, starts, counts, positive, CLIP_MEAN, CLIP_STD)


def tiny() -> BagNetwork:
    return TinyBackbone(px=PX, width=4).build(temporal=True)


def run(
    folder: Path, bags: Bags, tell: Callable[[Epoch], None] = lambda _: None
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float64]], list[Epoch]]:
    network, history = fit(
        tiny, bags, FOLD, SETTINGS, name="n", checkpoint=folder / "n.pt", on_epoch=tell
    )
    return predict(network, bags, FOLD.test, SETTINGS)[0], history


@pytest.mark.slow
def test_it_learns_and_a_second_run_repeats_every_number(tmp_path: Path) -> None:
    bags = bright_and_dark()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    logits, history = run(tmp_path / "a", bags)
    again, history_again = run(tmp_path / "b", bags)
    assert auc([bags.positive[at] for at in FOLD.test], logits) == 1.0
    assert history == history_again
    assert (logits == again).all()


@pytest.mark.slow
def test_an_interrupted_run_ends_with_the_same_numbers(tmp_path: Path) -> None:
    bags = bright_and_dark()
    (tmp_path / "whole").mkdir()
    whole, history = run(tmp_path / "whole", bags)

    def stop_after_two(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, bags, stop_after_two)
    told: list[int] = []
    resumed, history_resumed = run(tmp_path, bags, lambda epoch: told.append(epoch.number))
    assert told == [1, 2, 3, 4, 5, 6]
    assert history_resumed == history
    assert (resumed == whole).all()


@pytest.mark.slow
def test_it_stops_early_and_keeps_the_best(tmp_path: Path) -> None:
    bags = bright_and_dark()
    # Labels of noise: there is nothing to learn, so validation soon gets no better.
    noise = Bags(
        bags.inputs, bags.starts, bags.counts, [at % 5 < 2 for at in range(64)], bags.mean, bags.std
    )
    settings = TrainSettings(epochs=60, patience=2, learning_rate=5e-3, bags=8, frames=2, seed=0)
    network, history = fit(
        tiny,
        noise,
        FOLD,
        settings,
        name="n",
        checkpoint=tmp_path / "n.pt",
        on_epoch=lambda _: None,
    )
    best = min(history, key=lambda epoch: epoch.val_loss)
    assert len(history) == best.number + 2 < 60
    logits, _ = predict(network, noise, FOLD.val, settings)
    assert auc([noise.positive[at] for at in FOLD.val], logits) == pytest.approx(best.val_auc)


def test_pooling_is_the_mean_of_the_upper_half() -> None:
    frames = torch.tensor([[1.0, 5.0, 3.0], [2.0, -4.0, 99.0], [7.0, 99.0, 99.0]])
    real = torch.tensor([[True] * 3, [True, True, False], [True, False, False]])
    assert pool_logits(frames, real).tolist() == [4.0, 2.0, 7.0]


def test_what_pads_a_batch_changes_nothing() -> None:
    bags = bright_and_dark()
    network = tiny().eval()
    settings = TrainSettings(1, 1, 0.1, bags=64, frames=4, seed=0)
    alone = TrainSettings(1, 1, 0.1, bags=1, frames=4, seed=0)
    for together, apart in zip(
        predict(network, bags, range(12), settings),
        predict(network, bags, range(12), alone),
        strict=True,
    ):
        assert together is not None
        assert apart is not None
        np.testing.assert_allclose(together, apart, atol=1e-5)


def test_batches_hold_every_bag_once_and_never_one_alone() -> None:
    bags = bright_and_dark()
    rng = torch.Generator().manual_seed(0)
    batches = list(bags.training_batches(range(17), 8, 2, rng))
    assert [len(batch.targets) for batch in batches] == [8, 9]
    assert sum(float(batch.targets.sum()) for batch in batches) == 9
    assert all(batch.real.sum(dim=1).max() <= 2 for batch in batches)
    assert [len(batch.targets) for batch in bags.evaluation_batches(range(17), 8)] == [8, 8, 1]


def test_the_rate_warms_up_and_cools_down() -> None:
    rates = [learning_rate_factor(step / 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.05)
    top = rates.index(max(rates))
    assert rates[top:] == sorted(rates[top:], reverse=True)
