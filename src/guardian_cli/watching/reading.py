"""What `guardian monitor` is given: files of results, and stores of features."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from guardian_cli.errors import UsageError
from guardian_cli.reports.document import to_dict
from guardian_cli.reports.results_file import stream_results
from guardian_cli.store.reader import StoreReader
from guardian_cli.store.replay import Replay
from guardian_cli.store.rescoring import Rescorer
from guardian_cli.watching.observations import Collector, Observations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.settings import Settings
    from guardian_cli.store.reader import Block


def read_observations(
    paths: Iterable[Path], settings: Settings, note: Callable[[str], None] = lambda _: None
) -> Observations:
    """Read results and stores, several as if they were one. Raises UsageError.

    A store is decided again by the settings as they are now, so that two of them differ in their
    videos alone.
    """
    collector = Collector()
    for path in paths:
        if path.is_dir():
            read_store(path, settings, collector, note)
        # Streamed: a million results, of which a few numbers each are kept.
        elif path.is_file():
            for result in stream_results(path):
                collector.add(result)
        else:
            raise UsageError(
                f"{path}: no such results file or store", hint="guardian scan … --jsonl > FILE"
            )
    return collector.observations()


def read_store(
    folder: Path, settings: Settings, collector: Collector, note: Callable[[str], None]
) -> None:
    """Add every source of a store. Raises UsageError for a folder that is none."""
    reader = StoreReader(folder)
    rows = reader.index()
    if not rows:
        raise UsageError(f"{folder} holds no source", hint="guardian scan … --store DIR fills it")
    replay = Replay(settings, Rescorer(settings, None, folder, note))
    for block in reader.blocks(rows, features=True):
        # Features of two models have nothing to do with each other, however alike the videos are.
        clip = block.provenance["clip"]
        collector.of_one_model(clip["weights"] if clip is not None else None, str(folder))
        moments = block.text("stored_at_ns")
        means = mean_features(block)
        for result, moment_ns, mean in zip(replay.decide(block), moments, means, strict=True):
            element = to_dict(result)
            # When it was scanned, not when it was decided again.
            when = datetime.fromtimestamp(moment_ns / 1e9, tz=UTC).isoformat()
            element["made"] = {**(element.get("made") or {}), "when": when}
            collector.add(element, mean)


def mean_features(block: Block) -> list[NDArray[np.float32] | None]:
    """The mean of each source's frames, by the first view of each (D,); None without features."""
    import numpy as np

    vectors, _, begins, counts = block.features()
    found: list[NDArray[np.float32] | None] = []
    for at in range(len(block)):
        frames = slice(int(block.offsets[at]), int(block.offsets[at + 1]))
        views = begins[frames][counts[frames] > 0]
        found.append(vectors[views].mean(axis=0, dtype=np.float32) if len(views) else None)
    return found
