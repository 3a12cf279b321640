"""Pictures of every item on disk: a few frames of a video, squeezed as an endpoint would see them.

    pictures.u8    px x px x 3 bytes a picture (RGB), one after the other
    index.jsonl    a line for each item in order: how many pictures, the file's digest and facts

A line is written after its pictures, so an interrupted reading goes on where it was.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from guardian_cli.errors import PlatformError
from guardian_cli.training.data.listing import LeftOut, find_contradictions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO, TextIO

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.training.data.listing import Item

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
class Reading:
    """What reading one file gave: H x W x 3 uint8 BGR pictures in time order, and what it is."""

    pictures: Sequence[NDArray[np.uint8]]
    facts: FileFacts
    sha256: str


class Reader(Protocol):
    """Reads an item; called from several threads."""

    def __call__(self, item: Item, count: int) -> Reading:
        """Return 1 to `count` pictures spread over the file. Raises UnreadableError."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One item that could be read: `start` and `count` are in pictures."""

    item: Item
    start: int
    count: int
    sha256: str
    facts: FileFacts


@dataclass(frozen=True, slots=True)
class Gallery:
    """The pictures of all readable items."""

    folder: Path
    px: int
    entries: tuple[Entry, ...]

    @property
    def most_frames(self) -> int:
        """The most pictures that an item has; 1 where there are only images."""
        return max((entry.count for entry in self.entries), default=0)

    def all_pictures(self) -> NDArray[np.uint8]:
        """Map the file: (pictures, px, px, 3) uint8 RGB, read from disk as it is used."""
        import numpy as np

        path, size = self.folder / PICTURES_NAME, self.px * self.px * 3
        # Also those of entries that were taken out again: `start` counts from the file's start.
        shape = (path.stat().st_size // size, self.px, self.px, 3)
        return np.memmap(path, np.uint8, "r", shape=shape)

    def pictures(self, at: int) -> NDArray[np.uint8]:
        """The pictures of one item: (count, px, px, 3) uint8 RGB."""
        import numpy as np

        entry = self.entries[at]
        size = self.px * self.px * 3
        return np.fromfile(
            self.folder / PICTURES_NAME,
            np.uint8,
            entry.count * size,
            offset=entry.start * size,
        ).reshape(entry.count, self.px, self.px, 3)


def drop_contradictions(gallery: Gallery) -> tuple[Gallery, list[LeftOut]]:
    """Leave out what stands under two labels: files of the same bytes, or of the same pictures."""
    items = [entry.item for entry in gallery.entries]
    pictures = [hashlib.sha256(gallery.pictures(at).tobytes()).digest() for at in range(len(items))]
    found = find_contradictions(items, pictures)
    found |= find_contradictions(items, [entry.sha256 for entry in gallery.entries])
    kept = tuple(entry for at, entry in enumerate(gallery.entries) if at not in found)
    return dataclasses.replace(gallery, entries=kept), [found[at] for at in sorted(found)]


def squeeze(picture: NDArray[np.uint8], px: int) -> NDArray[np.uint8]:
    """Squeeze a whole H x W x 3 BGR picture into px x px RGB, as `serving.images` does."""
    import numpy as np
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(picture[:, :, ::-1]))
    return np.asarray(image.resize((px, px), Image.Resampling.BICUBIC), dtype=np.uint8)


def build_gallery(
    folder: Path,
    items: Sequence[Item],
    read: Reader,
    *,
    px: int,
    frames: int,
    workers: int,
    tell: Callable[[int, int], None],
) -> tuple[Gallery, list[LeftOut]]:
    """Read what is not read yet; say which items give no picture. `tell` gets (done, all)."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = _restore(folder, px)
    try:
        with (
            (folder / PICTURES_NAME).open("ab") as pictures,
            (folder / INDEX_NAME).open("a", encoding="utf-8") as index,
        ):
            for line in _read_rest(items, len(lines), read, px, frames, workers, pictures):
                _append(index, line)
                lines.append(line)
                tell(len(lines), len(items))
    except OSError as error:
        raise PlatformError(f"{folder}: pictures cannot be kept: {error.strerror}") from error
    return _arrange(folder, px, items, lines)


def _read_rest(
    items: Sequence[Item],
    done: int,
    read: Reader,
    px: int,
    frames: int,
    workers: int,
    pictures: BinaryIO,
) -> Iterator[dict[str, Any]]:
    def one(item: Item) -> tuple[list[NDArray[np.uint8]], dict[str, Any]]:
        try:
            found = read(item, frames)
        except UnreadableError as error:
            return [], {"error": str(error)}
        squeezed = [squeeze(picture, px) for picture in found.pictures]
        facts = dataclasses.asdict(found.facts)
        return squeezed, {"count": len(squeezed), "sha256": found.sha256, "facts": facts}

    rest = iter(items[done:])
    with ThreadPoolExecutor(workers) as pool:
        # A batch at a time bounds what is in memory, whatever the number of files.
        while batch := list(islice(rest, 4 * workers)):
            for squeezed, line in pool.map(one, batch):
                pictures.writelines(picture.tobytes() for picture in squeezed)
                pictures.flush()
                yield line


def _append(index: TextIO, line: dict[str, Any]) -> None:
    index.write(json.dumps(line) + "\n")
    index.flush()


def _restore(folder: Path, px: int) -> list[dict[str, Any]]:
    """Cut both files back to the last whole item."""
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
        file.truncate(sum(line.get("count", 0) for line in lines) * px * px * 3)
    return lines


def _arrange(
    folder: Path, px: int, items: Sequence[Item], lines: Sequence[dict[str, Any]]
) -> tuple[Gallery, list[LeftOut]]:
    entries: list[Entry] = []
    left_out: list[LeftOut] = []
    start = 0
    for item, line in zip(items, lines, strict=True):
        if "error" in line:
            left_out.append(LeftOut(item.where, str(item.path), line["error"]))
            continue
        facts = FileFacts(**line["facts"])
        entries.append(Entry(item, start, line["count"], line["sha256"], facts))
        start += line["count"]
    return Gallery(folder, px, tuple(entries)), left_out
