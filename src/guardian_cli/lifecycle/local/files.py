"""Files that are whole or not there and private, and locks that die with their holder."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from guardian_cli.errors import PlatformError
from guardian_cli.files import PRIVATE, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LOCK_POLL_S = 0.05


class LockHeldError(Exception):
    """Another process holds the lock."""


def write_private(path: Path, data: bytes) -> None:
    """Replace a file's content in one step; the file is the owner's alone (0600).

    Raises PlatformError when it cannot be written; it is then as it was.
    """
    try:
        write_whole(path, data)
    except OSError as error:
        raise PlatformError(f"{path} cannot be written: {error.strerror}") from error


def make_private_folder(path: Path) -> None:
    """Make a folder, and those above it, that only its owner may enter (0700).

    Raises PlatformError, as for a file that stands in its place.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise PlatformError(
            f"the folder {path} cannot be made: {error.strerror}",
            hint=f"see what is there: ls -ld {path} {path.parent}",
        ) from error


@contextmanager
def hold_lock(path: Path, timeout_s: float = 0.0) -> Iterator[None]:
    """Hold a lock file for the block; the system frees it when the process dies, however it dies.

    Raises LockHeldError when another holds it for longer than `timeout_s`, PlatformError for a
    file that cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE)
    except OSError as error:
        raise PlatformError(f"{path} cannot be opened: {error.strerror}") from error
    try:
        _wait_for(descriptor, path, timeout_s)
        yield
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock."""
    if not path.exists():
        return False
    try:
        with hold_lock(path):
            return False
    except LockHeldError:
        return True


def _wait_for(descriptor: int, path: Path, timeout_s: float) -> None:
    until = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in {errno.EAGAIN, errno.EACCES}:
                raise
            if time.monotonic() >= until:
                raise LockHeldError(str(path)) from None
            time.sleep(_LOCK_POLL_S)
        else:
            return
