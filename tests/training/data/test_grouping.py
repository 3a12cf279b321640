"""Pictures that look the same are found, others are not, and groups stay useful."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.training.data.dataset import Sample
from guardian_cli.training.data.frame_store import FileFacts, FrameStore, StoredSample
from guardian_cli.training.data.grouping import (
    BITS,
    find_near_duplicates,
    group_samples,
    hash_pictures,
    join_groups,
)

PX = 64


def landscape(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 7, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (PX, PX), interpolation=cv2.INTER_CUBIC), np.uint8)


def recompressed(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], quality: int) -> object:
    _, data = cv2.imencode(
        ".jpg", cv2.resize(picture, (100, 100)), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    return cv2.resize(cv2.imdecode(data, cv2.IMREAD_COLOR), (PX, PX))


def make_store(folder: Path, pictures: list[list[object]]) -> FrameStore:
    np.array([one for sample in pictures for one in sample], np.uint8).tofile(
        folder / "pictures.u8"
    )
    stored, start = [], 0
    for number, sample in enumerate(pictures):
        known = Sample(Path(str(number)), "x", str(number))
        stored.append(StoredSample(known, start, len(sample), f"{number}", FileFacts(1, 1, 1)))
        start += len(sample)
    return FrameStore(folder, PX, tuple(stored))


def test_a_copy_of_poor_quality_is_linked_and_strangers_are_not() -> None:
    originals = [landscape(seed) for seed in range(30)]
    copies = [recompressed(picture, 30) for picture in originals]
    bits, informative = hash_pictures(np.array([*originals, *copies], np.uint8))
    links = find_near_duplicates(bits, np.arange(60), 0.10)
    assert informative.all()
    assert set(links) == {(at, at + 30) for at in range(30)}


def test_distances_are_counted_as_by_hand() -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 256, (12, BITS // 8)).astype(np.uint8)
    found = find_near_duplicates(bits, np.arange(12), 1.0)
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
    store = make_store(tmp_path, [list(clip) for clip in clips])
    found = group_samples(store, [None] * 20, [at % 4 < 2 for at in range(20)], seed=0)
    assert found.groups == tuple(number // 2 for number in range(20))
    assert (found.pairs, found.conflicts, found.count) == (10, 0, 10)


def test_data_that_all_looks_alike_is_told_apart_more_strictly(tmp_path: Path) -> None:
    base = landscape(0)
    rng = np.random.default_rng(0)
    pictures: list[list[object]] = []
    for _ in range(24):
        changed = base.copy()
        row, column = rng.integers(0, PX - 24, 2)
        changed[row : row + 24, column : column + 24] = rng.integers(0, 256, (24, 24, 3))
        pictures.append([changed])
    store = make_store(tmp_path, list(pictures))
    found = group_samples(store, [None] * 24, [at % 2 == 0 for at in range(24)], seed=0)
    assert found.distance < 0.10
    assert found.count > 6


@given(
    st.lists(st.sampled_from([None, "a", "b"]), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=10),
)
def test_groups_are_the_connected_components(
    names: list[str | None], links: list[tuple[int, int]]
) -> None:
    links = [(one, other) for one, other in links if max(one, other) < len(names)]
    groups = join_groups(names, links)
    reach = [{at} for at in range(len(names))]
    for _ in names:
        for one, name in enumerate(names):
            for other in range(len(names)):
                same = name is not None and name == names[other]
                if same or (one, other) in links or (other, one) in links:
                    reach[one] |= reach[other]
                    reach[other] |= reach[one]
    for one in range(len(names)):
        for other in range(len(names)):
            assert (groups[one] == groups[other]) == (other in reach[one])
