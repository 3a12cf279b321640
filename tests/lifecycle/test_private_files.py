from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from guardian_cli.errors import UsageError
from guardian_cli.lifecycle.private_files import read_if_there, replace_private

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
