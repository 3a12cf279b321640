"""What `--data` names: a folder or a CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardian_cli.errors import UsageError
from guardian_cli.training.data.folders import list_folder
from guardian_cli.training.data.listing import check_listed, drop_repeats
from guardian_cli.training.data.tables import list_table

if TYPE_CHECKING:
    from pathlib import Path

    from guardian_cli.training.data.listing import Listing


def load_listing(source: Path) -> Listing:
    """List a folder with one sub-folder per class, or a CSV, each file once.

    Raises UsageError with one line for what is not there, lists no file, or one class only.
    """
    if not source.is_dir() and not source.is_file():
        raise UsageError(
            f"{source}: no such file or folder",
            hint="--data takes a folder with one sub-folder per class, or a CSV path,label",
        )
    listing = drop_repeats(list_folder(source) if source.is_dir() else list_table(source))
    check_listed(listing)
    return listing
