"""Scripted videos, scanned into a store and without one, by fake detectors and no command line."""

from __future__ import annotations

import functools
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from guardian_cli.console import Console
from guardian_cli.detectors.detector_set import DetectorSet
from guardian_cli.media.frames import Coverage, DecodeSettings, Frame, MediaFacts
from guardian_cli.media.sources import Source
from guardian_cli.media.worker.sampling import WindowCursor
from guardian_cli.scanning.decoder_pool import DecoderPool
from guardian_cli.scanning.pipeline import ScanRequest
from guardian_cli.scanning.provenance import Provenance
from guardian_cli.scanning.scorer import Scorer
from guardian_cli.scanning.source import scan_source
from guardian_cli.settings import load_settings
from guardian_cli.store.reader import StoreReader
from guardian_cli.store.replay import Replay
from guardian_cli.store.rescoring import Rescorer
from guardian_cli.store.writer import StoreWriter
from tests.scanning.harness import scan_context

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from guardian_cli.detectors.base import Detector
    from guardian_cli.media.frames import Window
    from guardian_cli.scanning.observer import SourceObserver
    from guardian_cli.settings import Settings
    from guardian_cli.verdict.result import ScanResult

FPS = 10


@dataclass
class ScriptedDecoder:
    """A video with a picture of one brightness (0..255) every 1 / FPS seconds."""

    levels: Sequence[int]

    def open(self, location: str, settings: DecodeSettings) -> ScriptedDecoding:
        return ScriptedDecoding(self.levels, settings.every_s)

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class ScriptedDecoding:
    """It, being decoded."""

    levels: Sequence[int]
    every_s: float
    facts: MediaFacts | None = None
    _all: list[Frame] = field(default_factory=list)

    @property
    def coverage(self) -> Coverage:
        length_s = len(self.levels) / FPS
        return Coverage(
            length_s, "full", len(self.levels), 0, self.every_s, reached_end=True, complete=True
        )

    def frames(self) -> Iterator[Frame]:
        self.facts = MediaFacts("video", 8, 8, len(self.levels) / FPS, "drawn", 0)
        self._all = [
            Frame(at / FPS, np.full((8, 8, 3), level, np.uint8), (at + 1) / FPS)
            for at, level in enumerate(self.levels)
        ]
        due_s = 0.0
        for at, frame in enumerate(self._all):
            if frame.time_s >= due_s - 1e-6 or at == len(self._all) - 1:
                due_s += self.every_s
                yield frame

    def refine(self, windows: Sequence[Window], step_s: float) -> Iterator[Frame]:
        cursor = WindowCursor(windows, step_s)
        for frame in self._all:
            if cursor.wants(frame.time_s):
                yield frame

    def close(self) -> None:
        """Nothing is held."""


def settings_of(folder: Path, text: str = "") -> Settings:
    """Settings from a guardian.yaml of this text and nothing else."""
    file = folder / "guardian.yaml"
    file.write_text(text, encoding="utf-8")
    return load_settings(file, environ={}, folder=folder)


def scan_scripts(
    scripts: Sequence[Sequence[int]],
    settings: Settings,
    detectors: Sequence[Detector],
    folder: Path,
    store: Path | None = None,
) -> list[ScanResult]:
    """Scan scripted videos one after another; into a store, if one is named."""
    config = settings.config
    thresholds = {name: one.thresholds for name, one in config.categories.items()}
    provenance = Provenance(ScanRequest(sources=()), settings, DetectorSet(list(detectors)))
    writer = None
    if store is not None:
        writer = StoreWriter(store)
        writer.begin(provenance.kept())
    results = []
    with Scorer(thresholds, config.fusion) as scorer:
        scorer.start(detectors)
        for number, levels in enumerate(scripts):
            source = Source("file", str(folder / f"{number}.mp4"), f"{number}.mp4")
            (folder / f"{number}.mp4").write_bytes(bytes(levels))
            recorders = () if writer is None else (writer.observe(source, number),)
            more: dict[str, Any] = {
                "thresholds": thresholds,
                "policy": config.policy,
                "decoding": DecodeSettings(every_s=config.scan.every, short_side_px=8),
                "made": provenance.made,
                "observers": functools.partial(_always, recorders),
            }
            pool = DecoderPool(1, functools.partial(ScriptedDecoder, levels))
            with closing(pool), pool.lease() as lease:
                result = scan_source(source, scan_context(scorer, **more), lease)
            assert result is not None
            results.append(result)
    if writer is not None:
        writer.close()
    return results


def _always(recorders: Sequence[SourceObserver], _: Source) -> Sequence[SourceObserver]:
    return recorders


def replay(store: Path, settings: Settings, **more: Any) -> list[ScanResult]:
    """Decide again about everything in a store, in the order in which it was scanned."""
    reader = StoreReader(store)
    rows = reader.index()
    again = Replay(settings, Rescorer(settings, None, store, Console(quiet=True).note), **more)
    results = {
        result.source: result for block in reader.blocks(rows) for result in again.decide(block)
    }
    return [results[row.source] for row in rows]
