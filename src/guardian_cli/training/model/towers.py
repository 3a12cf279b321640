"""Loads the image tower of the CLIP that guardian.yaml names, as the detector does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardian_cli.detectors.clip.architecture import find_weights, read_architecture
from guardian_cli.detectors.clip.cache import Cache
from guardian_cli.detectors.clip.detector import DEFAULT_CACHE
from guardian_cli.detectors.clip.hardware import choose_device, choose_precision
from guardian_cli.detectors.clip.hub import Hub
from guardian_cli.detectors.clip.loading import map_model
from guardian_cli.detectors.clip.tower import (
    Preprocessing,
    describe_tower,
    name_backbone,
    own_memory,
)
from guardian_cli.errors import MissingError
from guardian_cli.training.model.backbones import Tower

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from guardian_cli.config import ClipSection


def load_tower(
    clip: ClipSection,
    tell: Callable[[str], None],
    *,
    offline: bool = False,
    model_config: Path | None = None,
) -> Tower:
    """Find the weights, from the cache or the hub, and load the tower.

    Raises MissingError when they can't be had, UsageError for a model or a file that makes none.
    """
    own_config = model_config is not None
    weights = find_weights(
        clip.model, clip.pretrained, Hub(), own_config=own_config, offline=offline, tell=tell
    )
    architecture = read_architecture(clip.model, clip.pretrained, model_config)
    model = map_model(architecture, weights)
    own_memory(model.visual)
    picture = Preprocessing.read(model.visual.preprocess_cfg)
    height, width = picture.size_px
    if height != width:
        raise MissingError(f"{weights.label} looks at {width}x{height}: training needs a square")
    device = choose_device("auto")
    digest = Cache(DEFAULT_CACHE).digest(weights.path)
    return Tower(
        module=model.visual.to(device).eval().requires_grad_(requires_grad=False),
        config=describe_tower(architecture),
        px=width,
        mean=(picture.mean[0], picture.mean[1], picture.mean[2]),
        std=(picture.std[0], picture.std[1], picture.std[2]),
        label=weights.label,
        device=device,
        backbone=name_backbone(digest, architecture, picture),
        bf16=choose_precision("auto", device) in {"bf16", "fp16"},
    )
