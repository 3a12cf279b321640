"""From what the user names to a CLIP detector: its weights, its prompts, the numbers it takes."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardian_cli.detectors.clip.architecture import (
    check_tokenizer,
    find_weights,
    name_model,
    read_architecture,
)
from guardian_cli.detectors.clip.detector import ClipDetector
from guardian_cli.detectors.clip.hardware import choose_device, choose_precision
from guardian_cli.detectors.clip.hub import Hub
from guardian_cli.detectors.clip.lean_import import import_open_clip
from guardian_cli.detectors.clip.loading import map_model
from guardian_cli.detectors.clip.self_check import (
    allowed_errors,
    check_key,
    is_precise,
    measure,
    remembered,
)
from guardian_cli.detectors.clip.text_cache import (
    TextCache,
    cache_key,
    identify_weights,
    state_of,
)
from guardian_cli.detectors.clip.tower import BATCH_SIZE, build_tower
from guardian_cli.errors import MissingError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from guardian_cli.detectors.clip.architecture import Architecture, Weights
    from guardian_cli.detectors.clip.tower import ImageTower
    from guardian_cli.prompts import Prompts

DEFAULT_CACHE = Path("~/.cache/guardian/text-features")


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
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    cache = TextCache(_at_home(text_cache) if text_cache else None)
    state = state_of(weights.path)
    clip = map_model(architecture, weights)
    digest = identify_weights(weights.path, cache.folder / "weights" if cache.folder else None)
    key = _model_key(architecture, digest, _all_of(categories), cache)
    texts = _encode_prompts(clip, architecture, categories, cache, key)
    scale = float(clip.logit_scale.detach().exp())
    load = functools.partial(_load_tower, architecture, weights, device, state)
    chosen, errors = choose_precision(precision, device), {}
    if chosen != "fp32":
        note = _note(cache, check_key(key, texts, device, chosen))
        measured = remembered(
            note, texts, lambda: measure(load("fp32"), load(chosen), texts, scale)
        )
        errors = allowed_errors(measured)
        if precision == "auto" and not is_precise(errors):
            chosen, errors = "fp32", {}
    return ClipDetector(
        weights.label,
        build_tower(clip, device, chosen),
        texts,
        scale,
        logit_errors=errors,
        load_exact=functools.partial(load, "fp32"),
        digest=digest,
    )


def _at_home(folder: Path) -> Path | None:
    """The folder with `~` resolved; None for a user who has no home, as in many containers."""
    try:
        return folder.expanduser()
    except RuntimeError:
        return None


def _model_key(
    architecture: Architecture, digest: str, prompts: Sequence[str], cache: TextCache
) -> str:
    """What weights, model and prompts are remembered under; empty where nothing is."""
    if cache.folder is None:
        return ""
    settings = {**architecture.config, "quick_gelu": architecture.overrides.get("quick_gelu")}
    return cache_key(digest, settings, prompts)


def _note(cache: TextCache, key: str) -> Path | None:
    """Where a self-check is remembered."""
    return cache.folder / "precision" / f"{key}.json" if cache.folder else None


def _encode_prompts(
    clip: Any,
    architecture: Architecture,
    categories: Mapping[str, Prompts],
    cache: TextCache,
    key: str,
) -> dict[str, tuple[Tensor, Tensor]]:
    """Unit text features for each category, in fp32 whatever the images are computed in."""
    prompts = _all_of(categories)
    width = int(architecture.config["embed_dim"])
    features = cache.features(
        key, prompts, width, lambda: _encode_texts(clip, architecture.name, prompts)
    )
    lengths = [len(side) for sides in categories.values() for side in sides]
    parts = iter(features.split(lengths))  # type: ignore[no-untyped-call]
    return {name: (next(parts), next(parts)) for name in categories}


def _all_of(categories: Mapping[str, Prompts]) -> list[str]:
    return [prompt for sides in categories.values() for side in sides for prompt in side]


def _encode_texts(clip: Any, name: str, prompts: Sequence[str]) -> Tensor:
    import torch

    tokens = import_open_clip().get_tokenizer(name)(list(prompts))
    with torch.inference_mode():
        parts = [clip.encode_text(part).float() for part in tokens.split(BATCH_SIZE)]
        return torch.nn.functional.normalize(torch.cat(parts), dim=1)


def _load_tower(
    architecture: Architecture,
    weights: Weights,
    device: str,
    state: tuple[int, ...],
    precision: str,
) -> ImageTower:
    """The image tower once more from the file, which must be the one it was."""
    # Before, so that it costs nothing to find out again for every batch; after, to be sure.
    _check_unchanged(weights, state)
    tower = build_tower(map_model(architecture, weights), device, precision)
    _check_unchanged(weights, state)
    return tower


def _check_unchanged(weights: Weights, state: tuple[int, ...]) -> None:
    if state_of(weights.path) != state:
        raise MissingError(f"{weights.path} changed while it was in use", hint="run again")
