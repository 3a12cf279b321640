"""The files of a listing, and nothing else, in a folder that can be sent to where they train."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from guardian_cli.training.data.listing import Listing

TABLE_NAME = "data.csv"


def pack_listing(listing: Listing, folder: Path) -> Path:
    """Put links to the listed files into an empty folder, with a CSV of them; return the CSV.

    The CSV's paths are relative to it; groups and splits are kept.
    """
    files = folder / "files"
    files.mkdir(parents=True)
    table = folder / TABLE_NAME
    with table.open("w", encoding="utf-8", newline="") as opened:
        rows = csv.writer(opened)
        rows.writerow(("path", "label", "group", "split"))
        for number, item in enumerate(listing.items):
            link = files / f"{number:06d}{item.path.suffix.lower()}"
            link.symlink_to(item.path.resolve())
            place = link.relative_to(folder).as_posix()
            rows.writerow((place, item.label, item.group or "", item.split or ""))
    return table
