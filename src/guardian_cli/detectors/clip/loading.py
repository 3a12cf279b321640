"""From a checkpoint to a model in memory, without ever running code from the file."""

from __future__ import annotations

import functools
import itertools
import logging
import warnings
import zipfile
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from guardian_cli.detectors.clip.lean_import import bring_timm, import_open_clip
from guardian_cli.errors import MissingError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardian_cli.detectors.clip.architecture import Architecture, Weights

_MISFIT = ("size mismatch", "Missing key", "Unexpected key", "pos_embed", "Error(s) in loading")
_CUT = ("central directory", "zip archive", "PytorchStreamReader")


def load_model(architecture: Architecture, weights: Weights) -> Any:
    """Build the model, fp32 on the CPU, and fill it from the checkpoint (`weights_only=True`).

    Raises UsageError for a config that describes no model and when a file that the user named does
    not fit, MissingError when one from the hub's cache does not.
    """
    model = _build(architecture)
    _fill(model, architecture, weights)
    return model.eval()


def load_image_tower(architecture: Architecture, weights: Weights) -> Any:
    """Load a model of which only `visual` and `logit_scale` are sure to hold numbers.

    The model is built without numbers, and the file's are mapped, not read: what is not used costs
    nothing. Whoever keeps the tower copies it: the file may change. Models that don't build like
    this are loaded in full. Raises what `load_model` does.
    """
    if not _builds_empty(architecture, weights):
        return load_model(architecture, weights)
    model = _build(architecture, empty=True)
    _fill(model, architecture, weights, mapped=True)
    visual = model.visual
    if any(one.is_meta for one in itertools.chain(visual.parameters(), visual.buffers())):
        return load_model(architecture, weights)
    return model.eval()


def _builds_empty(architecture: Architecture, weights: Weights) -> bool:
    """Whether a model is open_clip's own through and through, and its file can be mapped."""
    config = architecture.config
    foreign = "multimodal_cfg" in config or any(
        name.startswith(("hf_", "timm_"))
        for side in ("vision_cfg", "text_cfg")
        for name in config[side]
    )
    if weights.path.suffix == ".safetensors":
        return not foreign
    return not foreign and weights.path.suffix not in {".npz", ".npy"} and _is_zip(weights)


def _is_zip(weights: Weights) -> bool:
    try:
        return zipfile.is_zipfile(weights.path)
    except OSError:
        return False


def _build(architecture: Architecture, *, empty: bool = False) -> Any:
    import torch

    device = torch.device("meta" if empty else "cpu")
    try:
        open_clip = import_open_clip()
        if "timm_model_name" in architecture.config["vision_cfg"]:
            bring_timm()
        with _hushed(), device:
            return open_clip.create_model(
                architecture.name,
                load_weights=False,
                pretrained_text=False,
                device=device,
                **architecture.overrides,
            )
    except Exception as error:  # A config is the user's file: what it breaks is not foreseeable.
        raise UsageError(
            f"the config of {architecture.name} describes no model that open_clip can build: "
            f"{_first_line(error)}"
        ) from error


def _fill(
    model: Any, architecture: Architecture, weights: Weights, *, mapped: bool = False
) -> None:
    from torch.utils.serialization import config

    try:
        with ExitStack() as stack:
            stack.enter_context(_hushed())
            if mapped:
                stack.enter_context(config.patch({"load.mmap": True}))
                # open_clip calls this at the end; a model without numbers takes over the file's.
                model.load_state_dict = functools.partial(model.load_state_dict, assign=True)
                stack.callback(delattr, model, "load_state_dict")
            import_open_clip().load_checkpoint(model, str(weights.path), weights_only=True)
    except Exception as error:  # Any file may be named, and torch raises anything.
        reason, hint = _explain(error)
        if weights.named:
            message = f"{weights.path}: not a checkpoint of {architecture.name}: {reason}"
            raise UsageError(message, hint=hint) from error
        raise MissingError(
            f"the cached weights of {weights.label} are damaged: {reason}",
            hint=f"rm {weights.path}, and run again",
        ) from error


@contextmanager
def _hushed() -> Iterator[None]:
    """Keep open_clip from telling the user that a model not yet filled is random."""

    def is_news(record: logging.LogRecord) -> bool:
        return "No pretrained weights loaded" not in record.getMessage()

    root = logging.getLogger()
    root.addFilter(is_news)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeFilter(is_news)


def _explain(error: Exception) -> tuple[str, str | None]:
    """One line, and a hint where there is one, for what torch says in many lines."""
    text = str(error)
    if any(word in text for word in _MISFIT):
        hint = "--model or --model-config must name the architecture it was trained with"
        return "its tensors have other shapes or names", hint
    if isinstance(error, MemoryError) or "allocate memory" in text:
        return "not enough memory", None
    if "TorchScript" in text:
        return "a TorchScript archive", "save its state_dict() instead"
    if "SafetensorError" in type(error).__name__:
        return "the file is damaged or no safetensors file", None
    if any(word in text for word in _CUT):
        return "the file is damaged or cut short", None
    if "weights_only" in text or "Unpickl" in type(error).__name__:
        return "it is damaged or holds more than tensors (code in it is never run)", None
    return "the file is damaged or no checkpoint at all", None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__
