"""A head on the tiny CLIP, as training would save it: it knows a red star from anything else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from guardian_cli.config import ClipSection
from guardian_cli.detectors.clip import Prompts, load_clip
from guardian_cli.serving.format import save_model
from guardian_cli.serving.networks import ClipHead
from guardian_cli.training.model.backbones import ClipBackbone, load_tower

if TYPE_CHECKING:
    from pathlib import Path

    from guardian_cli.detectors.clip import ClipDetector
    from guardian_cli.serving.format import ModelCard
    from tests.tiny_clip import TinyClip


def tiny_detector(tiny: TinyClip, precision: str = "fp32") -> ClipDetector:
    return load_clip(
        tiny.name,
        str(tiny.checkpoint),
        {"nsfw": Prompts(tiny.positive, tiny.negative)},
        model_config=tiny.config,
        precision=precision,
        device="cpu",
        text_cache=None,
    )


def save_head(folder: Path, tiny: TinyClip, hidden: int = 0, **changes: Any) -> ModelCard:
    """Save the tiny tower with a head that points from a calm prompt to the hot one."""
    import open_clip
    import torch

    clip = ClipSection(model=tiny.name, pretrained=str(tiny.checkpoint))
    tower = load_tower(clip, lambda _: None, offline=True, model_config=tiny.config)
    backbone = ClipBackbone(tower, hidden=hidden)
    card = replace(
        backbone.card("nsfw-detector", "nsfw"), temperature=1.5, threshold=0.4, **changes
    )
    # What half precision errs by is an estimate, and no bound for whatever head is drawn.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole: Any = ClipHead(tower.config, hidden)
    whole.tower.load_state_dict(tower.module.state_dict())
    if not hidden:
        model = open_clip.create_model(tiny.name, load_weights=False, pretrained_text=False)
        open_clip.load_checkpoint(model, str(tiny.checkpoint), weights_only=True)
        tokens = open_clip.get_tokenizer(tiny.name)(["a red star", "a blue circle"])
        with torch.inference_mode():
            hot, calm = model.eval().encode_text(tokens, normalize=True)
        with torch.no_grad():
            whole.head.weight.copy_(4 * (hot - calm).unsqueeze(0))
            whole.head.bias.fill_(-0.5)
    save_model(folder, card, whole)
    return card
