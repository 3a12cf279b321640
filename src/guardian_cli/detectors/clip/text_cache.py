"""Text features, kept on disk: the prompts of a run rarely change, and encoding them takes seconds.

One safetensors file for each combination of weights, model and prompts; never a pickle. A file that
is damaged or unwritable costs the time to encode, nothing else.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

_NAME = "text_features"


class TextCache:
    """Remembers text features under `folder`; with None it remembers nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def features(
        self, key: str, prompts: Sequence[str], width: int, encode: Callable[[], Tensor]
    ) -> Tensor:
        """The unit text features (len(prompts), width), float32: remembered, else by `encode`."""
        if self.folder is None:
            return encode()
        path = self.folder / f"{key}.safetensors"
        remembered = _read(path)
        if remembered is not None and _fits(remembered, (len(prompts), width)):
            return remembered
        features = encode()
        _write(path, features)
        return features


def cache_key(weights: str, model: Mapping[str, Any], prompts: Sequence[str]) -> str:
    """A digest of all that text features depend on; `weights` identifies the checkpoint."""
    parts = [weights, model, list(prompts), version("open_clip_torch")]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def identify_weights(checkpoint: Path) -> str:
    """The SHA-256 of a checkpoint; the hub's cache has it in the file's name already."""
    blob = checkpoint.resolve()
    if blob.parent.name == "blobs" and len(blob.name) == 64:
        return blob.name
    with checkpoint.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> Tensor | None:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(path.read_bytes())[_NAME]
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def _fits(features: Tensor, shape: tuple[int, int]) -> bool:
    import torch

    if features.shape != shape or features.dtype != torch.float32:
        return False
    return bool(torch.allclose(features.norm(dim=1), torch.ones(shape[0]), atol=1e-3))


def _write(path: Path, features: Tensor) -> None:
    from safetensors.torch import save

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            part = Path(folder) / path.name
            part.write_bytes(save({_NAME: features.contiguous()}))
            part.replace(path)
    except OSError:
        return
