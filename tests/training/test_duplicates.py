"""Pictures that look the same are found, others are not, and groups stay useful."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from guardian_cli.training.data.duplicates import BITS, find_links, hash_pictures
from guardian_cli.training.data.frames import Entry, FileFacts, Gallery
from guardian_cli.training.data.grouping import group_items
from guardian_cli.training.data.listing import Item

PX = 64


def landscape(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 7, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (PX, PX), interpolation=cv2.INTER_CUBIC), np.uint8)


def recompressed(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], quality: int) -> object:
    _, data = cv2.imencode(
        ".jpg", cv2.resize(picture, (100, 100)), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    return cv2.resize(cv2.imdecode(data, cv2.IMREAD_COLOR), (PX, PX))


def make_gallery(folder: Path, pictures: list[list[object]]) -> Gallery:
    np.array([one for item in pictures for one in item], np.uint8).tofile(folder / "pictures.u8")
    entries, start = [], 0
    for number, item in enumerate(pictures):
        known = Item(Path(str(number)), "x", str(number))
        entries.append(Entry(known, start, len(item), f"{number}", FileFacts(1, 1, 1)))
        start += len(item)
    return Gallery(folder, PX, tuple(entries))


def test_a_copy_of_poor_quality_is_linked_and_strangers_are_not() -> None:
    originals = [landscape(seed) for seed in range(30)]
    copies = [recompressed(picture, 30) for picture in originals]
    bits, telling = hash_pictures(np.array([*originals, *copies], np.uint8))
    links = find_links(bits, np.arange(60), 0.10)
    assert telling.all()
    assert {(link.one, link.other) for link in links} == {(at, at + 30) for at in range(30)}


def test_distances_are_counted_as_by_hand() -> None:
    chance = np.random.default_rng(0)
    bits = chance.integers(0, 256, (12, BITS // 8)).astype(np.uint8)
    found = {(link.one, link.other): link.distance for link in find_links(bits, np.arange(12), 1.0)}
    for one in range(12):
        for other in range(one + 1, 12):
            apart = np.unpackbits(bits[one] ^ bits[other]).sum() / BITS
            assert found[one, other] == pytest.approx(apart)


def test_flat_pictures_link_nothing() -> None:
    flat = np.full((2, PX, PX, 3), 80, np.uint8)
    assert not hash_pictures(flat)[1].any()


def test_clips_of_one_scene_are_one_group(tmp_path: Path) -> None:
    scenes = [landscape(seed) for seed in range(10)]
    clips = [[scenes[number // 2], landscape(100 + number)] for number in range(20)]
    gallery = make_gallery(tmp_path, [list(clip) for clip in clips])
    found = group_items(gallery, [None] * 20, [at % 4 < 2 for at in range(20)], seed=0)
    assert found.groups == tuple(number // 2 for number in range(20))
    assert (found.pairs, found.conflicts, found.count) == (10, 0, 10)


def test_data_that_all_looks_alike_is_told_apart_more_strictly(tmp_path: Path) -> None:
    base = landscape(0)
    chance = np.random.default_rng(0)
    pictures: list[list[object]] = []
    for _ in range(24):
        changed = base.copy()
        row, column = chance.integers(0, PX - 24, 2)
        changed[row : row + 24, column : column + 24] = chance.integers(0, 256, (24, 24, 3))
        pictures.append([changed])
    gallery = make_gallery(tmp_path, list(pictures))
    found = group_items(gallery, [None] * 24, [at % 2 == 0 for at in range(24)], seed=0)
    assert found.distance < 0.10
    assert found.count > 6
