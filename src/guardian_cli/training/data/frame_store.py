"""The frames of every sample on disk: a few of a video, squeezed as an endpoint would see them.

    pictures.u8    px x px x 3 bytes a picture (RGB): every view of a frame, frame after frame
    index.jsonl    a line for each sample in order: how many frames, how many views each, the file's
                   digest and facts

A line is written after its pictures, so an interrupted reading goes on where it was.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import PlatformError
from guardian_cli.serving.images import boxes_of
from guardian_cli.training.data.dataset import LeftOut, find_contradictions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.training.data.dataset import Sample

    # Returns 1 to `count` frames spread over the sample's file; called from several threads.
    # Raises UnreadableError.
    Reader = Callable[[Sample, int], "FileContent"]

PICTURES_NAME = "pictures.u8"
INDEX_NAME = "index.jsonl"


class UnreadableError(Exception):
    """A file gives no picture; the message says why in one line."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What is known of a file without looking at a picture; None where it has no such thing."""

    width: int
    height: int
    size_bytes: int
    fps: float | None = None
    duration_s: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FileContent:
    """What reading one file gave: H x W x 3 uint8 BGR pictures in time order, and what it is."""

    pictures: Sequence[NDArray[np.uint8]]
    facts: FileFacts
    sha256: str


@dataclass(frozen=True, slots=True)
class StoredSample:
    """One sample that could be read: `start` is in pictures, `count` in frames of `views` each."""

    sample: Sample
    start: int
    count: int
    sha256: str
    facts: FileFacts
    views: int = 1

    @property
    def pictures(self) -> int:
        """How many pictures it has."""
        return self.count * self.views


@dataclass(frozen=True, slots=True)
class FrameStore:
    """The pictures of all readable samples."""

    folder: Path
    px: int
    stored: tuple[StoredSample, ...]

    @property
    def max_frames(self) -> int:
        """The most frames that a sample has; 1 where there are only images."""
        return max((one.count for one in self.stored), default=0)

    def all_pictures(self) -> NDArray[np.uint8]:
        """Map the file: (pictures, px, px, 3) uint8 RGB, read from disk as it is used."""
        import numpy as np

        path, size = self.folder / PICTURES_NAME, self.px * self.px * 3
        # Also those of samples that were taken out again: `start` counts from the file's start.
        shape = (path.stat().st_size // size, self.px, self.px, 3)
        return np.memmap(path, np.uint8, "r", shape=shape)

    def pictures(self, at: int) -> NDArray[np.uint8]:
        """Return the pictures of one sample: (count * views, px, px, 3) uint8 RGB."""
        one = self.stored[at]
        return self.all_pictures()[one.start : one.start + one.pictures]


def store_frames(
    folder: Path,
    samples: Sequence[Sample],
    read: Reader,
    *,
    px: int,
    frames: int,
    views: str = "squash",
    workers: int,
    on_progress: Callable[[int, int], None],
) -> tuple[FrameStore, list[LeftOut]]:
    """Read what is not read yet; say which samples give no picture.

    `views` is a model card's; `on_progress` gets (done, all). Raises PlatformError where the
    pictures cannot be written.
    """
    import cv2
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    lines = _restore(folder, px)

    def read_one(sample: Sample) -> tuple[list[bytes], dict[str, Any]]:
        try:
            found = read(sample, frames)
        except UnreadableError as error:
            return [], {"error": str(error)}
        size = found.pictures[0].shape
        boxes = boxes_of(size[1], size[0], views)
        squeezed: list[bytes] = []
        for picture in found.pictures:
            # A video may change its size on the way: all frames have as many views as the first.
            same = picture if picture.shape == size else cv2.resize(picture, (size[1], size[0]))
            image = Image.fromarray(np.ascontiguousarray(same[:, :, ::-1]))
            # As an endpoint does it: bicubic, by Pillow.
            small = [image.resize((px, px), Image.Resampling.BICUBIC, box=box) for box in boxes]
            squeezed += [one.tobytes() for one in small]
        facts = dataclasses.asdict(found.facts)
        counts = {"count": len(found.pictures), "views": len(boxes)}
        return squeezed, {**counts, "sha256": found.sha256, "facts": facts}

    try:
        with (
            (folder / PICTURES_NAME).open("ab") as pictures,
            (folder / INDEX_NAME).open("a", encoding="utf-8") as index,
            ThreadPoolExecutor(workers) as pool,
        ):
            # A batch at a time bounds what is in memory, whatever the number of files.
            for start in range(len(lines), len(samples), 4 * workers):
                for squeezed, line in pool.map(read_one, samples[start : start + 4 * workers]):
                    # The pictures first: a line in the index says that they are whole.
                    pictures.writelines(squeezed)
                    pictures.flush()
                    index.write(json.dumps(line) + "\n")
                    index.flush()
                    lines.append(line)
                    on_progress(len(lines), len(samples))
    except OSError as error:
        raise PlatformError(f"{folder}: pictures cannot be kept: {error.strerror}") from error
    stored: list[StoredSample] = []
    left_out: list[LeftOut] = []
    first = 0
    for sample, line in zip(samples, lines, strict=True):
        if "error" in line:
            left_out.append(LeftOut(sample.where, str(sample.path), line["error"]))
            continue
        facts = FileFacts(**line["facts"])
        one = StoredSample(
            sample, first, line["count"], line["sha256"], facts, line.get("views", 1)
        )
        stored.append(one)
        first += one.pictures
    return FrameStore(folder, px, tuple(stored)), left_out


def _restore(folder: Path, px: int) -> list[dict[str, Any]]:
    """Cut both files back to the last whole sample, and return the lines of the index."""
    index, pictures = folder / INDEX_NAME, folder / PICTURES_NAME
    if not index.exists():
        pictures.unlink(missing_ok=True)
        return []
    text = index.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    lines = [json.loads(line) for line in whole.splitlines()]
    with index.open("r+b") as file:
        file.truncate(len(whole))
    with pictures.open("r+b") as file:
        pictures_there = sum(line.get("count", 0) * line.get("views", 1) for line in lines)
        file.truncate(pictures_there * px * px * 3)
    return lines


def drop_contradictions(store: FrameStore) -> tuple[FrameStore, list[LeftOut]]:
    """Leave out what stands under two labels: files of the same bytes, or of the same pictures."""
    samples = [one.sample for one in store.stored]
    pictures = [hashlib.sha256(store.pictures(at).tobytes()).digest() for at in range(len(samples))]
    found = find_contradictions(samples, pictures)
    # Where both hold, the equal bytes say more, so they have the last word.
    found |= find_contradictions(samples, [one.sha256 for one in store.stored])
    kept = tuple(one for at, one in enumerate(store.stored) if at not in found)
    return dataclasses.replace(store, stored=kept), [found[at] for at in sorted(found)]
