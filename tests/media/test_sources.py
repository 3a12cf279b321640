"""What the user may name, and what comes of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from guardian_cli.errors import UsageError
from guardian_cli.media.sources import Source, expand_sources

if TYPE_CHECKING:
    from pathlib import Path


def names(sources: list[Source], folder: Path) -> list[str]:
    return [os.path.relpath(source.location, folder) for source in sources]


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    for name in ("b.mp4", "a.MP4", "notes.txt", "deep/c.webm", "deep/d.PNG", "deep/e", "x.m3u8"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def test_a_folder_gives_its_media_at_every_depth_in_order(uploads: Path) -> None:
    found = names(expand_sources([str(uploads)]), uploads)
    assert found == ["a.MP4", "b.mp4", "deep/c.webm", "deep/d.PNG"]


def test_a_file_that_is_named_is_always_tried(uploads: Path) -> None:
    (source,) = expand_sources([str(uploads / "notes.txt")])
    assert source.kind == "file"


def test_globs(uploads: Path) -> None:
    assert names(expand_sources([str(uploads / "*.mp4")]), uploads) == ["b.mp4"]
    assert names(expand_sources([str(uploads / "**" / "*.webm")]), uploads) == ["deep/c.webm"]
    with pytest.raises(UsageError, match="nothing matches"):
        expand_sources([str(uploads / "*.avi")])


def test_a_name_with_brackets_that_exists_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "clip[1].mp4"
    path.write_bytes(b"x")
    assert [source.kind for source in expand_sources([str(path)])] == ["file"]


def test_a_source_named_twice_is_scanned_once(uploads: Path) -> None:
    (uploads / "link.mp4").symlink_to(uploads / "b.mp4")
    twice = [str(uploads / "b.mp4"), str(uploads), str(uploads / "deep" / ".." / "b.mp4")]
    assert len([n for n in names(expand_sources(twice), uploads) if n.endswith("b.mp4")]) == 1
    assert len(expand_sources(twice)) == 4


def test_what_is_not_there_is_kept_for_the_report(tmp_path: Path) -> None:
    (source,) = expand_sources([str(tmp_path / "none.mp4")])
    assert source.kind == "missing"
    (source,) = expand_sources(["a\0b"])
    assert source.kind == "missing"


def test_empty_folders_and_no_source_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no video or image"):
        expand_sources([str(tmp_path)])
    with pytest.raises(UsageError, match="no source"):
        expand_sources(["-"], stdin=["\n"])


def test_a_list_on_stdin(uploads: Path) -> None:
    lines = [f"{uploads / 'b.mp4'}\n", "\n", f"{uploads / 'a.MP4'}\r\n"]
    assert names(expand_sources(["-"], stdin=lines), uploads) == ["b.mp4", "a.MP4"]


def test_addresses_are_masked_where_they_are_shown() -> None:
    url, stream, other = expand_sources(
        ["https://me:secret@host/clip.mp4?sig=abc", "rtsp://me:secret@cam/1", "ftp://host/x"]
    )
    assert (url.kind, stream.kind, other.kind) == ("url", "stream", "unsupported")
    assert url.location == "https://me:secret@host/clip.mp4?sig=abc"
    for source in (url, stream):
        assert "secret" not in source.shown
        assert "abc" not in source.shown


def test_a_name_that_is_no_unicode_can_be_shown(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff.mp4"
    with open(path, "wb"):  # noqa: PTH123
        pass
    (source,) = expand_sources([os.fsdecode(path)])
    assert source.shown.encode("utf-8").endswith(b"\\xff.mp4")


def test_masked_addresses_have_an_identity_of_their_own() -> None:
    first, second, plain = expand_sources(
        ["https://host/watch?v=1", "https://host/watch?v=2", "https://host/plain.mp4"]
    )
    assert first.shown == second.shown
    assert first.identity != second.identity
    assert first.identity == expand_sources(["https://host/watch?v=1"])[0].identity
    assert plain.identity is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder")
def test_a_folder_that_cannot_be_read_is_not_skipped_in_silence(uploads: Path) -> None:
    (uploads / "deep").chmod(0)
    kinds = [source.kind for source in expand_sources([str(uploads)])]
    (uploads / "deep").chmod(0o700)
    assert kinds == ["file", "file", "closed"]
