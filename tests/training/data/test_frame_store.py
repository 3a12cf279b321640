"""The store: what cannot be read is left out, and an interrupted reading goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from guardian_cli.serving.format import ModelCard
from guardian_cli.serving.images import prepare
from guardian_cli.training.data.dataset import Sample
from guardian_cli.training.data.frame_store import (
    INDEX_NAME,
    PICTURES_NAME,
    FileContent,
    FileFacts,
    UnreadableError,
    drop_contradictions,
    store_frames,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardian_cli.training.data.frame_store import FrameStore

ITEMS = [Sample(Path(f"{number}.mp4"), "x", f"row {number}") for number in range(9)]


class Counting:
    """Reads sample n as n % 3 + 1 pictures of grey level n; number 4 is broken."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.read: list[int] = []
        self.stop_at = stop_at

    def __call__(self, sample: Sample, count: int) -> FileContent:
        number = int(sample.path.stem)
        if number == self.stop_at:
            raise KeyboardInterrupt
        self.read.append(number)
        if number == 4:
            raise UnreadableError("no frame could be decoded")
        pictures = [np.full((20, 30, 3), number, np.uint8)] * min(count, number % 3 + 1)
        return FileContent(pictures, FileFacts(30, 20, 600, 25.0, 2.0), f"digest {number}")


def build(
    folder: Path, reader: Counting, samples: Sequence[Sample] = ITEMS
) -> tuple[FrameStore, list[str]]:
    store, left_out = store_frames(
        folder, samples, reader, px=8, frames=2, workers=2, on_progress=lambda done, total: None
    )
    return store, [one.line for one in left_out]


def check(store: FrameStore) -> None:
    kept = [number for number in range(9) if number != 4]
    assert [entry.sha256 for entry in store.stored] == [f"digest {number}" for number in kept]
    for at, number in enumerate(kept):
        assert store.pictures(at).shape == (min(2, number % 3 + 1), 8, 8, 3)
        assert (store.pictures(at) == number).all()
    assert len(store.all_pictures()) == sum(entry.count for entry in store.stored)


def test_what_cannot_be_read_is_left_out_by_row(tmp_path: Path) -> None:
    store, left_out = build(tmp_path, Counting())
    check(store)
    assert left_out == ["row 4: 4.mp4: no frame could be decoded"]
    assert store.max_frames == 2


def test_every_view_of_every_frame_is_kept(tmp_path: Path) -> None:
    """A wide frame is two pictures, also where a video changes its size on the way."""

    def read(sample: Sample, count: int) -> FileContent:
        wide = np.zeros((90, 160, 3), np.uint8)
        wide[:, 80:] = 200
        frames = [wide, wide[::2, ::2].copy()] if sample.path.name == "wide" else [wide[:, :90]]
        return FileContent(frames, FileFacts(160, 90, 9), sample.path.name)

    samples = [Sample(Path(name), "x", name) for name in ("wide", "square")]
    for _ in range(2):  # made, then found
        store, _ = store_frames(
            tmp_path,
            samples,
            read,
            px=8,
            frames=2,
            views="overlapping",
            workers=1,
            on_progress=lambda done, total: None,
        )
        assert [(one.count, one.views, one.start) for one in store.stored] == [(2, 2, 0), (1, 1, 4)]
        left, right, *_ = store.pictures(0)
        assert left.mean() < 60 < 140 < right.mean()
        assert store.max_frames == 2


def test_an_interrupted_reading_goes_on_where_it_was(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, Counting(stop_at=6))
    # As a kill leaves it: half a line, and pictures that no line speaks of.
    with (tmp_path / INDEX_NAME).open("a") as index:
        index.write('{"count": 1, "sha')
    with (tmp_path / PICTURES_NAME).open("ab") as pictures:
        pictures.write(b"half a picture")
    reader = Counting()
    store, _ = build(tmp_path, reader)
    check(store)
    assert sorted(reader.read) == [6, 7, 8]


def test_one_picture_under_two_labels_is_left_out_wherever_it_lies(tmp_path: Path) -> None:
    """Items 0 to 3 are one file, 4 is broken, 5 and 6 look the same, 7 and 8 are no contradiction.

    0 and 1 are of one label, and 2 is a copy of them with another; 3 is such a copy, too.
    """
    labels = "xxyzxxyxy"
    samples = [replace(sample, label=label) for sample, label in zip(ITEMS, labels, strict=True)]

    def read(sample: Sample, count: int) -> FileContent:
        found = Counting()(sample, count)
        number = int(sample.path.stem)
        same = {0: "film", 1: "film", 2: "film", 3: "film"}
        grey = 99 if number in (5, 6) else number
        pictures = [np.full((20, 30, 3), grey, np.uint8)] * (1 + (number == 8))
        return FileContent(pictures, found.facts, same.get(number, found.sha256))

    store, left_out = store_frames(
        tmp_path, samples, read, px=8, frames=2, workers=2, on_progress=lambda done, total: None
    )
    assert len(left_out) == 1
    kept, contradictions = drop_contradictions(store)
    assert [entry.sample.where for entry in kept.stored] == ["row 7", "row 8"]
    assert [one.line for one in contradictions] == [
        "row 0: 0.mp4: contradiction: labelled 'x' here, 'y' at 2.mp4 (row 2)",
        "row 1: 1.mp4: contradiction: labelled 'x' here, 'y' at 2.mp4 (row 2)",
        "row 2: 2.mp4: contradiction: labelled 'y' here, 'x' at 0.mp4 (row 0)",
        "row 3: 3.mp4: contradiction: labelled 'z' here, 'x' at 0.mp4 (row 0)",
        "row 5: 5.mp4: contradiction: labelled 'x' here, 'y' at 6.mp4 (row 6)",
        "row 6: 6.mp4: contradiction: labelled 'y' here, 'x' at 5.mp4 (row 5)",
    ]
    # What is kept finds its own pictures, though those before it are no longer listed.
    for at, grey in enumerate((7, 8)):
        start = kept.stored[at].start
        assert (kept.pictures(at) == grey).all()
        assert (kept.all_pictures()[start] == grey).all()


def test_training_squeezes_as_serving_does(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (47, 90, 3)).astype(np.uint8)
    card = ModelCard("m", "nsfw", "tiny", input_px=32)
    served = prepare(Image.fromarray(picture[:, :, ::-1]), card)
    mean = np.asarray(card.mean).reshape(1, 3, 1, 1)
    std = np.asarray(card.std).reshape(1, 3, 1, 1)
    content = FileContent([picture], FileFacts(90, 47, 600), "digest")
    store, _ = store_frames(
        tmp_path, ITEMS[:1], lambda *_: content, px=32, frames=1, workers=1,
        on_progress=lambda done, total: None,
    )  # fmt: skip
    trained = (store.pictures(0).transpose(0, 3, 1, 2) / 255.0 - mean) / std
    np.testing.assert_allclose(trained, served, atol=1e-5)
