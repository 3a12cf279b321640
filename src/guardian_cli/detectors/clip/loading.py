"""From a checkpoint to a model in memory, without ever running code from the file."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from guardian_cli.detectors.clip.speedups import (
    bring_timm,
    import_open_clip,
    map_checkpoint,
    no_init_weights,
)
from guardian_cli.errors import MissingError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardian_cli.detectors.clip.architecture import Architecture, Weights

MISFIT = "its tensors have other shapes or names"
# What torch says in many lines, as one; the first that is found in its text counts.
CAUSES = (
    (
        ("size mismatch", "Missing key", "Unexpected key", "pos_embed", "Error(s) in loading"),
        MISFIT,
    ),
    (("MemoryError", "allocate memory"), "not enough memory"),
    (("TorchScript",), "a TorchScript archive"),
    (("SafetensorError",), "the file is damaged or no safetensors file"),
    (
        ("central directory", "zip archive", "PytorchStreamReader"),
        "the file is damaged or cut short",
    ),
    (
        ("weights_only", "Unpickl"),
        "it is damaged or holds more than tensors (code in it is never run)",
    ),
)
HINTS = {
    MISFIT: "--model or --model-config must name the architecture it was trained with",
    "a TorchScript archive": "save its state_dict() instead",
}


def map_model(architecture: Architecture, weights: Weights) -> Any:
    """Build the model, fp32 on the CPU, and fill it from the checkpoint (`weights_only=True`).

    The numbers stay in the file until they are used. Whoever keeps a part gives it `own_memory`:
    the file may change.

    Raises UsageError for a config that describes no model and when a file that the user named does
    not fit, MissingError when one from the hub's cache does not.
    """
    # torch as a whole first: what is imported within may draw numbers that it means to keep.
    import_open_clip()
    with no_init_weights():
        model = _build(architecture)
    try:
        with _hushed():
            if not map_checkpoint(model, weights.path):
                # Not every number is from the file: as open_clip does it, from the beginning.
                model = _build(architecture)
                import_open_clip().load_checkpoint(model, str(weights.path), weights_only=True)
    except Exception as error:  # Any file may be named, and torch raises anything.
        text = f"{type(error).__name__}: {error}"
        reason = next(
            (cause for words, cause in CAUSES if any(word in text for word in words)),
            "the file is damaged or no checkpoint at all",
        )
        if weights.named:
            message = f"{weights.path}: not a checkpoint of {architecture.name}: {reason}"
            raise UsageError(message, hint=HINTS.get(reason)) from error
        raise MissingError(
            f"the cached weights of {weights.label} are damaged: {reason}",
            hint=f"rm {weights.path}, and run again",
        ) from error
    return model.float().eval()


def _build(architecture: Architecture) -> Any:
    try:
        open_clip = import_open_clip()
        # `import_open_clip` leaves it out.
        if "timm_model_name" in architecture.config["vision_cfg"]:
            bring_timm()
        with _hushed():
            return open_clip.create_model(
                architecture.name,
                load_weights=False,
                pretrained_text=False,
                **architecture.overrides,
            )
    except Exception as error:  # A config is the user's file: what it breaks is not foreseeable.
        reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
        raise UsageError(
            f"the config of {architecture.name} describes no model that open_clip can build: "
            f"{reason}"
        ) from error


@contextmanager
def _hushed() -> Iterator[None]:
    # open_clip tells the user, by the root logger, that a model not yet filled is random.
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
