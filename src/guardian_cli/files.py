"""Files that are written whole or not at all, private files, and locks that die with their holder.

Locks are the kernel's (flock): it frees them when the process ends, however it ends, so a lock also
tells whether whoever holds it is alive.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from guardian_cli.errors import PlatformError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PRIVATE = 0o600
# flock can wait, but not with a time-out.
LOCK_POLL_S = 0.05
# A file that is a mount of its own; a folder in which nothing may be made or renamed.
_RENAME_REFUSED = {errno.EBUSY, errno.EXDEV, errno.EROFS, errno.EACCES, errno.EPERM}


class LockHeldError(Exception):
    """Another process, or another open file of this one, holds the lock."""


def read_if_there(path: Path) -> bytes:
    """Read a file, b"" where there is none. Raises UsageError for what cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def check_outputs(
    outputs: Iterable[Path],
    *,
    read: Iterable[Path] = (),
    taken: Iterable[Path] = (),
    option: str = "",
) -> None:
    """Raise UsageError for a file that can't be written to, or is not to be.

    That is one that is read (`read`), or that something else goes to (`taken`). Asked before long
    work: what it finds must not be lost to a typing error. `option` begins the message.
    """
    used, ours = {path.resolve() for path in taken}, {}
    for path in outputs:
        if str(path) == "-":
            raise UsageError(f"{option}-: stdout is taken", hint="name a file")
        if not path.parent.is_dir():
            raise UsageError(f"{option}{path}: no such folder")
        if path.exists() and not path.is_file():
            raise UsageError(f"{option}{path}: not a regular file")
        if path.resolve() in used:
            raise UsageError(f"{option}{path}: something else goes to the same file")
        used.add(path.resolve())
        if path.exists():
            ours[_inode(path)] = path
    # What is new can't be read: a million sources are looked at for an older file alone.
    for one in read if ours else ():
        if found := ours.get(_inode(one)):
            raise UsageError(
                f"{option}{found}: would be written over what is read", hint="name another file"
            )


def _inode(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return (-1, -1)
    return found.st_dev, found.st_ino


@contextmanager
def replacing(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """Give a new file beside `path` to write to; it becomes `path` when the block ends well.

    `mode` is the new file's, less the umask. A symbolic link stays one: the file that it leads to
    is replaced. Raises OSError, as for a device or a pipe, which a rename would take away; `path`
    is then as it was, and nothing is left beside it.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    # Made with its mode at once: what is private is never readable for others.
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes, mode: int = PRIVATE) -> None:
    """Write a file, whole or not at all; one that is there keeps its owner.

    `mode` is the widest that it may end with: a file that is there stays as narrow as it was.
    Raises OSError; the file is then as it was, or UsageError where not even its old content could
    be put back.
    """
    old = path.stat() if path.exists() else None
    try:
        with replacing(path, mode) as partial, partial.open("wb") as file:
            if old is not None:
                if old.st_uid != os.geteuid():
                    # Only root may: anybody else would lock the owner out of the file.
                    os.fchown(file.fileno(), old.st_uid, old.st_gid)
                elif old.st_gid != os.getegid():
                    # Where it is not allowed, the file is at least no less private.
                    with suppress(PermissionError):
                        os.fchown(file.fileno(), -1, old.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode) & mode)
            _write(file, data)
    except OSError as error:
        if old is None or error.errno not in _RENAME_REFUSED:
            raise
        _write_in_place(path, data, mode)


def replace_private(path: Path, data: bytes) -> bool:
    """Make a file hold `data`, for its owner only (0600); False when all was so already.

    A symbolic link stays one: the file that it leads to is replaced, or made.
    Raises UsageError for what cannot be written; the file is then as it was.
    """
    try:
        real = path.resolve()
        if real.exists():
            if not real.is_file():
                raise UsageError(f"{path} is no regular file")
            if not real.stat().st_mode & 0o777 & ~PRIVATE and real.read_bytes() == data:
                return False
        write_atomic(real, data)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{path} cannot be written: {reason}; it is as it was") from error
    return True


def write_private(path: Path, data: bytes) -> None:
    """Write a file of our own, whole or not at all, for its owner only (0600).

    Raises PlatformError when it cannot be written; it is then as it was.
    """
    try:
        write_atomic(path, data)
    except OSError as error:
        raise PlatformError(f"{path} cannot be written: {error.strerror}") from error


def write_output(path: Path, data: bytes) -> None:
    """Write a file that the user has named, whole or not at all. Raises UsageError."""
    try:
        write_atomic(path, data, mode=0o666)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error


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


def may_be_committed(path: Path) -> bool:
    """Whether a file lies in a git work tree that is not known to ignore it."""
    real = path.resolve()
    if not any((folder / ".git").exists() for folder in real.parents):
        return False
    command = ["git", "-C", str(real.parent), "check-ignore", "-q", "--", real.name]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=10)
    # No git, or none that answers: a needless warning is better than none.
    except (OSError, subprocess.TimeoutExpired):
        return True
    return done.returncode != 0


def lock_descriptor(descriptor: int) -> None:
    """Lock an open file until it is closed or its process dies.

    Raises LockHeldError, and OSError on a file system without locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # NFS says EACCES where others say EAGAIN.
        if error.errno in {errno.EAGAIN, errno.EACCES}:
            raise LockHeldError from error
        raise


@contextmanager
def hold_lock(path: Path, timeout_s: float = 0.0) -> Iterator[None]:
    """Hold a lock file for the block. The file stays: who removes it while another waits has two.

    Raises LockHeldError when another holds it for longer than `timeout_s`, PlatformError for a
    file that cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE)
    except OSError as error:
        raise PlatformError(f"{path} cannot be opened: {error.strerror}") from error
    until = time.monotonic() + timeout_s
    try:
        while True:
            try:
                lock_descriptor(descriptor)
                break
            except LockHeldError:
                if time.monotonic() >= until:
                    raise
            time.sleep(LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock. Asking takes the lock for an instant."""
    if not path.exists():
        return False
    try:
        with hold_lock(path):
            return False
    except LockHeldError:
        return True


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.truncate()
    file.flush()
    # A power cut could otherwise leave the new name with nothing behind it.
    os.fsync(file.fileno())


def _write_in_place(path: Path, data: bytes, mode: int) -> None:
    """Write into a file that nothing can be renamed to, with a copy of it until that is done."""
    # One that cannot even be opened for writing stays as it is: it needs no copy, full of keys.
    with path.open("r+b") as file:
        before = file.read()
    copy = _copy_of(path, before)
    try:
        _overwrite(path, data, mode)
    except OSError:
        try:
            _overwrite(path, before, mode)
        except OSError as error:
            raise UsageError(
                f"{path} could not be written: {error.strerror}; what was in it is in {copy}"
            ) from error
        copy.unlink()
        raise
    copy.unlink()


def _copy_of(path: Path, before: bytes) -> Path:
    """Keep what is in a file beside it or, where nothing can be put there, among temporary files.

    A file that is mounted into a container may be the only one there that can be written.
    """
    for folder in (path.parent, Path(tempfile.gettempdir())):
        try:
            descriptor, name = tempfile.mkstemp(".copy", f".{path.name}.", folder)
        except OSError:
            continue
        with os.fdopen(descriptor, "wb") as file:
            _write(file, before)
        return Path(name)
    raise OSError(errno.EROFS, "there is no room for a copy of it")


def _overwrite(path: Path, data: bytes, mode: int) -> None:
    with path.open("r+b") as file:
        # Before the keys are in it.
        wide = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if wide & ~mode:
            os.fchmod(file.fileno(), wide & mode)
        _write(file, data)
