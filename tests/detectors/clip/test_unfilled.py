"""Building without random numbers: what is drawn is left out, what is computed is not."""

from __future__ import annotations

import subprocess
import sys

import open_clip
import pytest
import torch

from guardian_cli.detectors.clip.unfilled import unfilled

pytestmark = pytest.mark.slow


def test_a_strict_checkpoint_makes_it_the_same_model() -> None:
    model = open_clip.create_model("ViT-S-32-alt", load_weights=False).eval()
    with unfilled():
        other = open_clip.create_model("ViT-S-32-alt", load_weights=False).eval()
    other.load_state_dict(model.state_dict(), strict=True)
    pictures, tokens = torch.randn(2, 3, 224, 224), torch.randint(0, 1000, (2, 77))
    with torch.inference_mode():
        assert torch.equal(model.encode_image(pictures), other.encode_image(pictures))
        assert torch.equal(model.encode_text(tokens), other.encode_text(tokens))


def test_nothing_is_drawn_and_constants_are_kept() -> None:
    state = torch.random.get_rng_state()
    with unfilled():
        layer = torch.nn.Linear(64, 64)
        norm = torch.nn.LayerNorm(8)
        noise = torch.randn(3, 4)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert layer.weight.shape == (64, 64)
    assert noise.shape == (3, 4)
    assert torch.equal(norm.weight, torch.ones(8))


def test_the_compiler_stays_unloaded_until_it_is_called() -> None:
    code = (
        "import sys\n"
        "from guardian_cli.detectors.clip.lean_import import import_open_clip, bring_timm\n"
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
