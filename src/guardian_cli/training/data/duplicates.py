"""Near-duplicates by a perceptual hash: the difference hash (dHash), 16 x 16 bits.

A bit says whether a grey, shrunken picture gets brighter from one cell to the next on the right
(Krawetz, "Kind of Like That", 2013). Clips cut from one camera differ in few bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

SIDE = 16
BITS = SIDE * SIDE
# Share of bits that may differ, the widest first: narrower ones count where wider ones chain
# most of the data into one group. Scenes of a film share a camera; pictures share less.
VIDEO_DISTANCES = (0.20, 0.12, 0.06, 0.0)
IMAGE_DISTANCES = (0.10, 0.06, 0.02, 0.0)
_BLOCK = 4096
# Grey levels: a picture with less contrast has a hash of noise, and says nothing about its source.
_LEAST_CONTRAST = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """Two items that look the same, by their positions, and the share of bits that differ."""

    one: int
    other: int
    distance: float


def hash_pictures(pictures: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Hash square pictures, (N, px, px, 3) uint8 RGB: bits (N, 32) uint8, and which say much."""
    import cv2
    import numpy as np

    bits = np.empty((len(pictures), BITS // 8), np.uint8)
    telling = np.empty(len(pictures), np.bool_)
    for at, picture in enumerate(pictures):
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(grey, (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA).astype(np.int16)
        bits[at] = np.packbits(small[:, 1:] > small[:, :-1])
        telling[at] = float(small.std()) >= _LEAST_CONTRAST
    return bits, telling


def find_links(bits: NDArray[np.uint8], owners: NDArray[np.int64], distance: float) -> list[Link]:
    """Link items of which two pictures differ in at most `distance` of their bits, 0..1.

    `bits` is (N, 32) uint8, one row a picture, `owners` (N,) says whose picture it is. Compares all
    pairs, in blocks that bound the memory; each pair of items is linked once, at its closest.
    """
    import numpy as np

    closest: dict[tuple[int, int], float] = {}
    for first, second, apart in _close_pairs(bits, round(distance * BITS)):
        ends = owners[first], owners[second]
        low, high = np.minimum(*ends), np.maximum(*ends)
        for one, other, count in zip(low.tolist(), high.tolist(), apart.tolist(), strict=True):
            if one != other:
                known = closest.get((one, other), 1.0)
                closest[one, other] = min(known, count / BITS)
    return [Link(one, other, apart) for (one, other), apart in sorted(closest.items())]


def _close_pairs(
    bits: NDArray[np.uint8], most: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Yield positions of pairs and the bits in which they differ: bits as +1/-1, so BLAS counts."""
    import numpy as np

    def signs(start: int) -> NDArray[np.float32]:
        block = np.unpackbits(bits[start : start + _BLOCK], axis=1).astype(np.float32)
        return 2 * block - 1

    for top in range(0, len(bits), _BLOCK):
        upper = signs(top)
        for left in range(top, len(bits), _BLOCK):
            apart = (BITS - upper @ signs(left).T) / 2
            first, second = np.nonzero(apart <= most + 0.5)
            later = second + left > first + top
            found = apart[first, second].round().astype(np.int64)
            yield first[later] + top, second[later] + left, found[later]


def link_by_content(digests: Sequence[str]) -> list[Link]:
    """Link files whose bytes are the same."""
    first: dict[str, int] = {}
    links = [Link(first.setdefault(digest, at), at, 0.0) for at, digest in enumerate(digests)]
    return [link for link in links if link.one != link.other]
