"""Files that are whole or not there and private, and locks that die with their holder."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRIVATE = 0o600
_LOCK_POLL_S = 0.05


class LockHeldError(Exception):
    """Another process holds the lock."""


def write_private(path: Path, data: bytes) -> None:
    """Replace a file's content in one step; the file is the owner's alone (0600)."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)  # noqa: PTH105 - rename over the old file in one step
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def make_private_folder(path: Path) -> None:
    """Make a folder, and those above it, that only their owner may enter (0700)."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)


@contextmanager
def hold_lock(path: Path, timeout_s: float = 0.0) -> Iterator[None]:
    """Hold a lock file for the block; the system frees it when the process dies, however it dies.

    Raises LockHeldError when another holds it for longer than `timeout_s`.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE)
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
