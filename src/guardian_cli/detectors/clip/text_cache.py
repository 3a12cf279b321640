"""Text features, kept on disk: the prompts of a run rarely change, and encoding them takes seconds.

One safetensors file for each combination of weights, model and prompts; never a pickle. A file that
is damaged or unwritable costs the time to encode, nothing else.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from guardian_cli.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

LARGE_BYTES = 64 << 20
# A file changed within the tick of its clock looks unchanged; one this old has settled.
SETTLED_S = 2.0
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


def identify_weights(
    checkpoint: Path, memory: Path | None = None, now_s: float | None = None
) -> str:
    """The SHA-256 of a checkpoint; the hub's cache has it in the file's name already.

    A large file's is remembered in the folder `memory` for as long as the file is the same one,
    unchanged by its size and both its times. `now_s` stands in for the clock.
    """
    blob = checkpoint.resolve()
    if blob.parent.name == "blobs" and len(blob.name) == 64:
        return blob.name
    state = state_of(blob)
    note = _note_of(blob, state, memory)
    remembered = _read_digest(note) if note else None
    if remembered is not None:
        return remembered
    with blob.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    age_s = (time.time() if now_s is None else now_s) - blob.stat().st_ctime
    if note is not None and state == state_of(blob) and age_s > SETTLED_S:
        put_whole(note, digest.encode())
    return digest


def state_of(file: Path) -> tuple[int, ...]:
    """What changes when a file does: where it lies, its size, both its times in ns."""
    state = file.stat()
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _note_of(blob: Path, state: tuple[int, ...], memory: Path | None) -> Path | None:
    """Where the digest of a file in this state is noted; None for what is read in no time."""
    if memory is None or state[2] < LARGE_BYTES:
        return None
    parts = [str(blob), *state]
    name = hashlib.sha256(json.dumps(parts).encode("utf-8", "surrogateescape")).hexdigest()
    return memory / f"{name}.sha256"


def _read_digest(note: Path) -> str | None:
    try:
        text = note.read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    return text if re.fullmatch("[0-9a-f]{64}", text) else None


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

    put_whole(path, save({_NAME: features.contiguous()}))


def put_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; a cache that can't be written is none."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content, mode=0o666)
