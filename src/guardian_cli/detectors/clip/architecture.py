"""What `--model`, `--pretrained` and `--model-config` mean: an architecture and its weights."""

from __future__ import annotations

import difflib
import json
import tempfile
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardian_cli.detectors.clip.hub import Hub, HubFile
from guardian_cli.detectors.clip.speedups import import_open_clip
from guardian_cli.errors import MissingError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEFAULT = ("ViT-B-32", "laion2b_s34b_b79k")
DEFAULT_HUB_ENTRY = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K/"
DEFAULT_SIDE_PX = 224
CHECKPOINT_ENDINGS = {".bin", ".ckpt", ".npz", ".pt", ".pth", ".safetensors"}


@dataclass(frozen=True, slots=True)
class Architecture:
    """An open_clip model: its name in open_clip's registry, what it consists of, how to build it.

    `overrides` are keyword arguments for `open_clip.create_model`.
    """

    name: str
    config: Mapping[str, Any]
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Weights:
    """A checkpoint on this machine, and whether the user named the file or a tag did."""

    path: Path
    label: str
    named: bool


def find_weights(
    model: str,
    pretrained: str,
    hub: Hub,
    *,
    own_config: bool = False,
    offline: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Weights:
    """Find the checkpoint that a tag or a path means, downloading a tag's if need be.

    Raises UsageError for a path that is not there and an unknown tag, MissingError when a tag's
    weights can't be had.
    """
    # The folders of the user's own machine have no place in a report.
    label, path = f"{model}/{Path(pretrained).name}", Path(pretrained).expanduser()
    tags = {}
    is_path = path.suffix in CHECKPOINT_ENDINGS or len(path.parts) > 1
    if (model, pretrained) == DEFAULT and not own_config:
        # open_clip takes a second to import, and is of no use without weights.
        tags = {pretrained: DEFAULT_HUB_ENTRY}
    elif not is_path:
        if not own_config:
            _look_up(model)
        open_clip, name = import_open_clip(), model.replace("/", "-")
        tags = {
            tag: open_clip.get_pretrained_cfg(name, tag).get("hf_hub", "")
            for tag in open_clip.list_pretrained_tags_by_model(name)
        }
    entry = tags.get(pretrained.lower().replace("-", "_"), "")
    if entry:
        path = hub.find(HubFile.read(entry), label, offline=offline, tell=tell)
        return Weights(path, label, named=False)
    if path.is_file():
        return Weights(path.absolute(), label, named=True)
    if path.is_dir():
        raise UsageError(f"{pretrained} is a folder, not a checkpoint")
    if is_path or path.exists():
        raise UsageError(f"{pretrained}: no such file")
    has = f"it has: {', '.join(tags)}" if tags else "it has none: name a checkpoint file"
    raise UsageError(f"{model} has no pretrained tag {pretrained} ({has})")


def read_architecture(model: str, pretrained: str, model_config: Path | None) -> Architecture:
    """Look a model up in open_clip, or register the JSON in `model_config` for it.

    Raises UsageError for an unknown model, and for a JSON that is not there or no model config.
    """
    name, open_clip = model.replace("/", "-"), import_open_clip()
    overrides: dict[str, Any] = {}
    if model_config is None:
        config = _look_up(model)
        # How a tag's weights were trained, where that is not what the architecture says.
        tag = open_clip.get_pretrained_cfg(name, pretrained)
        if tag:
            overrides["force_preprocess_cfg"] = tag
            quick_gelu = bool(tag.get("quick_gelu", False))
            if quick_gelu != bool(config.get("quick_gelu", False)):
                overrides["quick_gelu"] = quick_gelu
        return Architecture(name, config, overrides)
    settings = _read_json(model_config)
    config = settings.get("model_cfg", settings)
    if not isinstance(config, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= set(config):
        needed = "embed_dim, vision_cfg and text_cfg are needed"
        raise UsageError(f"{model_config}: no open_clip model config: {needed}")
    # open_clip takes a config's name from its file's.
    with tempfile.TemporaryDirectory() as folder:
        named = Path(folder) / f"{name}.json"
        named.write_text(json.dumps(config), encoding="utf-8")
        open_clip.add_model_config(named)
    if isinstance(settings.get("preprocess_cfg"), dict):
        overrides["force_preprocess_cfg"] = settings["preprocess_cfg"]
    return Architecture(name, config, overrides)


def name_model(model: str, model_config: Path | None) -> str:
    """What to call the model: a config given without a model's name is not the default's."""
    return model_config.stem if model_config and model == DEFAULT[0] else model


def picture_side_px(model: str, model_config: Path | None) -> int:
    """The shorter side, in pixels, of a model's pictures, without importing open_clip.

    A config that says nothing of it, or is none, has open_clip's default.
    """
    path = model_config
    if path is None:
        package = find_spec("open_clip")
        places = (package.submodule_search_locations or []) if package else []
        path = Path(*places[:1], "model_configs", f"{model.replace('/', '-')}.json")
    try:
        settings = _read_json(path)
        size = settings.get("model_cfg", settings)["vision_cfg"].get("image_size", DEFAULT_SIDE_PX)
        size = settings.get("preprocess_cfg", {}).get("size", size)
        side = size if isinstance(size, int) else min(size)
    except (UsageError, KeyError, TypeError, ValueError, AttributeError):
        return DEFAULT_SIDE_PX
    return side if isinstance(side, int) and side > 0 else DEFAULT_SIDE_PX


def check_tokenizer(architecture: Architecture, *, offline: bool) -> None:
    """Raise MissingError when a model's tokenizer is not CLIP's own and can't be had."""
    text = architecture.config.get("text_cfg", {})
    foreign = "hf_tokenizer_name" in text or "hf_model_name" in text
    if not foreign and "siglip" not in architecture.name.lower():
        return
    what = f"{architecture.name} has a tokenizer of its own, which comes from the model hub"
    if find_spec("transformers") is None:
        raise MissingError(f"{what} by way of transformers", hint="pip install transformers")
    if offline:
        raise MissingError(f"{what}, and this is offline")


def _look_up(model: str) -> dict[str, Any]:
    """The config of a model that open_clip knows; a colon would make open_clip ask the hub."""
    open_clip = import_open_clip()
    config = None if ":" in model else open_clip.get_model_config(model.replace("/", "-"))
    if config is not None:
        return dict(config)
    near = difflib.get_close_matches(model, open_clip.list_models(), n=1, cutoff=0.3)
    ending = f"; did you mean {near[0]}?" if near else ""
    raise UsageError(
        f"unknown model {model}{ending} (--model-config FILE describes a model of your own)"
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or 'cannot be read'}") from error
    except ValueError as error:
        raise UsageError(f"{path}: not a JSON file: {error}") from error
    if not isinstance(settings, dict):
        raise UsageError(f"{path}: no open_clip model config: it holds no mapping")
    return settings
