from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from guardian_cli.errors import UsageError
from guardian_cli.files import (
    may_be_committed,
    read_if_there,
    replace_private,
    write_whole,
)
from guardian_cli.lifecycle.local.files import write_private

if TYPE_CHECKING:
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


def busy(partial: Path, path: Path) -> None:
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


def test_a_file_that_nothing_can_be_renamed_to_is_written_in_place(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"old and longer")
    path.chmod(0o644)
    inode = path.stat().st_ino
    write_whole(path, b"new", busy)
    assert (path.read_bytes(), mode(path), path.stat().st_ino) == (b"new", 0o600, inode)
    assert [found.name for found in tmp_path.iterdir()] == [".env"]
    with pytest.raises(OSError, match="busy"):
        write_whole(tmp_path / "new.env", b"new", busy)


def test_a_copy_is_kept_until_a_file_is_written_in_place(tmp_path: Path) -> None:
    """The disk is full in the middle: what was there is put back, and else it is in the copy."""
    path = tmp_path / ".env"
    path.write_bytes(b"old" * 2000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def busy_and_full(partial: Path, path: Path) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (7000, hard))
        busy(partial, path)

    try:
        with pytest.raises(OSError, match="large"):
            write_whole(path, b"new" * 3000, busy_and_full)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert path.read_bytes() == b"old" * 2000
    assert [found.name for found in tmp_path.iterdir()] == [".env"]


def test_a_file_that_is_mounted_into_a_container(tmp_path: Path) -> None:
    path, source = tmp_path / ".env", tmp_path / "source"
    path.touch()
    source.write_bytes(b"old")
    mount = ["mount", "--bind", str(source), str(path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mount is not allowed here")
    try:
        assert replace_private(path, b"new")
    finally:
        subprocess.run(["umount", str(path)], check=True)
    assert (source.read_bytes(), mode(source)) == (b"new", 0o600)
    assert sorted(found.name for found in tmp_path.iterdir()) == [".env", "source"]


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
