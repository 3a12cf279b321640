"""How a store is laid out: a folder of Parquet files with one row for each source.

    DIR/model.json                          whose features these are; one CLIP a store
    DIR/source-GROUP-RUN-NUMBER.parquet     a source that has just ended
    DIR/part-GROUP-RUN.parquet              many such, put together

A file is written beside its place and renamed, so a source is there whole or not at all. Files of
one GROUP are made by the same settings and models, which their Parquet metadata holds once. A
source may be there twice, scanned again, or put together by a guardian that was killed before it
removed what it had copied: the row that was stored last counts.

A row has columns for the source, its result as JSON, and lists with an item for each frame, first
pass before refinement. Scores are what a detector answered, before fusion, in a column for each
detector (by its index in the metadata) and category. Features are of a frame's views, as fp16.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from guardian_cli.media.sources import Source
    from guardian_cli.verdict.result import ScanResult

SCHEMA = "guardian.store/1"
METADATA = b"guardian"
MODEL_FILE = "model.json"
LOCK_FILE = ".lock"
# Which row counts, without reading anything else of a file.
INDEX_COLUMNS = ("key", "sha256", "fingerprint", "stored_at_ns", "run", "number", "source")
FRAME_COLUMNS = ("time_s", "shown_until_s", "same_as_s", "is_refined")
FEATURE_COLUMNS = ("views", "features", "rounding")
_NAME = re.compile(r"(source|part)-([0-9a-f]{12})-(.+)\.parquet")


@dataclass(frozen=True, slots=True)
class StoreFile:
    """A file of a store; `group` is a digest of what made the rows in it."""

    path: Path
    is_part: bool
    group: str


def list_files(folder: Path) -> list[StoreFile]:
    """The files of a store, parts first; everything else in the folder is somebody else's."""
    found = []
    for path in folder.iterdir():
        match = _NAME.fullmatch(path.name)
        if match is not None:
            found.append(StoreFile(path, match[1] == "part", match[2]))
    return sorted(found, key=lambda one: (not one.is_part, one.path.name))


def group_of(provenance: Mapping[str, Any]) -> str:
    """The digest that files made by the same settings and models have in their names."""
    # 48 bits tell apart the handful of settings that one store ever sees.
    return hashlib.sha256(json.dumps(provenance, sort_keys=True).encode()).hexdigest()[:12]


def key_of(source: Source) -> str:
    """What a source's rows are found by, as in the file of `--resume`."""
    return source.identity or source.shown


def score_column(index: int, name: str, category: str) -> str:
    """The column of what a detector answered for a category."""
    return f"score.{index}.{name}.{category}"


def error_column(index: int, name: str, category: str) -> str:
    """The column of how far a detector's answers for a category may be off."""
    return f"error.{index}.{name}.{category}"


def deployment_column(index: int, name: str) -> str:
    """The column of which deployment of an endpoint answered."""
    return f"deployment.{index}.{name}"


def read_metadata(metadata: Mapping[bytes, bytes] | None, path: Path) -> dict[str, Any]:
    """What made the rows of a file. Raises UsageError where it is none of a store, or newer."""
    try:
        provenance = json.loads((metadata or {})[METADATA])
    except (KeyError, ValueError) as error:
        raise UsageError(f"{path}: not a file of a store") from error
    # Never guessed at: a verdict from columns that mean something else would look like any other.
    if not isinstance(provenance, dict) or provenance.get("schema") != SCHEMA:
        raise UsageError(f"{path}: made by another guardian, which keeps stores differently")
    return provenance


def result_fields(result: ScanResult, source: Source) -> dict[str, Any]:
    """What a row keeps of a result beside its frames: all that judging needs, and its outcome."""
    return {
        "source_kind": source.kind,
        "media": None if result.media is None else asdict(result.media),
        "coverage": asdict(result.coverage),
        "detectors": [asdict(one) for one in result.detectors],
        "every_s": result.every_s,
        "verdict": result.verdict,
        "degraded": result.degraded,
        # Those of a source that was scanned are worked out again by whoever reads it.
        "reasons": list(result.reasons) if result.error is not None else None,
        "error": None if result.error is None else asdict(result.error),
    }


def partial_files(folder: Path) -> Iterator[Path]:
    """What a guardian that was killed left half-written."""
    # The names that `files.replacing` gives to a file in the making.
    return folder.glob(".*.parquet.*.part")
