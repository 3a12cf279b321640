"""One source from its name to its result: open, sample, score, look again, judge."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from guardian_cli.detectors.registry import report_order
from guardian_cli.errors import GuardianError, SourceError
from guardian_cli.media.frames import nothing_seen
from guardian_cli.scanning.fusing import Fusing
from guardian_cli.scanning.samples import SampleCollector, frames_not_in
from guardian_cli.scanning.scorer import ScoringStopped
from guardian_cli.verdict.policy import DetectorReport, judge
from guardian_cli.verdict.result import ScanResult, SourceFailure, Timing
from guardian_cli.verdict.timeline import LOOK_FACTOR, windows_to_look_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from guardian_cli.config import Config
    from guardian_cli.detectors.detector_set import DetectorSet
    from guardian_cli.media.frames import DecodeSettings, DecodeTally, Decoding, Frame
    from guardian_cli.media.sources import Source
    from guardian_cli.scanning.decoder_pool import Place
    from guardian_cli.scanning.progress import Progress
    from guardian_cli.scanning.scorer import Scorer
    from guardian_cli.verdict.timeline import Sample

HASH_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ScanTools:
    """What every source of a run is scanned with; `fetch` brings an address into a folder.

    `made` says what makes a source's result, once the detectors are known. `is_done` says whether a
    result that is kept still stands, given the digest of the source's content.
    """

    config: Config
    panel: DetectorSet
    scorer: Scorer
    decoding: DecodeSettings
    progress: Progress
    fetch: Callable[[str, Path], Path]
    made: Callable[[Source], Mapping[str, Any] | None] = lambda _: None
    is_done: Callable[[Source, str | None], bool] = lambda *_: False
    keep_frames: bool = False
    offline: bool = False

    @property
    def fusing(self) -> Fusing:
        """How scores of several detectors become one."""
        return Fusing(self.config.categories, self.config.fusion)


@dataclass(slots=True)
class _Stopwatch:
    """Time spent waiting for the decoder, out of all the time a source took."""

    started_s: float = field(default_factory=time.perf_counter)
    decode_s: float = 0.0
    collect_s: float = 0.0

    def timed(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        while True:
            before_s = time.perf_counter()
            frame = next(frames, None)
            self.decode_s += time.perf_counter() - before_s
            if frame is None:
                return
            yield frame

    def collected(self, collector: SampleCollector, frames: Iterator[Frame]) -> list[Sample]:
        before_s = time.perf_counter()
        try:
            return collector.collect(self.timed(frames))
        finally:
            self.collect_s += time.perf_counter() - before_s

    def timing(self) -> Timing:
        wall_s = time.perf_counter() - self.started_s
        return Timing(wall_s, self.decode_s, max(0.0, self.collect_s - self.decode_s))


@dataclass(slots=True)
class _Scan:
    """One source's scan in the making."""

    source: Source
    tools: ScanTools
    place: Place
    watch: _Stopwatch = field(default_factory=_Stopwatch)
    sha256: str | None = None
    decoding: Decoding | None = None
    collector: SampleCollector | None = None
    late: str | None = None

    def run(self) -> ScanResult | None:
        if self.source.kind == "stream":
            return self.scan(self.source.location)
        if self.source.kind == "url":
            with tempfile.TemporaryDirectory(prefix="guardian-") as folder:
                return self.scan_file(self.place.fetched(lambda: self.fetch(Path(folder))))
        if self.source.kind == "file":
            return self.scan_file(Path(self.source.location))
        raise _not_scannable(self.source)

    def fetch(self, folder: Path) -> Path:
        if self.tools.offline:
            raise SourceError("not fetched: --offline touches no network", kind="offline")
        return self.tools.fetch(self.source.location, folder)

    def scan_file(self, path: Path) -> ScanResult | None:
        self.place.begin()
        self.sha256 = digest_of(path)
        if self.tools.is_done(self.source, self.sha256):
            return None
        return self.scan(str(path))

    def scan(self, location: str) -> ScanResult:
        if self.source.kind == "stream" and self.tools.offline:
            raise SourceError("not opened: --offline touches no network", kind="offline")
        self.decoding = self.place.begin().open(location, self.tools.decoding)
        self.collector = SampleCollector(self.tools.scorer, self.tools.fusing, self.note_progress)
        frames = self.in_time(self.decoding.frames())
        first = self.watch.collected(self.collector, self.handed_in(frames))
        second = self.look_again(first)
        return self.result(first, second)

    def handed_in(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Let the next source be decoded once these frames have ended; a video may go on later."""
        yield from frames
        self.place.pause(for_good=self.kind == "image")

    def in_time(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Pass frames on up to the time-out: what was seen by then is evidence, if anything was."""
        last: Frame | None = None
        try:
            for frame in frames:
                last = frame
                yield frame
        except SourceError as error:
            if error.kind != "timeout" or last is None:
                raise
            length_s = self.decoding.tally.duration_s if self.decoding else None
            of = f" of {length_s:.1f} s" if length_s is not None else ""
            self.late = f"time-out, {error}: seen up to {last.time_s:.1f} s{of}"

    def note_progress(self, time_s: float) -> None:
        decoding = self.decoding
        duration_s = decoding.tally.duration_s if decoding else None
        self.tools.progress.frame(self.source.shown, time_s, duration_s)

    def look_again(self, first: Sequence[Sample]) -> list[Sample]:
        """Look densely around hot samples that stand alone; none where that can't be done."""
        decoding, collector = self.decoding, self.collector
        if decoding is None or collector is None or self.kind == "image":
            return []
        review = {name: limits.review for name, limits in self.tools.config.categories.items()}
        every_s = self.tools.decoding.every_s
        windows = windows_to_look_at(first, review, every_s)
        if not windows:
            return []
        step_s = every_s / LOOK_FACTOR
        self.place.resume()
        again = self.handed_in(_as_far_as_it_goes(decoding.look_again(windows, step_s)))
        return self.watch.collected(collector, frames_not_in(first, again))

    def tally(self, decoding: Decoding) -> DecodeTally:
        """What was seen, with the time-out if there was one."""
        if self.late is None:
            return decoding.tally
        return replace(
            decoding.tally,
            reached_end=False,
            complete=False,
            timed_out=True,
            notes=(self.late, *decoding.tally.notes),
        )

    @property
    def kind(self) -> Literal["video", "image"]:
        facts = self.decoding.facts if self.decoding else None
        return facts.kind if facts else "video"

    def result(self, first: Sequence[Sample], second: Sequence[Sample]) -> ScanResult:
        decoding, config = self.decoding, self.tools.config
        if decoding is None:
            raise SourceError("no frame could be judged", kind="no-frames")
        detectors, tally = self.detectors(), self.tally(decoding)
        verdict = judge(
            first,
            second,
            limits=config.categories,
            policy=config.policy,
            tally=tally,
            every_s=self.tools.decoding.every_s,
            detectors=detectors,
            kind=self.kind,
            offline=self.tools.offline,
        )
        return ScanResult(
            source=self.source.shown,
            source_id=self.source.identity,
            sha256=self.sha256,
            verdict=verdict.verdict,
            reasons=verdict.reasons,
            degraded=verdict.degraded,
            media=decoding.facts,
            coverage=replace(tally, frames_scored=len(first) + len(second)),
            detectors=detectors,
            categories=verdict.categories,
            samples=(*first, *second) if self.tools.keep_frames else None,
            timing=self.watch.timing(),
            every_s=self.tools.decoding.every_s,
            made=self.tools.made(self.source),
        )

    def failure(self, error: SourceError) -> ScanResult:
        decoding = self.decoding
        return ScanResult(
            source=self.source.shown,
            source_id=self.source.identity,
            sha256=self.sha256,
            verdict="error",
            reasons=(str(error),),
            degraded=False,
            media=decoding.facts if decoding else None,
            coverage=replace(decoding.tally, timed_out=error.kind == "timeout")
            if decoding
            else nothing_seen(self.tools.decoding.mode),
            detectors=self.detectors(),
            made=self.tools.made(self.source),
            categories={},
            samples=None,
            timing=self.watch.timing(),
            error=SourceFailure(error.kind, str(error)),
        )

    def detectors(self) -> tuple[DetectorReport, ...]:
        collector = self.collector
        self.tools.scorer.wait_until_started()
        present = []
        for index, detector in enumerate(self.tools.scorer.detectors):
            info = detector.info
            reason = collector.failures.get(index) if collector else None
            frames = collector.answered[index] if collector else 0
            status: Literal["ok", "degraded"] = "degraded" if reason else "ok"
            present.append(
                DetectorReport(
                    info.name,
                    info.category,
                    info.model,
                    status,
                    reason,
                    frames,
                    dict(collector.deployments[index]) if collector else {},
                    misconfigured=collector is not None and index in collector.misconfigured,
                )
            )
        absent = [
            DetectorReport(
                gone.info.name, gone.info.category, gone.info.model, gone.status, gone.reason
            )
            for gone in self.tools.panel.absent
        ]
        return tuple(sorted([*present, *absent], key=lambda one: report_order(one.name)))


def scan_source(source: Source, tools: ScanTools, place: Place) -> ScanResult | None:
    """Scan one source; what is wrong with it becomes a result, never an exception.

    None where the result that is kept of it still stands.
    """
    scan = _Scan(source, tools, place)
    try:
        return scan.run()
    except SourceError as error:
        return scan.failure(error)
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
            message = f"no room for temporary files in {tempfile.gettempdir()}: {reason}"
            return scan.failure(SourceError(message, kind="unwritable"))
        return scan.failure(SourceError(f"cannot be read: {reason}", kind="unreadable"))
    except (GuardianError, ScoringStopped):
        raise
    except Exception as error:  # noqa: BLE001 - a bug met in one file must not stop the rest
        message = f"unexpected {type(error).__name__}: {error}"
        return scan.failure(SourceError(message, kind="internal"))
    finally:
        if scan.decoding is not None:
            scan.decoding.close()
        tools.progress.finished(source.shown)


def _as_far_as_it_goes(frames: Iterator[Frame]) -> Iterator[Frame]:
    """What could not be looked at again stays unconfirmed, which counts for review."""
    with contextlib.suppress(SourceError):
        yield from frames


def digest_of(path: Path) -> str | None:
    """Return a file's SHA-256 in hex; None for what is no regular file."""
    if not path.is_file():
        return None
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _not_scannable(source: Source) -> SourceError:
    if source.kind == "unsupported":
        return SourceError("only http, https and rtsp addresses can be scanned", kind="unsupported")
    if source.kind == "closed":
        return SourceError("this folder cannot be read", kind="unreadable")
    if source.kind == "empty":
        return SourceError("no video or image in this folder", kind="empty")
    return SourceError("no such file", kind="missing")
