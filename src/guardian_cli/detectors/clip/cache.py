"""What is kept between runs: features of prompts, errors of half precision, digests of weights.

Never a pickle. A file that is damaged or can't be written costs the time to compute, nothing else.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, TypeAdapter

from guardian_cli.errors import UsageError
from guardian_cli.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

LARGE_BYTES = 64 << 20
# A file changed within the tick of its clock looks unchanged; one this old has settled.
SETTLED_S = 2.0
FEATURES = "text_features"
_ERROR: TypeAdapter[float] = TypeAdapter(Annotated[float, Field(ge=0)])


class Cache:
    """Remembers under `folder`; with None, or a home that is not there, it remembers nothing."""

    def __init__(self, folder: Path | None) -> None:
        try:
            self.folder = folder.expanduser() if folder else None
        except RuntimeError:  # a user who has no home, as in many containers
            self.folder = None

    def text_features(
        self, key: str, prompts: Sequence[str], width: int, encode: Callable[[], Tensor]
    ) -> Tensor:
        """The unit text features (len(prompts), width), float32: remembered, else by `encode`."""
        if self.folder is None:
            return encode()
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load, save

        path = self.folder / f"{key}.safetensors"
        with suppress(OSError, SafetensorError, KeyError, ValueError):
            known = load(path.read_bytes())[FEATURES]
            fits = known.shape == (len(prompts), width) and known.dtype == torch.float32
            if fits and torch.allclose(known.norm(dim=1), torch.ones(len(prompts)), atol=1e-3):
                return known
        features = encode()
        _put(path, save({FEATURES: features.contiguous()}))
        return features

    def errors(
        self, keys: Mapping[str, str], measure: Callable[[Sequence[str]], dict[str, float]]
    ) -> dict[str, float]:
        """Each category's error of half precision: remembered under its key, else by `measure`."""
        found: dict[str, float] = {}
        notes = {
            name: self.folder / "precision" / f"{key}.json"
            for name, key in keys.items()
            if self.folder is not None
        }
        for name, note in notes.items():
            with suppress(OSError, ValueError):
                found[name] = _ERROR.validate_json(note.read_bytes(), strict=True)
        missing = [name for name in keys if name not in found]
        measured = measure(missing) if missing else {}
        for name in missing:
            if name in notes:
                _put(notes[name], json.dumps(measured[name]).encode())
        return {name: found[name] if name in found else measured[name] for name in keys}

    def digest(self, checkpoint: Path, now_s: float | None = None) -> str:
        """The SHA-256 of a checkpoint, in hex; the hub's cache has it in the file's name already.

        A large file's is remembered while its size and both its times stay. `now_s` stands in for
        the clock.
        """
        blob = checkpoint.resolve()
        if blob.parent.name == "blobs" and len(blob.name) == 64:
            return blob.name
        state = state_of(blob)
        note = None
        if self.folder is not None and state[2] >= LARGE_BYTES:
            name = digest_of([str(blob).encode("utf-8", "surrogateescape").hex(), *state])
            note = self.folder / "weights" / f"{name}.sha256"
            with suppress(OSError, ValueError):
                known = note.read_text(encoding="ascii")
                if re.fullmatch("[0-9a-f]{64}", known):
                    return known
        with blob.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        age_s = (time.time() if now_s is None else now_s) - blob.stat().st_ctime
        if note is not None and state == state_of(blob) and age_s > SETTLED_S:
            _put(note, digest.encode())
        return digest


def digest_of(parts: Any) -> str:
    """The SHA-256, in hex, of a value as JSON: what something is remembered under."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def state_of(file: Path) -> tuple[int, ...]:
    """What changes when a file does: where it lies, its size, both its times in ns."""
    state = file.stat()
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _put(path: Path, content: bytes) -> None:
    with suppress(OSError, UsageError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content, mode=0o666)
