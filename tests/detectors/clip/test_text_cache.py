from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
import torch

from guardian_cli.detectors.clip.text_cache import TextCache, cache_key, identify_weights

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
