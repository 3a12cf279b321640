"""The CLIP detector: frames in, a zero-shot score per category out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardian_cli.detectors.base import Answer, DetectorInfo
from guardian_cli.detectors.clip.architecture import (
    check_tokenizer,
    find_weights,
    name_model,
    read_architecture,
)
from guardian_cli.detectors.clip.ensembles import score_ensembles
from guardian_cli.detectors.clip.hardware import choose_device, choose_precision
from guardian_cli.detectors.clip.hub import Hub
from guardian_cli.detectors.clip.lean_import import import_open_clip
from guardian_cli.detectors.clip.loading import map_model, own_memory
from guardian_cli.detectors.clip.pixels import Preprocessing, cut_views, normalise
from guardian_cli.detectors.clip.plain_vit import encoder_of
from guardian_cli.detectors.clip.text_cache import TextCache, cache_key, identify_weights
from guardian_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from guardian_cli.detectors.clip.architecture import Architecture, Weights
    from guardian_cli.detectors.prompts import Prompts

BATCH_SIZE = 32
DEFAULT_CACHE = Path("~/.cache/guardian/text-features")


@dataclass(frozen=True, slots=True)
class ImageTower:
    """The half of CLIP that looks: `encode` maps (N, 3, H, W) to features (N, D)."""

    encode: Callable[[Tensor], Tensor]
    preprocessing: Preprocessing
    device: str
    precision: str

    def features(self, views: Tensor) -> Tensor:
        """Unit features (N, D), float32 on the CPU, of uint8 views (N, 3, H, W).

        Views go to the device as bytes, a quarter of what they are as numbers.
        """
        import torch

        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        parts = []
        for part in views.split(BATCH_SIZE):  # type: ignore[no-untyped-call]
            pictures = normalise(part.to(self.device), self.preprocessing)
            parts.append(self.encode(pictures.to(dtype[self.precision])).float().cpu())
        return torch.nn.functional.normalize(torch.cat(parts), dim=1)


class ClipDetector:
    """Zero-shot scores by CLIP, the larger of a frame's views. One call of `score` at a time."""

    def __init__(
        self,
        label: str,
        tower: ImageTower,
        texts: Mapping[str, tuple[Tensor, Tensor]],
        scale: float,
    ) -> None:
        """Hold an image tower and, for each category, its unit text features (P, D) and (Q, D)."""
        self._info = DetectorInfo("clip", None, label)
        self._tower: ImageTower | None = tower
        self._texts = texts
        self._scale = scale
        self._side_px = min(tower.preprocessing.size_px)

    @property
    def info(self) -> DetectorInfo:
        """Name and model."""
        return self._info

    @property
    def categories(self) -> Sequence[str]:
        """Every category that has prompts."""
        return tuple(self._texts)

    @property
    def short_side_px(self) -> int:
        """The model's own picture size: larger frames show it nothing more."""
        return self._side_px

    @property
    def batch_size(self) -> int:
        """Frames in one call, each of them one or more views."""
        return BATCH_SIZE

    @property
    def concurrency(self) -> int:
        """One: torch spreads a single call over the cores itself."""
        return 1

    @property
    def precision(self) -> str:
        """fp32, bf16 or fp16: the numbers the image tower computes in."""
        return self._tower.precision if self._tower else "fp32"

    def score(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """Score upright BGR frames (H x W x 3, uint8): each category's largest view, in 0..1."""
        import torch

        tower = self._tower
        if tower is None:
            raise RuntimeError("the detector is closed")
        if not images:
            return Answer(())
        with torch.inference_mode():
            views, owners = cut_views(images, tower.preprocessing)
            features = tower.features(views)
            columns = {
                name: score_ensembles(features, positive, negative, self._scale).tolist()
                for name, (positive, negative) in self._texts.items()
            }
        frames = [_largest(columns, owners, index) for index in range(len(images))]
        failed = not all(frames)
        return Answer(frames, "CLIP answered with something that is no number" if failed else None)

    def summary(self) -> str | None:
        """Nothing: CLIP has no story of its own to tell."""
        return None

    def close(self) -> None:
        """Let the model go."""
        self._tower = None


def load_clip(
    model: str,
    pretrained: str,
    categories: Mapping[str, Prompts],
    *,
    model_config: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    offline: bool = False,
    text_cache: Path | None = DEFAULT_CACHE,
    hub: Hub | None = None,
    threads: int | None = None,
    on_download: Callable[[str], None] | None = None,
) -> ClipDetector:
    """Load a CLIP and encode the prompts of each category.

    `pretrained` is a tag (from the hub's cache, else downloaded, with progress lines to
    `on_download`; `offline` touches no network) or a checkpoint's path. `threads` bounds torch's.

    Raises UsageError for a model, tag, path, device or precision that can't be meant, and
    MissingError when a tag's weights can't be had; whether they can is settled within 3 seconds.
    """
    if model_config is not None and not model_config.is_file():
        raise UsageError(f"{model_config}: no such file")
    name = name_model(model, model_config)
    weights = find_weights(
        name,
        pretrained,
        hub or Hub(),
        own_config=model_config is not None,
        offline=offline,
        tell=on_download or (lambda _: None),
    )
    architecture = read_architecture(name, pretrained, model_config)
    check_tokenizer(architecture, offline=offline)
    device = choose_device(device)
    precision = choose_precision(precision, device)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    cache = TextCache(_at_home(text_cache) if text_cache else None)
    clip = map_model(architecture, weights)
    texts = _encode_prompts(clip, architecture, weights, categories, cache)
    scale = float(clip.logit_scale.detach().exp())
    return ClipDetector(weights.label, _image_tower(clip, device, precision), texts, scale)


def _at_home(folder: Path) -> Path | None:
    """The folder with `~` resolved; None for a user who has no home, as in many containers."""
    try:
        return folder.expanduser()
    except RuntimeError:
        return None


def _largest(
    columns: Mapping[str, Sequence[float]], owners: Sequence[int], frame: int
) -> dict[str, float]:
    """A frame's largest score per category; empty when one is no number."""
    largest: dict[str, float] = {}
    for category, column in columns.items():
        scores = [score for score, owner in zip(column, owners, strict=True) if owner == frame]
        if not all(map(math.isfinite, scores)):
            return {}
        largest[category] = max(scores)
    return largest


def _encode_prompts(
    clip: Any,
    architecture: Architecture,
    weights: Weights,
    categories: Mapping[str, Prompts],
    cache: TextCache,
) -> dict[str, tuple[Tensor, Tensor]]:
    """Unit text features for each category, in fp32 whatever the images are computed in."""
    sides = [side for prompts in categories.values() for side in prompts]
    prompts = [prompt for side in sides for prompt in side]
    settings = {**architecture.config, "quick_gelu": architecture.overrides.get("quick_gelu")}
    width, key = int(architecture.config["embed_dim"]), ""
    if cache.folder is not None:
        digest = identify_weights(weights.path, cache.folder / "weights")
        key = cache_key(digest, settings, prompts)
    features = cache.features(
        key, prompts, width, lambda: _encode_texts(clip, architecture.name, prompts)
    )
    parts = iter(features.split([len(side) for side in sides]))  # type: ignore[no-untyped-call]
    return {name: (next(parts), next(parts)) for name in categories}


def _encode_texts(clip: Any, name: str, prompts: Sequence[str]) -> Tensor:
    import torch

    tokens = import_open_clip().get_tokenizer(name)(list(prompts))
    with torch.inference_mode():
        parts = [clip.encode_text(part).float() for part in tokens.split(BATCH_SIZE)]
        return torch.nn.functional.normalize(torch.cat(parts), dim=1)


def _image_tower(clip: Any, device: str, precision: str) -> ImageTower:
    """Keep the half that looks, on its device, and let the text half go where that is possible."""
    import torch

    open_clip = import_open_clip()
    preprocessing = Preprocessing.read(open_clip.get_model_preprocess_cfg(clip))
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    plain = type(clip) in {open_clip.CLIP, open_clip.CustomTextCLIP}
    module = (clip.visual if plain else clip).to(device=device, dtype=dtype)
    if device == "cpu" and dtype == torch.float32:
        own_memory(module)
    encode = encoder_of(module) if plain else module.encode_image
    return ImageTower(encode, preprocessing, device, precision)
