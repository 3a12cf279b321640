"""The directory in which one training works, so that a run that was killed goes on where it was.

    .guardian/training/<model>/<fingerprint>/    pictures, features, checkpoints, the finished model
    .guardian/training/<model>/<fingerprint>.lock

The fingerprint is of everything that decides about the numbers. A run that has ended removes its
directory; the next training with the same fingerprint is then a new run.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import PlatformError
from guardian_cli.files import LockHeldError, hold_lock, make_private_folder, write_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from guardian_cli.training.data.dataset import Dataset

RUN_NAME = "run.json"
_ABANDONED_S = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Where a run works. `run` names it from its first start on; `resumed` says that it goes on."""

    folder: Path
    run: str
    resumed: bool

    def read(self, name: str) -> Any:
        """The JSON that `write` left, None where there is none."""
        try:
            return json.loads((self.folder / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def write(self, name: str, content: Any) -> None:
        """Keep a JSON document, whole or not at all. Raises PlatformError."""
        write_private(self.folder / name, json.dumps(content).encode())

    def remove(self) -> None:
        """The run has ended: nothing of it is needed any more."""
        # Without its name it is no run any more, however far the rest is removed.
        (self.folder / RUN_NAME).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def open_directory(training: Path, model: str, fingerprint: str) -> Iterator[RunDirectory]:
    """Begin a run, or go on with one. Raises PlatformError while another process is at it."""
    home = training / model
    make_private_folder(home)
    # What was begun long ago and never finished: its pictures take room.
    for lock in home.glob("*.lock"):
        old = lock.with_suffix("")
        with suppress(LockHeldError, OSError):
            if old.is_dir() and time.time() - old.stat().st_mtime > _ABANDONED_S:
                with hold_lock(lock):
                    shutil.rmtree(old, ignore_errors=True)
    folder = home / fingerprint
    try:
        with hold_lock(home / f"{fingerprint}.lock"):
            known = RunDirectory(folder, "", resumed=True).read(RUN_NAME)
            if known is not None:
                yield RunDirectory(folder, known["run"], resumed=True)
                return
            # What is there without a name was being removed.
            shutil.rmtree(folder, ignore_errors=True)
            make_private_folder(folder)
            directory = RunDirectory(folder, uuid.uuid4().hex, resumed=False)
            directory.write(RUN_NAME, {"run": directory.run})
            yield directory
    except LockHeldError:
        raise PlatformError(
            f"another guardian is training {model} on the same data right now",
            hint="wait for it, or train with another --seed",
        ) from None


def take_fingerprint(dataset: Dataset, **settings: Any) -> str:
    """Name what decides about the numbers: every file's place, size and time, and the settings."""
    lines = [json.dumps(settings, sort_keys=True, default=str)]
    for sample in dataset.samples:
        # Not the content: a fingerprint of a terabyte of videos would take hours.
        try:
            found = sample.path.stat()
            state = f"{found.st_size}/{found.st_mtime_ns}"
        except OSError:
            state = "-"
        lines.append(
            json.dumps([str(sample.path), sample.label, sample.group, sample.split, state])
        )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
