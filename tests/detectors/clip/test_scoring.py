from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.detectors.clip.detector import check_key
from guardian_cli.detectors.clip.scoring import (
    PICTURES,
    compare_ensembles,
    draw_views,
    measure_errors,
    score_ensembles,
    score_error,
)
from guardian_cli.detectors.clip.tower import ImageTower, Preprocessing

if TYPE_CHECKING:
    from collections.abc import Callable

SETTINGS = Preprocessing((32, 32), (0.5,) * 3, (0.25,) * 3)

SCALE = 100.0


def unit(rng: np.random.Generator, count: int, width: int = 16) -> torch.Tensor:
    vectors = rng.normal(size=(count, width))
    return torch.from_numpy(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).float()


def plain_score(
    image: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor, scale: float
) -> float:
    """The documented formula, one frame at a time, in float64."""
    sides = []
    for side in (positive, negative):
        likeness = [scale * float(image.double() @ text.double()) for text in side]
        top = max(likeness)
        mean = sum(math.exp(value - top) for value in likeness) / len(likeness)
        sides.append(top + math.log(mean))
    return 1 / (1 + math.exp(min(700.0, sides[1] - sides[0])))


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9), st.floats(1, 100))
def test_it_is_the_documented_formula(
    seed: int, positives: int, negatives: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    images, positive, negative = unit(rng, 3), unit(rng, positives), unit(rng, negatives)
    scores = score_ensembles(images, positive, negative, scale)
    expected = [plain_score(image, positive, negative, scale) for image in images]
    assert scores.tolist() == pytest.approx(expected, abs=1e-4)


@given(st.integers(0, 2**32 - 1))
def test_more_of_the_same_prompts_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images, positive, negative = unit(rng, 4), unit(rng, 3), unit(rng, 5)
    once = score_ensembles(images, positive, negative, SCALE)
    often = score_ensembles(images, positive, negative.repeat(7, 1), SCALE)
    assert often.tolist() == pytest.approx(once.tolist(), abs=1e-4)


@given(st.integers(0, 2**32 - 1))
def test_the_sides_mirror_each_other_and_even_sides_score_a_half(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images, positive, negative = unit(rng, 4), unit(rng, 3), unit(rng, 5)
    score = score_ensembles(images, positive, negative, SCALE)
    mirrored = score_ensembles(images, negative, positive, SCALE)
    assert (score + mirrored).tolist() == pytest.approx([1.0] * 4, abs=1e-5)
    even = score_ensembles(images, positive, positive, SCALE)
    assert even.tolist() == pytest.approx([0.5] * 4, abs=1e-5)


def test_one_negative_that_fits_beats_many_positives_that_half_fit() -> None:
    image = torch.tensor([[1.0, 0.0]])
    exact, near = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.9, math.sqrt(1 - 0.81)]])
    far = torch.tensor([[0.0, 1.0]])
    score = score_ensembles(image, near.repeat(10, 1), torch.cat([exact, far.repeat(9, 1)]), SCALE)
    assert score.item() < 0.01


@given(st.floats(-40, 40), st.floats(0, 60), st.floats(-1, 1))
def test_no_score_moves_further_than_its_error_says(
    logit: float, logit_error: float, share: float
) -> None:
    """The rough score is a float32, and may read 1; half a step is what it is rounded by."""
    rough = torch.tensor(logit).sigmoid().item()
    exact = 1 / (1 + math.exp(-logit - share * logit_error))
    assert abs(exact - rough) <= score_error(rough, logit_error + rounding(rough)) + 1e-6


def test_a_score_that_was_rounded_to_1_can_be_far_off() -> None:
    assert score_error(1.0, 30.0) > 0.99
    assert score_error(0.0, 120.0) > 0.99


def rounding(score: float) -> float:
    """How far a float32 near `score` is from the log of its odds."""
    return math.log(2) if score > 0.9999 else 1e-3


@pytest.mark.parametrize("score", [0.0, 0.3, 1.0])
def test_an_error_of_unknown_size_is_the_whole_range(score: float) -> None:
    assert score_error(score, math.inf) == 1.0
    assert score_error(score, 0.0) == pytest.approx(0.0, abs=2**-24)


def texts() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    random = torch.Generator().manual_seed(1)
    sides = torch.nn.functional.normalize(torch.randn(7, 3 * 16, generator=random), dim=1)
    return {"nsfw": (sides[:3], sides[3:])}


def tower(change: Callable[[torch.Tensor], torch.Tensor] = lambda features: features) -> ImageTower:
    def encode(pictures: torch.Tensor) -> torch.Tensor:
        return change(torch.nn.functional.adaptive_avg_pool2d(pictures, 4).flatten(1))

    return ImageTower(encode, SETTINGS, "cpu", "fp32")


def test_the_pictures_are_the_same_each_time_and_use_all_of_the_range() -> None:
    views = draw_views((48, 40))
    assert views.shape == (PICTURES, 3, 48, 40)
    assert views.dtype == torch.uint8
    assert torch.equal(views, draw_views((48, 40)))
    assert views.min() < 20
    assert views.max() > 235


def log_odds() -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    sides = texts()["nsfw"]
    return {"nsfw": lambda features: compare_ensembles(features, *sides, 50.0)}


def test_a_tower_does_not_differ_from_itself() -> None:
    assert measure_errors(tower(), tower(), log_odds()) == {"nsfw": 0.0}


def test_the_largest_difference_counts() -> None:
    def bend(features: torch.Tensor) -> torch.Tensor:
        bent = features.clone()
        bent[3, :5] += 1.0
        return bent

    (difference,) = measure_errors(tower(), tower(bend), log_odds()).values()
    (rounded,) = measure_errors(tower(), tower(lambda f: f.bfloat16().float()), log_odds()).values()
    assert difference > 10 * rounded > 0


def test_what_is_no_number_is_an_error_without_bound() -> None:
    broken = measure_errors(tower(), tower(lambda features: features * math.nan), log_odds())
    assert broken == {"nsfw": math.inf}


def test_other_prompts_devices_and_numbers_are_measured_anew() -> None:
    keys = [
        check_key("model", [3, 5], "cpu", "bf16"),
        check_key("other", [3, 5], "cpu", "bf16"),
        check_key("model", [5, 3], "cpu", "bf16"),
        check_key("model", [3, 5], "cuda", "bf16"),
        check_key("model", [3, 5], "cpu", "fp16"),
    ]
    assert len(set(keys)) == len(keys)
