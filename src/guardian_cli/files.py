"""Files that hold keys: 0600, and either as they were or whole."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from guardian_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PRIVATE = 0o600
# A file that is a mount of its own; a folder in which nothing may be made or renamed.
_NO_RENAME = {errno.EBUSY, errno.EXDEV, errno.EROFS, errno.EACCES, errno.EPERM}


def read_if_there(path: Path) -> bytes:
    """Read a file, b"" where there is none. Raises UsageError for what cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def replace_private(path: Path, data: bytes) -> bool:
    """Put `data` into a file in one step and make it 0600; False when all was so already.

    A symbolic link stays one: the file that it leads to is replaced, or made.
    Raises UsageError for what cannot be written; the file is then as it was.
    """
    try:
        real = path.resolve()
        if real.exists() and not real.is_file():
            raise UsageError(f"{path} is no regular file")
        if _is_so_already(real, data):
            return False
        write_whole(real, data)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{path} cannot be written: {reason}; it is as it was") from error
    return True


def write_whole(path: Path, data: bytes, rename: Callable[[Path, Path], None] = os.replace) -> None:
    """Write a private file, whole or not at all; one that is there keeps its owner.

    Its mode ends at 0600, or as narrow as it was. Raises OSError; the file is then as it was, or
    UsageError where not even its old content could be put back.
    """
    old = path.stat() if path.exists() else None
    try:
        with _partial(path) as partial:
            _write(partial, data, old)
            rename(partial, path)
    except OSError as error:
        if old is None or error.errno not in _NO_RENAME:
            raise
        _write_in_place(path, data)


def _write(path: Path, data: bytes, old: os.stat_result | None) -> None:
    """Fill a file that nobody else reads yet; with the owner and mode of the one it is for."""
    with path.open("wb") as file:
        if old is not None:
            _give(file.fileno(), old)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _give(descriptor: int, old: os.stat_result) -> None:
    """Give a file the owner of another, and its mode where that is narrower than 0600."""
    if old.st_uid != os.geteuid():
        # Only root may: anybody else would lock the owner out of the file.
        os.fchown(descriptor, old.st_uid, old.st_gid)
    elif old.st_gid != os.getegid():
        # The group may not read it anyway.
        with suppress(PermissionError):
            os.fchown(descriptor, -1, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode) & PRIVATE)


def _write_in_place(path: Path, data: bytes) -> None:
    """Write into a file that nothing can be renamed to, with a copy of it until that is done."""
    before = path.read_bytes()
    copy = _copy_of(path, before)
    try:
        _overwrite(path, data)
    except OSError:
        try:
            _overwrite(path, before)
        except OSError as error:
            raise UsageError(
                f"{path} could not be written: {error.strerror}; what was in it is in {copy}"
            ) from error
        copy.unlink()
        raise
    copy.unlink()


def _copy_of(path: Path, before: bytes) -> Path:
    """Keep what is in a file beside it, or where nothing can be put beside it among the temporary.

    A file that is mounted into a container may be the only one there that can be written.
    """
    for folder in (path.parent, Path(tempfile.gettempdir())):
        try:
            descriptor, name = tempfile.mkstemp(f"{path.name}.", ".copy", folder)
        except OSError:
            continue
        os.close(descriptor)
        _write(Path(name), before, None)
        return Path(name)
    raise OSError(errno.EROFS, "there is no room for a copy of it")


def _overwrite(path: Path, data: bytes) -> None:
    with path.open("r+b") as file:
        # Before the keys are in it.
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & ~PRIVATE:
            os.fchmod(file.fileno(), mode & PRIVATE)
        file.write(data)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


def may_be_committed(path: Path) -> bool:
    """Whether a file lies in a git work tree that is not known to ignore it."""
    real = path.resolve()
    if not any((folder / ".git").exists() for folder in real.parents):
        return False
    command = ["git", "-C", str(real.parent), "check-ignore", "-q", "--", real.name]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return True
    return done.returncode != 0


def _is_so_already(path: Path, data: bytes) -> bool:
    if not path.exists():
        return False
    mode = stat.S_IMODE(path.stat().st_mode)
    return mode & ~PRIVATE == 0 and path.read_bytes() == data


@contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """Give a file beside `path` to write to; it is gone afterwards, whatever happens."""
    # mkstemp makes it 0600 from the start: the key is never readable for others.
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(descriptor)
    partial = Path(name)
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)
