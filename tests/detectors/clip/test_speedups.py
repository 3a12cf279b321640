"""Every trick gives what open_clip itself gives, and turns itself off for what it does not know."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import open_clip
import pytest
import torch

from guardian_cli.detectors.clip.speedups import (
    lay_out,
    map_checkpoint,
    no_init_weights,
    speed_up,
)

if TYPE_CHECKING:
    from pathlib import Path

SMALL = {"embed_dim": 32, "text_cfg": {"width": 32, "heads": 1, "layers": 1}}
VISION = {"image_size": 48, "layers": 3, "width": 64, "head_width": 16, "patch_size": 16}
QUICK = {"quick_gelu": True}


def small_clip(**options: object) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        vision = {**VISION, **options}
        quick = vision.pop("quick_gelu", False)
        return open_clip.CLIP(**SMALL, vision_cfg=vision, quick_gelu=quick).eval()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"layers": 1},
        {"image_size": 50},
        {"final_ln_after_pool": True},
        {"ls_init_value": 0.3},
        {"no_ln_pre": True},
        QUICK,
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_vision_transformer_sees_the_same(options: dict[str, object], dtype: torch.dtype) -> None:
    clip = small_clip(**options).to(dtype)
    pictures = torch.randn(5, 3, *clip.visual.image_size, dtype=dtype)
    with torch.inference_mode():
        expected = clip.encode_image(pictures).float()
        assert speed_up(clip.visual)
        found = clip.encode_image(pictures).float()
    scale = float(expected.abs().max())
    assert torch.allclose(found, expected, atol=scale * (1e-5 if dtype == torch.float32 else 3e-2))


def change_attention(visual: Any) -> None:
    attention = visual.transformer.resblocks[-1].attn
    attention.register_forward_hook(lambda *parts: (2 * parts[-1][0], None))


def rename_a_part(visual: Any) -> None:
    block = visual.transformer.resblocks[-1]
    block.attention_layer, block.attn = block.attn, None
    block.attention = lambda q_x, **_: block.attention_layer(q_x, q_x, q_x, need_weights=False)[0]


@pytest.mark.parametrize(
    "options",
    [
        {"pool_type": "avg"},
        {"attentional_pool": True},
        {"qk_norm": True},
        {"layers": [1, 1, 1, 1]},
        {"change": change_attention},
        {"change": rename_a_part},
    ],
    ids=lambda options: str(getattr(options.get("change"), "__name__", options)),
)
def test_a_tower_that_would_see_something_else_is_left_alone(options: dict[str, Any]) -> None:
    """As an open_clip would that computes otherwise than the one that was checked."""
    change = options.pop("change", lambda visual: None)
    clip = small_clip(**options)
    change(clip.visual)
    size = clip.visual.image_size
    pictures = torch.randn(2, 3, *((size, size) if isinstance(size, int) else size))
    with torch.inference_mode():
        expected = clip.encode_image(pictures)
        assert not speed_up(clip.visual)
        assert torch.equal(clip.encode_image(pictures), expected)


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("rows", [(1, 24), (3, 7, 24)], ids=str)
def test_a_layer_that_is_laid_out_maps_as_a_plain_one_does(
    rows: tuple[int, ...], dtype: torch.dtype, gelu: bool
) -> None:
    random = torch.Generator().manual_seed(5)
    inputs = torch.randn(rows, generator=random).to(dtype)
    weight = torch.randn(40, 24, generator=random).to(dtype)
    bias = torch.randn(40, generator=random).to(dtype)
    with torch.inference_mode():
        found = lay_out(weight, bias, gelu=gelu)(inputs)
        exact = torch.nn.functional.linear(inputs.double(), weight.double(), bias.double())
        expected = torch.nn.functional.gelu(exact) if gelu else exact
    assert found.shape == expected.shape
    assert found.dtype == dtype
    assert torch.allclose(found.double(), expected, rtol=2e-2, atol=1e-1)


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_a_model_without_drawn_numbers_is_its_checkpoints(tmp_path: Path, ending: str) -> None:
    from safetensors.torch import save_file

    clip, path = small_clip(), tmp_path / f"clip.{ending}"
    (save_file if ending == "safetensors" else torch.save)(clip.state_dict(), path)
    with no_init_weights():
        other = small_clip()
    assert map_checkpoint(other, path)
    pictures, tokens = torch.randn(2, 3, 48, 48), torch.randint(0, 1000, (2, 77))
    with torch.inference_mode():
        assert torch.equal(clip.encode_image(pictures), other.encode_image(pictures))
        assert torch.equal(clip.encode_text(tokens), other.encode_text(tokens))


def test_a_checkpoint_that_sets_only_a_part_is_no_use_without_drawn_numbers(tmp_path: Path) -> None:
    """As an open_clip would that is not strict any more, or sets numbers by another way."""
    clip, path = small_clip(), tmp_path / "clip.pt"
    torch.save(clip.state_dict(), path)
    own = clip.load_state_dict
    clip.load_state_dict = lambda state, strict=True, assign=False: own(state, strict=False)
    assert map_checkpoint(clip, path)
    load = open_clip.load_checkpoint
    open_clip.load_checkpoint = lambda model, *_, **__: model.load_state_dict({}, strict=False)
    try:
        assert not map_checkpoint(clip, path)
    finally:
        open_clip.load_checkpoint = load


def test_nothing_is_drawn_and_constants_are_kept() -> None:
    state = torch.random.get_rng_state()
    with no_init_weights():
        layer = torch.nn.Linear(64, 64)
        norm = torch.nn.LayerNorm(8)
        noise = torch.randn(3, 4)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert layer.weight.shape == (64, 64)
    assert noise.shape == (3, 4)
    assert torch.equal(norm.weight, torch.ones(8))


@pytest.mark.slow
def test_the_compiler_stays_unloaded_until_it_is_called() -> None:
    code = (
        "import sys\n"
        "from guardian_cli.detectors.clip.speedups import import_open_clip, bring_timm\n"
        "open_clip = import_open_clip()\n"
        "assert open_clip is sys.modules['open_clip'] and open_clip is import_open_clip()\n"
        "assert not {'torch._dynamo', 'torch._dynamo.utils', 'timm'} & set(sys.modules)\n"
        "from torchvision.ops import roi_align\n"
        "import torch\n"
        "boxes = [torch.tensor([[0., 0., 2., 2.]])]\n"
        "assert roi_align(torch.ones(1, 1, 4, 4), boxes, 2).shape == (1, 1, 2, 2)\n"
        "from torchvision.ops.roi_align import is_compile_supported\n"
        "assert is_compile_supported('cpu') in (True, False)\n"
        "assert 'torch._dynamo' in sys.modules\n"
        "assert open_clip.timm_model.timm is None\n"
        "bring_timm()\n"
        "import timm\n"
        "assert open_clip.timm_model.timm is timm\n"
        "assert open_clip.model.TimmModel.__init__.__globals__['timm'] is timm\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
