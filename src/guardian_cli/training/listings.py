"""What `--data` names: a folder or a CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardian_cli.errors import UsageError
from guardian_cli.training.folders import list_folder
from guardian_cli.training.tables import list_table

if TYPE_CHECKING:
    from pathlib import Path

    from guardian_cli.training.data import Listing


def load_listing(source: Path) -> Listing:
    """List a folder with one sub-folder per class, or a CSV. Raises UsageError with one line."""
    if source.is_dir():
        return list_folder(source)
    if source.is_file():
        return list_table(source)
    raise UsageError(
        f"{source}: no such file or folder",
        hint="--data takes a folder with one sub-folder per class, or a CSV path,label",
    )
