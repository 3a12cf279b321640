"""From a checkpoint to a model in memory, without ever running code from the file."""

from __future__ import annotations

import functools
import logging
import warnings
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from guardian_cli.detectors.clip.lean_import import bring_timm, import_open_clip
from guardian_cli.detectors.clip.unfilled import unfilled
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
    model = map_model(architecture, weights)
    own_memory(model)
    return model


def map_model(architecture: Architecture, weights: Weights) -> Any:
    """As `load_model`, but the numbers stay in the file until they are used.

    What is never used costs nothing. Whoever keeps a part copies it: the file may change.
    """
    model = _build(architecture)
    _fill(model, architecture, weights)
    return model.float().eval()


def settle(module: Any, device: str, dtype: Any) -> Any:
    """Bring a module to a device, as numbers of `dtype`, none of them mapped from a file."""
    import torch

    module = module.to(device=device, dtype=dtype)
    if torch.device(device).type == "cpu" and dtype == torch.float32:
        own_memory(module)
    return module


def own_memory(module: Any) -> None:
    """Copy all numbers of a module, which may be mapped from a file, into memory of its own."""
    for numbers in (*module.parameters(), *module.buffers()):
        numbers.data = numbers.data.clone()


def _build(architecture: Architecture) -> Any:
    try:
        open_clip = import_open_clip()
        if "timm_model_name" in architecture.config["vision_cfg"]:
            bring_timm()
        with _hushed(), unfilled():
            return open_clip.create_model(
                architecture.name,
                load_weights=False,
                pretrained_text=False,
                **architecture.overrides,
            )
    except Exception as error:  # A config is the user's file: what it breaks is not foreseeable.
        raise UsageError(
            f"the config of {architecture.name} describes no model that open_clip can build: "
            f"{_first_line(error)}"
        ) from error


def _fill(model: Any, architecture: Architecture, weights: Weights) -> None:
    from torch.utils.serialization import config

    mapping = {"load.mmap": zipfile.is_zipfile(weights.path)}
    # open_clip calls this at the end; with it the model takes the file's numbers over as they are.
    model.load_state_dict = functools.partial(model.load_state_dict, assign=True)
    try:
        # Files in PyTorch's former format, from before 1.6, can't be mapped.
        with _hushed(), config.patch(mapping):  # type: ignore[attr-defined]
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
    finally:
        del model.load_state_dict


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
