"""What the user may name, and what comes of it."""

from __future__ import annotations

import io
import os
from collections import Counter
from pathlib import Path

import pytest

from guardian_cli.errors import UsageError
from guardian_cli.media.sources import Source, expand_sources, skipped_line


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
        expand_sources(["-"], io.BytesIO(b"\n"))


def listed(data: bytes) -> list[Source]:
    return expand_sources(["-"], io.BytesIO(data))


def test_a_list_on_stdin_whatever_ends_its_lines(uploads: Path) -> None:
    first, second = os.fsencode(uploads / "b.mp4"), os.fsencode(uploads / "a.MP4")
    for data in (
        first + b"\n\n" + second,
        b"\xef\xbb\xbf" + first + b"\r\n" + second + b"\r\n",
        first + b"\0" + second + b"\0",
        f"{first.decode()}\r\n{second.decode()}\r\n".encode("utf-16"),
    ):
        assert names(listed(data), uploads) == ["b.mp4", "a.MP4"]
        assert [source.kind for source in listed(data)] == ["file", "file"]
    odd = uploads / "two\nlines.mp4"
    odd.write_bytes(b"x")
    assert names(listed(os.fsencode(odd) + b"\0"), uploads) == ["two\nlines.mp4"]


def test_a_line_of_a_list_is_a_name_and_never_a_pattern(uploads: Path) -> None:
    (uploads / "clip1.mp4").write_bytes(b"x")
    (uploads / "empty").mkdir()
    lines = [str(uploads / name) for name in ("clip[1].mp4", "Title [id].mp4", "empty", "b.mp4")]
    found = listed("\n".join(lines).encode())
    assert [source.kind for source in found] == ["missing", "missing", "empty", "file"]
    assert [source.location for source in found] == lines


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41\0\0\0\x08free",
        b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1f\x42\x86\x81\x01",
        b"\xff\xd8\xff\xe0\0\x10JFIF\0\1",
        b"\x47\x40\x11\x10" * 200,
        b"b.mp4\n" + bytes(70_000),
    ],
)
def test_a_video_on_stdin_is_no_list(data: bytes) -> None:
    with pytest.raises(UsageError, match="reads a list of names") as caught:
        listed(data)
    assert caught.value.hint


def skipped_in(folder: Path, *more: Path) -> tuple[list[str], dict[str, int]]:
    skipped = Counter[str]()
    found = expand_sources([str(folder), *map(str, more)], skipped=skipped)
    return names(found, folder), dict(skipped)


def test_what_a_folder_leaves_out_is_counted(uploads: Path) -> None:
    (uploads / "0123abcd").write_bytes(b"\0\0\0\x20ftypisom\0\0\2\0isom")
    (uploads / "4567cdef").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    (uploads / "song.m4a").write_bytes(b"\0\0\0\x20ftypM4A \0\0\2\0isom")
    (uploads / ".hidden.mp4").write_bytes(b"x")
    for hidden in (".git", ".guardian"):
        (uploads / hidden).mkdir()
        (uploads / hidden / "plot.png").write_bytes(b"x")
    os.mkfifo(uploads / "pipe")
    (uploads / "nowhere").symlink_to("nothing")
    found, skipped = skipped_in(uploads, uploads / "deep")
    assert found == ["0123abcd", "4567cdef", "a.MP4", "b.mp4", "deep/c.webm", "deep/d.PNG"]
    assert skipped == {
        "no video or image": 4, "hidden": 2, "guardian's workspace": 1, "no regular file": 1,
        "broken link": 1,
    }  # fmt: skip
    assert skipped_line(skipped) == (
        "9 skipped: 4 no video or image, 2 hidden, 1 broken link, 1 guardian's workspace, "
        "1 no regular file"
    )
    assert skipped_in(uploads / ".guardian")[0] == ["plot.png"]


def test_the_stills_of_a_report_are_no_uploads(uploads: Path) -> None:
    (uploads / "sheet" / "stills").mkdir(parents=True)
    (uploads / "sheet" / ".guardian-report").touch()
    (uploads / "sheet" / "stills" / "0123.jpg").write_bytes(b"x")
    skipped = skipped_in(uploads)[1]
    assert skipped["guardian's report"] == 1
    assert skipped_in(uploads / "sheet" / "stills")[0] == ["0123.jpg"]


def test_files_that_are_shown_alike_are_told_apart(tmp_path: Path) -> None:
    """A stray byte is shown as text that another file's name may hold."""
    folder = os.fsencode(tmp_path)
    for name in (b"a\xff.jpg", b"a\\xff.jpg"):
        Path(os.fsdecode(os.path.join(folder, name))).write_bytes(b"x")  # noqa: PTH118
    sources = expand_sources([str(tmp_path)])
    assert len({one.shown for one in sources}) == 1
    assert len({one.identity or one.shown for one in sources}) == 2
    assert sorted(one.identity is None for one in sources) == [False, True]


@pytest.mark.parametrize(
    "name",
    [
        " https://me:secret@127.0.0.1/x?secret",
        "\ufeffhttps://me:secret@127.0.0.1/x",
        "'https://me:secret@127.0.0.1/x?secret'",
        "https:me:secret@127.0.0.1/x",
        "http:/me:secret@127.0.0.1/x",
        "x://me:secret@127.0.0.1/x",
        "see https://me:secret@127.0.0.1/x#secret",
    ],
)
def test_no_spelling_of_an_address_shows_its_secrets(name: str) -> None:
    (source,) = expand_sources(["-"], io.BytesIO(name.encode() + b"\n"))
    assert "secret" not in source.shown
    assert source.identity is not None
    # What is around a line that was copied from somewhere is no part of it.
    assert (source.kind == "url") == (name.strip(" \ufeff").startswith("https://"))


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    folder, beside = tmp_path / "uploads", tmp_path / "beside"
    (folder / "inner").mkdir(parents=True)
    beside.mkdir()
    (beside / "a.mp4").write_bytes(b"x")
    (folder / "linked").symlink_to(beside)
    (folder / "again.mp4").symlink_to(beside / "a.mp4")
    (folder / "inner" / "loop").symlink_to(folder)
    (folder / "gone.mp4").symlink_to("nothing.mp4")
    (folder / "itself").symlink_to("itself")
    found, skipped = skipped_in(folder)
    assert found == ["again.mp4", "gone.mp4"]
    assert skipped == {"the same file again": 1, "broken link": 1}
    (folder / "again.mp4").unlink()
    assert skipped_in(folder) == (["gone.mp4", "linked/a.mp4"], {"broken link": 1})


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
