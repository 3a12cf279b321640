"""Opening a local file once and for all, whatever its name, and never anything but a plain file."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from typing import Self

from guardian_cli.errors import SourceError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, slots=True)
class LocalFile:
    """`size` bytes of an open plain file, from `start` on.

    Libraries take a "%02d" or a "concat:" in a name for more than a name, so they never see one:
    they read from the descriptor. Nor can the file be exchanged while it is read.
    """

    fd: int
    size: int
    start: int = 0

    @classmethod
    def open(cls, location: str) -> Self:
        """Open a file by its name; raise SourceError where it can't be read or is no file."""
        try:
            # Without O_NONBLOCK a pipe that nobody writes to would be waited for.
            fd = os.open(location, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise SourceError("no such file", kind="missing") from None
        except PermissionError:
            message = "the file may not be read (permission denied)"
            raise SourceError(message, kind="unreadable") from None
        except ValueError:
            raise SourceError("no file can have such a name", kind="missing") from None
        except OSError as error:
            what = os.strerror(error.errno) if error.errno else "unknown error"
            raise SourceError(f"the file can't be opened ({what})", kind="unreadable") from None
        found = os.fstat(fd)
        if stat.S_ISREG(found.st_mode) and found.st_size:
            return cls(fd, found.st_size)
        os.close(fd)
        if stat.S_ISREG(found.st_mode):
            raise SourceError("the file is empty", kind="empty")
        what = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise SourceError(f"not a file but {what}", kind="unreadable")

    def part_from(self, start: int) -> LocalFile:
        """Return what follows the first `start` bytes as if it were a file of its own."""
        return replace(self, start=self.start + start, size=self.size - start)

    def read_at(self, at: int, count: int) -> bytes:
        """Return up to `count` bytes from `at` on."""
        return os.pread(self.fd, count, self.start + at)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)


class FileCursor:
    """A file object for PyAV."""

    def __init__(self, file: LocalFile) -> None:
        self._file = file
        # Of its own: duplicates of a descriptor share theirs, and several readers use one file.
        self._at = 0

    def read(self, count: int) -> bytes:
        """Read on from the position."""
        found = self._file.read_at(self._at, count)
        self._at += len(found)
        return found

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position, as file objects do."""
        origin = {os.SEEK_CUR: self._at, os.SEEK_END: self._file.size}.get(whence, 0)
        self._at = origin + offset
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at
