"""Which samples belong together: those of one named group, and those that look the same.

Near-duplicates are found by a perceptual hash, the difference hash (dHash) of 16 x 16 bits: a bit
says whether a grey, shrunken picture gets brighter from one cell to the next on the right
(Krawetz, "Kind of Like That", 2013). Clips cut from one camera differ in few bits.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardian_cli.training.data.splits import MIN_PARTS, assign_parts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.training.data.frame_store import FrameStore

SIDE = 16
BITS = SIDE * SIDE
# Share of bits that may differ, the widest first: narrower ones count where wider ones chain
# most of the data into one group. Scenes of a film share a camera; pictures share less.
VIDEO_DISTANCES = (0.20, 0.12, 0.06, 0.0)
IMAGE_DISTANCES = (0.10, 0.06, 0.02, 0.0)
# No more of the data than this may be one group only because it looks alike.
_MAX_CHAINED_SHARE = 0.25
_BLOCK = 4096
# Grey levels: a picture with less contrast has a hash of noise, and says nothing about its source.
_MIN_CONTRAST = 4.0


@dataclass(frozen=True, slots=True)
class Grouping:
    """A group number for each sample, and what the near-duplicates are.

    `distance` is the share of differing bits up to which pictures count as near-duplicates.
    `pairs` counts linked pairs of samples, `conflicts` those whose two labels differ.
    """

    groups: tuple[int, ...]
    distance: float
    pairs: int
    conflicts: int

    @property
    def count(self) -> int:
        """How many groups there are."""
        return len(set(self.groups))


def group_samples(
    store: FrameStore, names: Sequence[str | None], positive: Sequence[bool], *, seed: int
) -> Grouping:
    """Group by name and by look.

    Pictures that look the same are kept together at the widest distance that leaves groups to
    split and chains no quarter of the data together; files with the same bytes always are.
    """
    import numpy as np

    distances = VIDEO_DISTANCES if store.max_frames > 1 else IMAGE_DISTANCES
    hashes = [hash_pictures(store.pictures(at)) for at in range(len(store.stored))]
    informative = np.concatenate([one for _, one in hashes])
    owners = np.repeat(np.arange(len(hashes)), [one.pictures for one in store.stored])
    bits = np.concatenate([one for one, _ in hashes])
    links = find_near_duplicates(bits[informative], owners[informative], distances[0])
    first: dict[str, int] = {}
    for at, one in enumerate(store.stored):
        same = first.setdefault(one.sha256, at)
        if same != at:
            links[same, at] = 0.0
    # The last distance is 0, where only equal hashes are linked: that one is taken in any case.
    for distance in distances:
        pairs = [pair for pair, apart in links.items() if apart <= distance]
        groups = join_groups(names, pairs)
        # Groups that the data's owner has named may be as large as they are.
        unnamed = Counter(group for group, name in zip(groups, names, strict=True) if name is None)
        largest = max(unnamed.values(), default=0)
        chained = largest > max(_MAX_CHAINED_SHARE * len(groups), 2)
        if not chained and assign_parts(groups, positive, MIN_PARTS, seed) is not None:
            break
    conflicts = sum(positive[one] != positive[other] for one, other in pairs)
    return Grouping(tuple(groups), distance, len(pairs), conflicts)


def hash_pictures(pictures: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Hash square pictures, (N, px, px, 3) uint8 RGB: bits (N, 32) uint8, and which say much."""
    import cv2
    import numpy as np

    bits = np.empty((len(pictures), BITS // 8), np.uint8)
    informative = np.empty(len(pictures), np.bool_)
    for at, picture in enumerate(pictures):
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(grey, (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA).astype(np.int16)
        bits[at] = np.packbits(small[:, 1:] > small[:, :-1])
        informative[at] = float(small.std()) >= _MIN_CONTRAST
    return bits, informative


def find_near_duplicates(
    bits: NDArray[np.uint8], owners: NDArray[np.int64], distance: float
) -> dict[tuple[int, int], float]:
    """Find pairs of samples of which two pictures differ in at most `distance` of their bits.

    `bits` is (N, 32) uint8, one row a picture, `owners` (N,) says whose picture it is. Compares all
    pairs of pictures. Returns for each pair, the lower one first, the smallest share of bits that
    differ, in 0..1.
    """
    import numpy as np

    closest: dict[tuple[int, int], float] = {}
    for first, second, apart in _close_pictures(bits, round(distance * BITS)):
        ends = owners[first], owners[second]
        low, high = np.minimum(*ends), np.maximum(*ends)
        for one, other, count in zip(low.tolist(), high.tolist(), apart.tolist(), strict=True):
            if one != other:
                closest[one, other] = min(closest.get((one, other), 1.0), count / BITS)
    return closest


def _close_pictures(
    bits: NDArray[np.uint8], max_bits: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Yield positions of pairs of pictures, and in how many bits they differ."""
    import numpy as np

    def signs(start: int) -> NDArray[np.float32]:
        block = np.unpackbits(bits[start : start + _BLOCK], axis=1).astype(np.float32)
        return 2 * block - 1

    # With bits as +1 and -1 a product of matrices counts those that are equal, as fast as BLAS is;
    # blocks bound the memory.
    for top in range(0, len(bits), _BLOCK):
        upper = signs(top)
        for left in range(top, len(bits), _BLOCK):
            apart = (BITS - upper @ signs(left).T) / 2
            first, second = np.nonzero(apart <= max_bits + 0.5)
            # Each pair once, and no picture with itself.
            later = second + left > first + top
            found = apart[first, second].round().astype(np.int64)
            yield first[later] + top, second[later] + left, found[later]


def join_groups(names: Sequence[str | None], links: Iterable[tuple[int, int]]) -> list[int]:
    """Number the groups: samples of one name are together, and linked ones, transitively."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first: dict[str, int] = {}
    named = [(first.setdefault(name, at), at) for at, name in enumerate(names) if name is not None]
    ends = np.array([*named, *links], dtype=np.int64).reshape(-1, 2).T
    shape = (len(names), len(names))
    graph = coo_array((np.ones(ends.shape[1], dtype=bool), (ends[0], ends[1])), shape=shape)
    numbers: list[int] = connected_components(graph, directed=False)[1].tolist()
    return numbers
