"""Opening a local file once and for all, whatever its name, and never anything but a plain file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from guardian_cli.errors import SourceError
from guardian_cli.media.sniff import HEAD_BYTES

_FD_FOLDER = "/proc/self/fd" if Path("/proc/self/fd").is_dir() else "/dev/fd"
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class LocalFile:
    """An open descriptor of a plain file, given by its name or by another descriptor.

    Libraries take a "%02d" or a "concat:" in a name for more than a name, so they never see one:
    they read from the descriptor, or know it as `path`. Nor can the file be exchanged between the
    first look and the last.
    """

    def __init__(self, location: str | int) -> None:
        self.fd = os.dup(location) if isinstance(location, int) else _open(location)
        try:
            self.size = _size(self.fd)
        except SourceError:
            os.close(self.fd)
            raise
        self.path = f"{_FD_FOLDER}/{self.fd}"

    def head(self) -> bytes:
        """Return the first bytes."""
        return os.pread(self.fd, HEAD_BYTES, 0)

    def read_at(self, at: int, count: int) -> bytes:
        """Return up to `count` bytes from `at` on."""
        return os.pread(self.fd, count, at)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)


def _open(location: str) -> int:
    try:
        return os.open(location, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise SourceError("no such file", kind="missing") from None
    except PermissionError:
        raise SourceError(
            "the file may not be read (permission denied)", kind="unreadable"
        ) from None
    except ValueError:
        raise SourceError("no file can have such a name", kind="missing") from None
    except OSError as error:
        what = os.strerror(error.errno) if error.errno else "unknown error"
        raise SourceError(f"the file can't be opened ({what})", kind="unreadable") from None


def _size(fd: int) -> int:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        what = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise SourceError(f"not a file but {what}", kind="unreadable")
    if not found.st_size:
        raise SourceError("the file is empty", kind="empty")
    return found.st_size
