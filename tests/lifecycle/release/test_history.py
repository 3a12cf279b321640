from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.release.history import Change, add_change, count_chars, read_history

if TYPE_CHECKING:
    from collections.abc import Mapping


def change(number: int, why: str | None = None, who: str = "ann@laptop") -> Change:
    when = f"2026-11-23T09:{number // 60:02d}:{number % 60:02d}Z"
    return Change(when, who, "promote", str(number), str(number + 1), why)


def patched(tags: Mapping[str, str], patch: Mapping[str, str | None]) -> dict[str, str]:
    return {key: value for key, value in {**tags, **patch}.items() if value is not None}


def test_changes_come_back_newest_first() -> None:
    tags: dict[str, str] = {"mine": "stays"}
    for number in range(3):
        tags = patched(tags, add_change(tags, change(number, "because")))
    assert read_history(tags) == [change(n, "because") for n in (2, 1, 0)]
    assert tags["mine"] == "stays"


@settings(max_examples=15, deadline=None)
@given(
    whys=st.lists(st.none() | st.text(max_size=400), min_size=1, max_size=45),
    foreign=st.integers(0, 30),
    who=st.text(max_size=100),
)
def test_the_newest_twenty_fit_into_azures_limits(
    whys: list[str | None], foreign: int, who: str
) -> None:
    tags = {f"team{n}": "x" for n in range(foreign)}
    for number, why in enumerate(whys):
        tags = patched(tags, add_change(tags, change(number, why, who)))
        # Beside the history there are three tags: model, roles, pending.
        assert len(tags) + 3 <= 50
        assert all(count_chars(value) <= 256 for value in tags.values())
    kept = read_history(tags)
    assert len(kept) >= min(20, len(whys))
    assert [one.source for one in kept] == [str(len(whys) - 1 - n) for n in range(len(kept))]
    assert {f"team{n}" for n in range(foreign)} <= set(tags)


def test_a_long_why_is_cut_and_the_rest_of_the_change_stays() -> None:
    tags = patched({}, add_change({}, change(1, "€" * 900)))
    [found] = read_history(tags)
    assert found.why is not None
    assert found.why.endswith("€…")
    assert found.target == "2"


def test_no_room_at_all_is_said() -> None:
    tags = {f"team{n}": "x" for n in range(48)}
    with pytest.raises(PlatformError, match="48 tags"):
        add_change(tags, change(1))


def test_a_damaged_tag_is_passed_over() -> None:
    tags = patched({}, add_change({}, change(1)))
    tags |= {"guardian.history.90": "{", "guardian.history.91": '[["too short"]]'}
    assert read_history(tags) == [change(1)]
