from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest
import torch

from guardian_cli.detectors.clip.text_cache import (
    LARGE_BYTES,
    TextCache,
    cache_key,
    identify_weights,
)

if TYPE_CHECKING:
    from pathlib import Path

PROMPTS = ("a red star", "nothing")


class Encoder:
    """Counts how often it is asked."""

    def __init__(self, width: int = 4) -> None:
        self.asked = 0
        self.features = torch.nn.functional.normalize(torch.ones(len(PROMPTS), width), dim=1)

    def __call__(self) -> torch.Tensor:
        self.asked += 1
        return self.features


def test_the_second_time_is_remembered(tmp_path: Path) -> None:
    encode, cache = Encoder(), TextCache(tmp_path / "new" / "folder")
    first = cache.features("key", PROMPTS, 4, encode)
    second = TextCache(tmp_path / "new" / "folder").features("key", PROMPTS, 4, encode)
    assert encode.asked == 1
    assert torch.equal(first, second)
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["key.safetensors"]


@pytest.mark.parametrize("damage", ["empty", "random", "cut", "other shape", "not unit", "folder"])
def test_a_damaged_file_is_written_anew(tmp_path: Path, damage: str) -> None:
    cache, path = TextCache(tmp_path), tmp_path / "key.safetensors"
    cache.features("key", PROMPTS, 4, Encoder())
    good = path.read_bytes()
    if damage == "other shape":
        TextCache(tmp_path).features("other", PROMPTS, 8, Encoder(width=8))
        (tmp_path / "other.safetensors").replace(path)
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(
            {
                "empty": b"",
                "random": b"\x07" * 300,
                "cut": good[:-3],
                "not unit": good[:-32] + b"\0" * 32,
            }[damage]
        )
    encode = Encoder()
    assert torch.equal(cache.features("key", PROMPTS, 4, encode), encode.features)
    assert encode.asked == 1
    if damage != "folder":
        assert path.read_bytes() == good


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    encode = Encoder()
    for folder in (tmp_path / "file" / "cache", None):
        assert torch.equal(TextCache(folder).features("k", PROMPTS, 4, encode), encode.features)
    assert encode.asked == 2


def test_the_key_depends_on_weights_model_and_prompts() -> None:
    key = cache_key("w", {"embed_dim": 4}, PROMPTS)
    assert key == cache_key("w", {"embed_dim": 4}, list(PROMPTS))
    others = [
        cache_key("v", {"embed_dim": 4}, PROMPTS),
        cache_key("w", {"embed_dim": 5}, PROMPTS),
        cache_key("w", {"embed_dim": 4}, PROMPTS[::-1]),
    ]
    assert key not in others


def test_weights_are_known_by_their_content(tmp_path: Path) -> None:
    checkpoint = tmp_path / "model.pt"
    checkpoint.write_bytes(b"weights")
    assert identify_weights(checkpoint) == hashlib.sha256(b"weights").hexdigest()


def test_the_hubs_cache_names_content_by_its_digest(tmp_path: Path) -> None:
    blob = tmp_path / "blobs" / ("ab" * 32)
    blob.parent.mkdir()
    blob.write_bytes(b"not read")
    link = tmp_path / "model.safetensors"
    link.symlink_to(blob)
    assert identify_weights(link) == "ab" * 32


def large_file(path: Path, first: bytes) -> Path:
    """Sparse, so that it takes no disk; its times lie well back."""
    with path.open("wb") as file:
        file.write(first)
        file.truncate(LARGE_BYTES)
    return path


def test_a_large_files_digest_is_remembered_while_it_is_unchanged(tmp_path: Path) -> None:
    checkpoint, memory = large_file(tmp_path / "model.pt", b"one"), tmp_path / "memory"
    now_s = checkpoint.stat().st_ctime + 60
    digest = identify_weights(checkpoint, memory, now_s)
    assert digest == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    (note,) = memory.iterdir()
    note.write_text("ab" * 32)  # to see that it is read
    assert identify_weights(checkpoint, memory, now_s) == "ab" * 32
    assert identify_weights(checkpoint, None, now_s) == digest
    note.write_text("damaged")
    assert identify_weights(checkpoint, memory, now_s) == digest
    # The same size and the same modification time, but other content.
    before = checkpoint.stat()
    large_file(checkpoint, b"two")
    os.utime(checkpoint, ns=(before.st_atime_ns, before.st_mtime_ns))
    other = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert identify_weights(checkpoint, memory, now_s) == other != digest


def test_a_file_that_was_just_written_is_not_remembered(tmp_path: Path) -> None:
    checkpoint, memory = large_file(tmp_path / "model.pt", b"one"), tmp_path / "memory"
    identify_weights(checkpoint, memory, checkpoint.stat().st_ctime + 1)
    assert not memory.exists()
