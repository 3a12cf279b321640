"""Every error that a user can meet, and the exit code it ends with.

    GuardianError                1  (never raised itself)
    ├── UsageError               2  what was asked for makes no sense
    │   └── ConfigError          2  guardian.yaml or the environment is wrong
    ├── SourceError              3  an input could not be scanned
    ├── PlatformError            4  a platform, endpoint or network failed
    ├── MissingError             5  an optional dependency or model weights are missing
    └── GateError               12  a gate or a monitor says no

`cli.main` is the one place where an error becomes an exit code.
"""

import errno
import os
from typing import ClassVar


class GuardianError(Exception):
    """An error with one line for the user and, where there is one, the next command to type."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(GuardianError):
    """What was asked for makes no sense."""

    exit_code = 2


class ConfigError(UsageError):
    """guardian.yaml, .env or the environment is wrong; the message names file, line and key."""


class SourceError(GuardianError):
    """An input could not be scanned; `kind` is a short stable word for scripts."""

    exit_code = 3

    def __init__(self, message: str, *, kind: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind


class PlatformError(GuardianError):
    """A platform, endpoint or network failed."""

    exit_code = 4


class MissingError(GuardianError):
    """An optional dependency or model weights are missing."""

    exit_code = 5


class GateError(GuardianError):
    """A gate or a monitor says no: all went well, and what was asked for is refused."""

    exit_code = 12


def machine_limit(error: BaseException) -> UsageError | None:
    """Return what is wrong with the disk, with a file's rights or with limits; else None."""
    number, name = (error.errno, error.filename) if isinstance(error, OSError) else (None, None)
    reason = getattr(error, "strerror", None) or str(error)
    if number in {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}:
        place = name or "the folder for temporary files"
        hint = "df -h; TMPDIR=FOLDER guardian … puts temporary files elsewhere"
        return UsageError(f"nothing could be written to {place}: {reason}", hint=hint)
    if number in {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG} and name:
        return UsageError(f"{os.fsdecode(name)}: {reason}", hint="ls -ld FILE; id")
    if number in {errno.EMFILE, errno.ENFILE}:
        return UsageError(f"no more files may be open: {reason}", hint="ulimit -n 4096")
    # Python, ONNX Runtime and OpenMP each have words of their own for a thread that was refused.
    refused = ("can't start new thread", "pthread_create failed", os.strerror(errno.EAGAIN))
    if number == errno.EAGAIN or any(words in str(error) for words in refused):
        message = "no more processes or threads may be started (ulimit -u says how many)"
        return UsageError(message, hint="ulimit -u 4096; in a container, a higher --pids-limit")
    return None
