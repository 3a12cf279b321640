"""`--shard I/N`: which part a source is in, and that nothing else decides."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.errors import UsageError
from guardian_cli.media.sources import Source, expand_sources
from guardian_cli.scanning.shards import Shard

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAMES = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))


def sources(names: Sequence[str]) -> list[Source]:
    return [Source("file", name, name) for name in names]


def parts(found: Sequence[Source], count: int) -> list[list[str]]:
    taken = [Shard(index, count).take(found)[0] for index in range(1, count + 1)]
    return [[source.name for source in part] for part in taken]


@given(NAMES, st.integers(1, 9))
def test_every_source_is_in_exactly_one_part(names: list[str], count: int) -> None:
    found = sources(names)
    flat = [name for part in parts(found, count) for name in part]
    assert sorted(flat) == sorted(source.name for source in found)


@given(NAMES, NAMES, st.integers(1, 9))
def test_neither_order_nor_other_sources_decide(
    names: list[str], others: list[str], count: int
) -> None:
    few = parts(sources(names), count)
    many = parts(sources([*others, *reversed(names)]), count)
    for part, larger in zip(few, many, strict=True):
        assert set(part) <= set(larger)


def test_parts_are_about_equal() -> None:
    sizes = [len(part) for part in parts(sources([f"{n}.mp4" for n in range(4000)]), 4)]
    assert all(900 < size < 1100 for size in sizes)


def test_a_folder_may_be_mounted_anywhere(tmp_path: Path) -> None:
    """The same parts for a folder, a link to it, and a pattern below it."""
    folder = tmp_path / "here" / "uploads"
    (folder / "may").mkdir(parents=True)
    for number in range(20):
        (folder / "may" / f"{number}.mp4").touch()
    (tmp_path / "there").symlink_to(folder)
    named = [folder, f"{folder}/", tmp_path / "there", f"{folder}/*", f"{folder}/*/*.mp4"]
    listed = [expand_sources([str(name)]) for name in named]
    assert {tuple(source.name for source in found) for found in listed} == {
        tuple(sorted(f"may/{number}.mp4" for number in range(20)))
    }
    shards = [Shard(2, 3).take(found)[1] for found in listed]
    assert all(shard == shards[0] for shard in shards)


def test_names_that_two_machines_share_are_those_that_tell_a_source_from_the_others(
    tmp_path: Path,
) -> None:
    for name in ("a/x.mp4", "a/y.mp4", "b/y.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = expand_sources([str(tmp_path / "a"), str(tmp_path / "b")])
    assert Shard(1, 1).take(found)[2] == {str(tmp_path / "a" / "x.mp4"): "x.mp4"}
    assert Shard(1, 1).take(expand_sources(["x.mp4"]))[2] == {}


def test_what_is_named_itself_goes_by_its_name(tmp_path: Path) -> None:
    names = ["./a.mp4", "b//c.mp4", "https://host//x?id=1", "rtsp://host/x"]
    found = expand_sources(names)
    assert [source.name for source in found] == [
        "a.mp4", "b/c.mp4", "https://host//x?id=1", "rtsp://host/x",
    ]  # fmt: skip


def test_accents_are_the_same_however_a_file_system_spells_them() -> None:
    names = [f"é{number}.mp4" for number in range(20)]
    spelled = [unicodedata.normalize("NFD", name) for name in names]
    composed, apart = Shard(1, 3).take(sources(names)), Shard(1, 3).take(sources(spelled))
    assert composed[1] == apart[1]
    assert len(composed[0]) == len(apart[0]) > 0


def test_other_sources_have_another_digest() -> None:
    one, more = Shard(1, 2).take(sources("ab"))[1], Shard(1, 2).take(sources("abc"))[1]
    assert one["all_sources"] == 2
    assert one["sources_digest"] != more["sources_digest"]
    assert one == Shard(1, 2).take(sources("ba"))[1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "0/3",
        "4/3",
        "1/0",
        "-1/3",
        "1/3/5",
        "a/b",
        "1 /3",
        "²/3",
        "1.0/3",
        "9" * 30,
        "1/1000000",
    ],
)
def test_what_is_no_shard_is_said(text: str) -> None:
    with pytest.raises(UsageError, match="--shard"):
        Shard.parse(text)


def test_a_shard_is_read_and_shown() -> None:
    assert str(Shard.parse("3/12")) == "3/12"
    assert Shard.parse("1/1").take(sources("abc"))[0] == sources("abc")
