"""`scan --shard I/N`: a fixed part of the sources, the same on every machine that names them."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from guardian_cli.media.sources import Source


MAX_SHARDS = 999_999


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `index` (from 1) of `count` parts of a batch."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read I/N; UsageError for anything else."""
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
        index, count = map(int, found.groups()) if found else (0, 0)
        if not 1 <= index <= count:
            raise UsageError(
                f"--shard {text}: not I/N with I from 1 to N, and N up to {MAX_SHARDS}",
                hint="guardian scan … --shard 1/4",
            )
        return cls(index, count)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def take(
        self, sources: Sequence[Source]
    ) -> tuple[list[Source], dict[str, Any], dict[str, str]]:
        """Return the sources of this part, and the `shard` of each of their results.

        Last come the names below the folder that was named, by `shown`, of those that have one
        which no other source of the batch has: results of another mount are told by them.

        A source's part depends on its name and on nothing else, least of all on the other sources:
        the name below the folder that was named, so that the folder may be mounted anywhere.
        `sources_digest` tells whether two machines saw the same sources.
        """
        names = [_name_bytes(source) for source in sources]
        taken = [
            (source, name)
            for source, name in zip(sources, names, strict=True)
            # A digest spreads even names that differ in a number only.
            if int.from_bytes(hashlib.sha256(name).digest()[:8]) % self.count == self.index - 1
        ]
        often = Counter(name for _, name in taken)
        below = {
            source.shown: name.decode("utf-8", "backslashreplace")
            for source, name in taken
            if source.root and often[name] == 1
        }
        shard = {
            "index": self.index,
            "count": self.count,
            "sources": len(taken),
            "all_sources": len(sources),
            "sources_digest": _digest(names),
        }
        return [source for source, _ in taken], shard, below


def digest_of_names(names: Iterable[str]) -> str:
    """Return the `sources_digest` of a batch whose sources have these names, as results tell them.

    It is another where a name has bytes that are shown as other text.
    """
    return _digest(unicodedata.normalize("NFC", name).encode("utf-8", "replace") for name in names)


def _digest(names: Iterable[bytes]) -> str:
    # No name holds a zero byte, so no two lists of names give the same bytes.
    whole = b"\0".join(sorted(names))
    return f"sha256:{hashlib.sha256(whole).hexdigest()}"


def _name_bytes(source: Source) -> bytes:
    # Another file system may spell the same letters otherwise: e and an accent, or both in one.
    name = unicodedata.normalize("NFC", source.name)
    return name.encode("utf-8", "surrogateescape")
