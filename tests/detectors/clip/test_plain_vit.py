"""Features with less work are the same features."""

from __future__ import annotations

from typing import Any

import open_clip
import pytest
import torch

from guardian_cli.detectors.clip.plain_vit import PlainVit, is_plain

SMALL = {"embed_dim": 32, "text_cfg": {"width": 32, "heads": 1, "layers": 1}}
VISION = {"image_size": 48, "layers": 3, "width": 64, "head_width": 16, "patch_size": 16}

QUICK = {"quick_gelu": True}


def tower(**options: object) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        vision = {**VISION, **options}
        quick = vision.pop("quick_gelu", False)
        return open_clip.CLIP(**SMALL, vision_cfg=vision, quick_gelu=quick).visual.eval()


@pytest.mark.parametrize(
    "options",
    [{}, {"final_ln_after_pool": True}, {"ls_init_value": 0.3}, {"no_ln_pre": True}, QUICK],
    ids=str,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_plain_transformer_sees_the_same(options: dict[str, object], dtype: torch.dtype) -> None:
    visual = tower(**options).to(dtype)
    pictures = torch.randn(5, 3, 48, 48, dtype=dtype)
    with torch.inference_mode():
        expected = visual(pictures).float()
        assert is_plain(visual)
        found = PlainVit(visual, "cpu", dtype).encode(pictures).float()
    scale = float(expected.abs().max())
    assert torch.allclose(found, expected, atol=scale * (1e-5 if dtype == torch.float32 else 2e-2))


@pytest.mark.parametrize(
    "options",
    [
        {"pool_type": "avg"},
        {"image_size": 50},
        {"attentional_pool": True},
        {"qk_norm": True},
        {"layers": [1, 1, 1, 1]},
    ],
    ids=str,
)
def test_other_towers_are_left_alone(options: dict[str, object]) -> None:
    visual = tower(**options)
    assert not is_plain(visual)
