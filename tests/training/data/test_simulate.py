"""Simulated data: the same for the same seed, another for another, marked, and with groups."""

from __future__ import annotations

import numpy as np
import pytest

from guardian_cli.training.data.simulate import PER_SCENE, Simulation


@pytest.mark.parametrize(("category", "frames"), [("nsfw", 1), ("violence", 6), ("other", 1)])
def test_drawing_repeats_itself(category: str, frames: int) -> None:
    first, again, other = (Simulation(category, seed, 16) for seed in (0, 0, 1))
    dataset = first.dataset()
    assert dataset == again.dataset()
    assert dataset.simulated
    assert dataset.labels == tuple(sorted((category, f"not {category}")))
    for sample in dataset.samples[:4]:
        one, two, three = (simulation(sample, 6) for simulation in (first, again, other))
        assert len(one.pictures) == frames
        assert one.sha256 == two.sha256 != three.sha256
        assert one.facts == two.facts
        assert one.pictures[0].dtype == np.uint8
        assert one.pictures[0].shape[2] == 3
        assert (one.facts.duration_s is None) == (frames == 1)


def test_scenes_are_groups_and_some_labels_are_wrong() -> None:
    samples = Simulation("nsfw").dataset().samples
    assert len({sample.group for sample in samples}) == len(samples) // PER_SCENE
    wrong = [(sample.label == "nsfw") != (at % 2 == 0) for at, sample in enumerate(samples)]
    assert 0 < sum(wrong) < 0.06 * len(samples)
