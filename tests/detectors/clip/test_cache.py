from __future__ import annotations

import hashlib
import math
import os
from typing import TYPE_CHECKING

import pytest
import torch

from guardian_cli.detectors.clip.cache import LARGE_BYTES, Cache

if TYPE_CHECKING:
    from collections.abc import Sequence
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
    encode, cache = Encoder(), Cache(tmp_path / "new" / "folder")
    first = cache.text_features("key", PROMPTS, 4, encode)
    second = Cache(tmp_path / "new" / "folder").text_features("key", PROMPTS, 4, encode)
    assert encode.asked == 1
    assert torch.equal(first, second)
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["key.safetensors"]


@pytest.mark.parametrize("damage", ["empty", "random", "cut", "other shape", "not unit", "folder"])
def test_a_damaged_file_is_written_anew(tmp_path: Path, damage: str) -> None:
    cache, path = Cache(tmp_path), tmp_path / "key.safetensors"
    cache.text_features("key", PROMPTS, 4, Encoder())
    good = path.read_bytes()
    if damage == "other shape":
        Cache(tmp_path).text_features("other", PROMPTS, 8, Encoder(width=8))
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
    assert torch.equal(cache.text_features("key", PROMPTS, 4, encode), encode.features)
    assert encode.asked == 1
    if damage != "folder":
        assert path.read_bytes() == good


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    encode = Encoder()
    for folder in (tmp_path / "file" / "cache", None):
        assert torch.equal(Cache(folder).text_features("k", PROMPTS, 4, encode), encode.features)
    assert encode.asked == 2


def test_weights_are_known_by_their_content(tmp_path: Path) -> None:
    checkpoint = tmp_path / "model.pt"
    checkpoint.write_bytes(b"weights")
    assert Cache(None).digest(checkpoint) == hashlib.sha256(b"weights").hexdigest()


def test_the_hubs_cache_names_content_by_its_digest(tmp_path: Path) -> None:
    blob = tmp_path / "blobs" / ("ab" * 32)
    blob.parent.mkdir()
    blob.write_bytes(b"not read")
    link = tmp_path / "model.safetensors"
    link.symlink_to(blob)
    assert Cache(None).digest(link) == "ab" * 32


def large_file(path: Path, first: bytes) -> Path:
    """Sparse, so that it takes no disk; its times lie well back."""
    with path.open("wb") as file:
        file.write(first)
        file.truncate(LARGE_BYTES)
    return path


def test_a_large_files_digest_is_remembered_while_it_is_unchanged(tmp_path: Path) -> None:
    checkpoint, memory = large_file(tmp_path / "model.pt", b"one"), tmp_path / "memory"
    now_s = checkpoint.stat().st_ctime + 60
    digest = Cache(memory).digest(checkpoint, now_s)
    assert digest == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    (note,) = (memory / "weights").iterdir()
    note.write_text("ab" * 32)  # to see that it is read
    assert Cache(memory).digest(checkpoint, now_s) == "ab" * 32
    assert Cache(None).digest(checkpoint, now_s) == digest
    note.write_text("damaged")
    assert Cache(memory).digest(checkpoint, now_s) == digest
    # The same size and the same modification time, but other content.
    before = checkpoint.stat()
    large_file(checkpoint, b"two")
    os.utime(checkpoint, ns=(before.st_atime_ns, before.st_mtime_ns))
    other = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert Cache(memory).digest(checkpoint, now_s) == other != digest


def test_a_file_that_was_just_written_is_not_remembered(tmp_path: Path) -> None:
    checkpoint, memory = large_file(tmp_path / "model.pt", b"one"), tmp_path / "memory"
    Cache(memory).digest(checkpoint, checkpoint.stat().st_ctime + 1)
    assert not memory.exists()


class Measure:
    """Notes what it is asked for, and has an error for each."""

    def __init__(self, **errors: float) -> None:
        self.errors, self.asked = errors, list[str]()

    def __call__(self, missing: Sequence[str]) -> dict[str, float]:
        self.asked += missing
        return {name: self.errors[name] for name in missing}


def test_each_category_is_measured_once(tmp_path: Path) -> None:
    cache, measure = Cache(tmp_path), Measure(nsfw=math.inf, gore=0.5)
    assert cache.errors({"nsfw": "one"}, measure) == {"nsfw": math.inf}
    both = {"gore": "two", "nsfw": "one"}
    for _ in range(2):
        assert cache.errors(both, measure) == {"nsfw": math.inf, "gore": 0.5}
    assert cache.errors({"gore": "two"}, measure) == {"gore": 0.5}
    assert measure.asked == ["nsfw", "gore"]
    assert Cache(None).errors({"gore": "two"}, measure) == {"gore": 0.5}
    assert measure.asked == ["nsfw", "gore", "gore"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"[" * 100_000, b"\xff", b"{}", b'"0"', b"-1.0", b"NaN", b"[0.5]"],
    ids=lambda content: repr(content[:30]),
)
def test_a_damaged_note_is_measured_again(tmp_path: Path, content: bytes) -> None:
    cache, file = Cache(tmp_path), tmp_path / "precision" / "one.json"
    file.parent.mkdir()
    file.write_bytes(content)
    assert cache.errors({"nsfw": "one"}, Measure(nsfw=0.25)) == {"nsfw": 0.25}
    assert cache.errors({"nsfw": "one"}, Measure(nsfw=0.75)) == {"nsfw": 0.25}
