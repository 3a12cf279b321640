"""Files that hold keys: 0600, and either as they were or whole."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from guardian_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

PRIVATE = 0o600


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
        _replace(real, data)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{path} cannot be written: {reason}; it is as it was") from error
    return True


def _is_so_already(path: Path, data: bytes) -> bool:
    if not path.exists():
        return False
    mode = stat.S_IMODE(path.stat().st_mode)
    return mode == PRIVATE and path.read_bytes() == data


def _replace(path: Path, data: bytes) -> None:
    with _partial(path) as partial:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)


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
