"""Which files belong together: named groups, and files that look the same."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardian_cli.training.data.duplicates import (
    IMAGE_DISTANCES,
    VIDEO_DISTANCES,
    find_links,
    hash_pictures,
    link_by_content,
)
from guardian_cli.training.data.splits import can_split, join_groups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardian_cli.training.data.duplicates import Link
    from guardian_cli.training.data.frames import Gallery

_LARGEST_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Grouping:
    """A group number for each item, and what the near-duplicates are.

    `distance` is the share of differing bits up to which pictures count as near-duplicates.
    `pairs` counts linked pairs of items, `conflicts` those whose two labels differ.
    """

    groups: tuple[int, ...]
    distance: float
    pairs: int
    conflicts: int

    @property
    def count(self) -> int:
        """How many groups there are."""
        return len(set(self.groups))


def group_items(
    gallery: Gallery, names: Sequence[str | None], positive: Sequence[bool], *, seed: int
) -> Grouping:
    """Group by name and by look.

    Pictures that look the same are kept together at the widest distance that leaves groups to
    split and chains no quarter of the data together; files with the same bytes always are.
    """
    links = _find_all_links(gallery)
    same = link_by_content([entry.sha256 for entry in gallery.entries])
    ladder = VIDEO_DISTANCES if gallery.most_frames > 1 else IMAGE_DISTANCES
    for distance in ladder:
        near = [*same, *(link for link in links if link.distance <= distance)]
        groups = join_groups(names, [(link.one, link.other) for link in near])
        if distance == ladder[-1] or _useful(groups, names, positive, seed):
            break
    else:  # pragma: no cover - the ladder's last step always ends the loop
        raise AssertionError
    pairs = {(link.one, link.other) for link in near}
    conflicts = sum(positive[one] != positive[other] for one, other in pairs)
    return Grouping(tuple(groups), distance, len(pairs), conflicts)


def _find_all_links(gallery: Gallery) -> list[Link]:
    import numpy as np

    bits, telling, owners = [], [], []
    for at, entry in enumerate(gallery.entries):
        hashed, says_much = hash_pictures(gallery.pictures(at))
        bits.append(hashed)
        telling.append(says_much)
        owners.append(np.full(entry.count, at, np.int64))
    keep = np.concatenate(telling)
    widest = VIDEO_DISTANCES[0] if gallery.most_frames > 1 else IMAGE_DISTANCES[0]
    return find_links(np.concatenate(bits)[keep], np.concatenate(owners)[keep], widest)


def _useful(
    groups: Sequence[int], names: Sequence[str | None], positive: Sequence[bool], seed: int
) -> bool:
    """Whether the groups can be split, and looks alone did not chain much of the data together."""
    unnamed = [group for group, name in zip(groups, names, strict=True) if name is None]
    largest = max(Counter(unnamed).values(), default=0)
    chained = largest > max(_LARGEST_SHARE * len(groups), 2)
    return not chained and can_split(groups, positive, seed)
