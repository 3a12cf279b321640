"""The history of changes, kept in an endpoint's tags. Pure.

Azure allows 50 tags of 256 characters on an endpoint, so a tag holds as many whole changes as fit
into it, newest first.
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
MIN_CHANGES = 20
MAX_CHANGES = 60
# Tags of guardian's that are no history: model, roles, pending.
_OTHER_TAGS = 3
_MAX_WHO_CHARS = 48
# How long `why` may be: the shorter limits are tried where fewer than 20 changes would fit.
_WHY_LIMITS = (MAX_TAG_CHARS, 80, 24, 0)


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the versions that get traffic; `when` is UTC as in 2026-11-23T09:00:00Z.

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
    """Return the patch of an endpoint's tags that adds a change; the oldest changes make room.

    At least the 20 newest stay: where foreign tags leave little room, `why` is cut first.
    Raises PlatformError when they leave none at all.
    """
    changes = [replace(change, who=_cut(change.who, _MAX_WHO_CHARS)), *read_history(tags)]
    foreign = sum(not name.startswith("guardian.") for name in tags)
    room = MAX_TAGS - _OTHER_TAGS - foreign
    if room < 1:
        raise PlatformError(
            f"the endpoint has {foreign} tags that guardian did not make: no room is left for "
            "roles and history",
            hint=f"remove some: an endpoint can have {MAX_TAGS} tags",
        )
    values: list[str] = []
    for limit in _WHY_LIMITS:
        values = _pack([_to_line(one, limit) for one in changes[:MAX_CHANGES]])[:room]
        if sum(len(_parse(value)) for value in values) >= min(len(changes), MIN_CHANGES):
            break
    old = {name: None for name in tags if name.startswith(HISTORY_PREFIX)}
    return {**old, **{f"{HISTORY_PREFIX}{n:02d}": value for n, value in enumerate(values)}}


def count_chars(text: str) -> int:
    """Count characters as Azure does: UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _pack(lines: Sequence[str]) -> list[str]:
    """Join JSON arrays into as few tag values as they fit into, keeping their order."""
    tags: list[str] = []
    for line in lines:
        joined = f"{tags[-1][:-1]},{line}]" if tags else ""
        if joined and count_chars(joined) <= MAX_TAG_CHARS:
            tags[-1] = joined
        else:
            tags.append(f"[{line}]")
    return tags


def _to_line(change: Change, why_limit: int) -> str:
    """Write a change as a JSON array that fits into a tag, cutting `why` as far as needed."""
    why = _cut(change.why or "", why_limit)
    while True:
        values = astuple(replace(change, why=why or None))
        line = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
        over = count_chars(line) + 2 - MAX_TAG_CHARS
        if over <= 0 or not why:
            return line
        # A character may take two units or a JSON escape, so cut by half and measure again.
        why = _cut(why, max(0, len(why) - max(1, over // 2)))


def _parse(text: str) -> list[Change]:
    try:
        return [
            Change(str(when), str(who), str(action), source, target, why)
            for when, who, action, source, target, why in json.loads(text)
        ]
    # People edit tags, and a tag that was cut is no JSON.
    except (ValueError, TypeError):
        return []


def _cut(text: str, limit: int) -> str:
    """Cut a text to at most `limit` characters, with an ellipsis where something is missing."""
    if len(text) <= limit:
        return text
    return text[: limit - 1] + "…" if limit > 1 else ""
