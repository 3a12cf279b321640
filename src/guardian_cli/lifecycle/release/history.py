"""The history of changes, kept in an endpoint's tags: 50 tags of 256 characters is all there is.

A tag holds as many whole changes as fit, newest first, so that 20 of them need few tags. Pure.
"""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING

from guardian_cli.errors import PlatformError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HISTORY_PREFIX = "guardian.history."
MAX_TAGS = 50
MAX_TAG_CHARS = 256
KEEP_AT_LEAST = 20
KEEP_AT_MOST = 60
# Room for `why` that is tried in turn when the tags get tight, in characters.
_WHY_CHARS = (MAX_TAG_CHARS, 80, 24, 0)
_WHO_CHARS = 48
# guardian's own tags beside the history: model, roles, pending.
_OTHER_TAGS = 3


@dataclass(frozen=True, slots=True)
class Change:
    """One change of who gets the traffic; `when` is UTC as in 2026-11-23T09:00:00Z.

    `action` is deploy, promote or rollback; `source` and `target` are versions.
    """

    when: str
    who: str
    action: str
    source: str | None
    target: str | None
    why: str | None = None


def read_history(tags: Mapping[str, str]) -> list[Change]:
    """Read the changes, newest first; a tag that makes no sense is passed over."""
    names = sorted(name for name in tags if name.startswith(HISTORY_PREFIX))
    return [change for name in names for change in _parse(tags[name])]


def add_change(tags: Mapping[str, str], change: Change) -> dict[str, str | None]:
    """Return the patch of an endpoint's tags that adds a change; the oldest make room.

    At least the 20 newest stay: where foreign tags leave little room, `why` is cut first.
    Raises PlatformError when they leave none at all.
    """
    changes = [replace(change, who=_cut(change.who, _WHO_CHARS)), *read_history(tags)]
    room = MAX_TAGS - _OTHER_TAGS - sum(not _is_own(name) for name in tags)
    if room < 1:
        raise PlatformError(
            f"the endpoint has {MAX_TAGS - room - _OTHER_TAGS} tags that guardian did not make: "
            "no room is left for roles and history",
            hint=f"remove some: an endpoint can have {MAX_TAGS} tags",
        )
    values = _fit(changes, room)
    old = {name: None for name in tags if name.startswith(HISTORY_PREFIX)}
    return {**old, **{f"{HISTORY_PREFIX}{n:02d}": value for n, value in enumerate(values)}}


def _is_own(name: str) -> bool:
    return name.startswith("guardian.")


def _fit(changes: Sequence[Change], room: int) -> list[str]:
    packed: list[str] = []
    for why_chars in _WHY_CHARS:
        packed = _pack([_shorten(change, why_chars) for change in changes[:KEEP_AT_MOST]])
        kept = sum(len(_parse(value)) for value in packed[:room])
        if kept >= min(len(changes), KEEP_AT_LEAST):
            break
    return packed[:room]


def _pack(lines: Sequence[str]) -> list[str]:
    tags: list[str] = []
    for line in lines:
        joined = f"{tags[-1][:-1]},{line}]" if tags else ""
        if joined and chars(joined) <= MAX_TAG_CHARS:
            tags[-1] = joined
        else:
            tags.append(f"[{line}]")
    return tags


def _shorten(change: Change, why_chars: int) -> str:
    """Write a change as a line that fits into a tag, with at most so much of its `why`."""
    why = _cut(change.why, why_chars) if change.why else None
    while True:
        line = json.dumps(
            astuple(replace(change, why=why or None)), ensure_ascii=False, separators=(",", ":")
        )
        over = chars(line) + 2 - MAX_TAG_CHARS
        if over <= 0 or not why:
            return line
        why = _cut(why, max(0, len(why) - max(1, over // 2)))


def _parse(text: str) -> list[Change]:
    try:
        return [
            Change(str(when), str(who), str(action), source, target, why)
            for when, who, action, source, target, why in json.loads(text)
        ]
    except (ValueError, TypeError):
        return []


def _cut(text: str, limit: int) -> str:
    """Cut a text to at most `limit` characters, with an ellipsis where something is missing."""
    if len(text) <= limit:
        return text
    return text[: limit - 1] + "…" if limit > 1 else ""


def chars(text: str) -> int:
    """Count characters as Azure does: UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
