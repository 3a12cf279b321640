"""How far half precision may be off is measured, remembered, and never taken for less."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch

from guardian_cli.detectors.clip.pixels import Preprocessing
from guardian_cli.detectors.clip.self_check import (
    ALLOWANCE,
    MOST_LOGITS,
    PICTURES,
    allowed_errors,
    check_key,
    draw_views,
    is_precise,
    measure,
    remembered,
)
from guardian_cli.detectors.clip.tower import ImageTower

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SETTINGS = Preprocessing((32, 32), (0.5,) * 3, (0.25,) * 3)
SCALE = 50.0


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


def test_a_tower_does_not_differ_from_itself() -> None:
    assert measure(tower(), tower(), texts(), SCALE) == {"nsfw": 0.0}


def test_the_largest_difference_counts() -> None:
    def bend(features: torch.Tensor) -> torch.Tensor:
        bent = features.clone()
        bent[3, :5] += 1.0
        return bent

    (difference,) = measure(tower(), tower(bend), texts(), SCALE).values()
    (rounded,) = measure(tower(), tower(lambda f: f.bfloat16().float()), texts(), SCALE).values()
    assert difference > 10 * rounded > 0


def test_what_is_no_number_is_an_error_without_bound() -> None:
    broken = measure(tower(), tower(lambda features: features * math.nan), texts(), SCALE)
    assert broken == {"nsfw": math.inf}
    assert not is_precise(allowed_errors(broken))


def test_auto_asks_for_every_category_to_be_precise() -> None:
    small, large = MOST_LOGITS / ALLOWANCE / 1.01, MOST_LOGITS / ALLOWANCE * 1.01
    assert is_precise(allowed_errors({"nsfw": small, "violence": 0.0}))
    assert not is_precise(allowed_errors({"nsfw": small, "violence": large}))


def test_it_is_measured_once(tmp_path: Path) -> None:
    file, taken = tmp_path / "precision" / "one.json", iter([{"nsfw": 0.5}, {"nsfw": math.inf}])
    assert remembered(file, ["nsfw"], lambda: next(taken)) == {"nsfw": 0.5}
    assert remembered(file, ["nsfw"], lambda: next(taken)) == {"nsfw": 0.5}
    assert remembered(None, ["nsfw"], lambda: next(taken)) == {"nsfw": math.inf}


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"[" * 100_000, b"\xff", b"{}", b'{"nsfw": "0"}', b'{"nsfw": -1.0}'),
        *(b'{"nsfw": NaN}', b'{"gore": 0.5}', b'{"nsfw": 0.5, "gore": 0.5}', b'{"nsfw": [0.5]}'),
    ],
    ids=lambda content: repr(content[:30]),
)
def test_a_damaged_note_is_measured_again(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "one.json"
    file.write_bytes(content)
    assert remembered(file, ["nsfw"], lambda: {"nsfw": 0.25}) == {"nsfw": 0.25}
    assert remembered(file, ["nsfw"], lambda: {"nsfw": 0.75}) == {"nsfw": 0.25}


def test_other_prompts_devices_and_numbers_are_measured_anew() -> None:
    sides = texts()["nsfw"]
    keys = [
        check_key("model", {"nsfw": sides}, "cpu", "bf16"),
        check_key("other", {"nsfw": sides}, "cpu", "bf16"),
        check_key("model", {"gore": sides}, "cpu", "bf16"),
        check_key("model", {"nsfw": sides[::-1]}, "cpu", "bf16"),
        check_key("model", {"nsfw": sides}, "cuda", "bf16"),
        check_key("model", {"nsfw": sides}, "cpu", "fp16"),
    ]
    assert len(set(keys)) == len(keys)
