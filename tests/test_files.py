from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
import stat
import subprocess
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.files import (
    LockHeldError,
    hold_lock,
    is_locked,
    make_private_folder,
    may_be_committed,
    read_if_there,
    replace_private,
    replacing,
    write_atomic,
    write_private,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_that_others_could_read_ends_private(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"old")
    path.chmod(0o644)
    assert replace_private(path, b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", 0o600)
    assert not replace_private(path, b"new")
    path.chmod(0o644)
    assert replace_private(path, b"new")
    assert mode(path) == 0o600
    assert [found.name for found in tmp_path.iterdir()] == [".env"]


@pytest.mark.parametrize(("before", "after"), [(0o400, 0o400), (0o640, 0o600), (0o440, 0o400)])
def test_a_mode_that_is_narrower_stays_so(tmp_path: Path, before: int, after: int) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"old")
    path.chmod(before)
    assert replace_private(path, b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", after)
    assert not replace_private(path, b"new")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_a_file_of_somebody_else_stays_theirs(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"old")
    os.chown(path, 1000, 1001)
    for write in (replace_private, write_private):
        write(path, write.__name__.encode())
        found = path.stat()
        assert (found.st_uid, found.st_gid, mode(path)) == (1000, 1001, 0o600)


def mount(*arguments: str | Path) -> None:
    if subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode:
        pytest.skip("mount is not allowed here")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing can be made or renamed, and whose file `.env` can be written."""
    folder = tmp_path / "folder"
    folder.mkdir()
    path, source = folder / ".env", tmp_path / "source"
    path.touch()
    source.write_bytes(b"old" * 2000)
    if os.geteuid() != 0:
        path.write_bytes(source.read_bytes())
        folder.chmod(0o500)
        yield folder
        folder.chmod(0o700)
        return
    # Root may write into any folder, but not into one that is mounted read-only.
    mounts = [(folder, folder), (source, path)]
    with ExitStack() as stack:
        for what, where in mounts:
            mount("--bind", what, where)
            stack.callback(subprocess.run, ["umount", str(where)], check=True)
        mount("-o", "remount,bind,ro", folder)
        yield folder


def test_a_file_that_nothing_can_be_renamed_to_is_written_in_place(read_only: Path) -> None:
    path = read_only / ".env"
    path.chmod(0o644)
    inode = path.stat().st_ino
    write_atomic(path, b"new")
    assert (path.read_bytes(), mode(path), path.stat().st_ino) == (b"new", 0o600, inode)
    with pytest.raises(OSError, match=r"denied|ead-only"):
        write_atomic(read_only / "new.env", b"new")
    assert [found.name for found in read_only.iterdir()] == [".env"]


def test_what_was_in_a_file_is_put_back_when_the_disk_is_full_in_the_middle(
    read_only: Path,
) -> None:
    path = read_only / ".env"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (7000, hard))
        with pytest.raises(OSError, match="large"):
            write_atomic(path, b"new" * 3000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert path.read_bytes() == b"old" * 2000
    assert [found.name for found in read_only.iterdir()] == [".env"]


def test_a_file_that_is_mounted_into_a_container(tmp_path: Path) -> None:
    path, source = tmp_path / ".env", tmp_path / "source"
    path.touch()
    source.write_bytes(b"old")
    mount("--bind", source, path)
    try:
        assert replace_private(path, b"new")
    finally:
        subprocess.run(["umount", str(path)], check=True)
    assert (source.read_bytes(), mode(source)) == (b"new", 0o600)
    assert sorted(found.name for found in tmp_path.iterdir()) == [".env", "source"]


def test_a_file_that_is_mounted_read_only_is_said_to_be_as_it_was(read_only: Path) -> None:
    path = read_only / ".env"
    if os.geteuid() == 0:
        mount("-o", "remount,bind,ro", path)
    else:
        path.chmod(0o400)
    with pytest.raises(UsageError, match="it is as it was"):
        replace_private(path, b"new")
    assert path.read_bytes() == b"old" * 2000
    assert [found.name for found in read_only.iterdir()] == [".env"]


def test_a_file_in_a_work_tree_may_be_committed_unless_git_ignores_it(tmp_path: Path) -> None:
    path = tmp_path / "tree" / ".env"
    path.parent.mkdir()
    assert not may_be_committed(path)
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    subprocess.run([git, "init", "-q", str(path.parent)], check=True)
    assert may_be_committed(path)
    (path.parent / ".gitignore").write_text(".env\n")
    assert not may_be_committed(path)


def test_a_new_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        replace_private(tmp_path / ".env", b"x")
    finally:
        os.umask(old)
    assert mode(tmp_path / ".env") == 0o600


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "env"
    link = tmp_path / ".env"
    link.symlink_to(target)
    replace_private(link, b"x")
    assert link.is_symlink()
    assert target.read_bytes() == b"x"
    assert not target.is_symlink()


def test_what_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "no" / "folder", tmp_path / "loop"):
        (tmp_path / "loop").unlink(missing_ok=True)
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        with pytest.raises(UsageError):
            replace_private(path, b"x")


def test_a_file_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert read_if_there(tmp_path / "none") == b""
    with pytest.raises(UsageError):
        read_if_there(tmp_path)


def test_a_file_of_our_own_is_its_owners_alone_and_what_it_cannot_replace_stays(
    tmp_path: Path,
) -> None:
    path = tmp_path / "key"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", 0o600)
    (tmp_path / "folder").mkdir()
    with pytest.raises(PlatformError, match="folder cannot be written"):
        write_private(tmp_path / "folder", b"new")
    assert sorted(found.name for found in tmp_path.iterdir()) == ["folder", "key"]


def test_a_file_that_others_may_read_gets_the_mode_of_the_one_it_replaces(tmp_path: Path) -> None:
    path, new = tmp_path / "settings", tmp_path / "new"
    path.touch()
    path.chmod(0o640)
    old = os.umask(0o027)
    try:
        write_atomic(path, b"new", mode=0o666)
        write_atomic(new, b"new", mode=0o666)
    finally:
        os.umask(old)
    assert (mode(path), mode(new)) == (0o640, 0o640)


def test_a_block_that_fails_replaces_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"old")

    def fail() -> None:
        with replacing(path) as partial:
            partial.write_bytes(b"half")
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - it is ours, two lines above
        fail()
    assert path.read_bytes() == b"old"
    with replacing(path) as partial:
        partial.write_bytes(b"new")
    assert path.read_bytes() == b"new"
    assert [found.name for found in tmp_path.iterdir()] == ["weights"]


def test_what_is_no_file_is_not_renamed_away(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        with pytest.raises(OSError, match="not a regular file"):
            write_atomic(path, b"x")
    assert stat.S_ISFIFO(link.stat().st_mode)
    assert {found.name for found in tmp_path.iterdir()} == {"pipe", "link"}


def test_a_link_to_a_file_stays_a_link(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("real")
    for data in (b"made", b"replaced"):
        with replacing(link) as partial:
            partial.write_bytes(data)
        assert link.is_symlink()
        assert (tmp_path / "real").read_bytes() == data


def test_a_lock_is_held_by_one_and_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path)
    with hold_lock(path):
        assert is_locked(path)
        with pytest.raises(LockHeldError), hold_lock(path):
            pass
        got = threading.Event()

        def wait() -> None:
            with hold_lock(path, timeout_s=30):
                got.set()

        waiter = threading.Thread(target=wait)
        waiter.start()
        assert not got.is_set()
    assert got.wait(30)
    waiter.join()


def hold_forever(path: Path, told: Connection) -> None:
    with hold_lock(path):
        told.send("held")
        signal.pause()


def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    holder = context.Process(target=hold_forever, args=(path, there))
    holder.start()
    there.close()
    assert here.recv() == "held"
    assert is_locked(path)
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(30)
    assert not is_locked(path)
    for one in (here, holder):
        one.close()


def test_make_private_folder_tightens_one_that_is_there(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_private_folder(tmp_path)
    assert mode(tmp_path) == 0o700
