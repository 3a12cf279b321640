"""One source from its name to its result: open, sample, score, refine, judge."""

from __future__ import annotations

import errno
import hashlib
import math
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from guardian_cli.detectors.registry import report_order
from guardian_cli.errors import GuardianError, SourceError
from guardian_cli.media.frames import Coverage
from guardian_cli.scanning.samples import TIME_DIGITS, SampleCollector
from guardian_cli.scanning.scorer import ScoringStopped
from guardian_cli.verdict.category import review_level
from guardian_cli.verdict.policy import count_pictures, for_source, judge
from guardian_cli.verdict.result import DetectorReport, ScanResult, SourceFailure, Timing
from guardian_cli.verdict.timeline import REFINE_FACTOR, join_windows, windows_to_refine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from guardian_cli.config import PolicySection
    from guardian_cli.detectors.detector_set import DetectorSet
    from guardian_cli.media.frames import DecodeSettings, Decoding, Frame, Window
    from guardian_cli.media.sources import Source
    from guardian_cli.progress import ScanProgress
    from guardian_cli.scanning.decoder_pool import DecoderLease
    from guardian_cli.scanning.observer import SourceObserver
    from guardian_cli.scanning.scorer import Scorer
    from guardian_cli.verdict.result import Outcome
    from guardian_cli.verdict.thresholds import Thresholds
    from guardian_cli.verdict.timeline import Sample

# How often, and for how many scores at a time, a level is looked for.
_LEVEL_ROUNDS = 8
_LEVEL_STEPS = 4
_UNSCANNABLE = {
    "unsupported": ("unsupported", "only http, s3, gs, az, hf and rtsp addresses can be scanned"),
    "closed": ("unreadable", "this folder cannot be read"),
    "empty": ("empty", "no video or image in this folder"),
    "missing": ("missing", "no such file"),
}


@dataclass(frozen=True, slots=True)
class ScanContext:
    """What every source of a run is scanned with; `fetch` brings an address into a folder.

    `made` says what makes a source's result, once the detectors are known. `is_done` says whether a
    result that is kept still stands, given the SHA-256 of the source's content in hex. `levels`
    asks for each category's `level`. `observers` makes those that watch a source.
    """

    thresholds: Mapping[str, Thresholds]
    policy: PolicySection
    detector_set: DetectorSet
    scorer: Scorer
    decoding: DecodeSettings
    progress: ScanProgress
    fetch: Callable[[str, Path], Path]
    made: Callable[[Source], Mapping[str, Any]]
    is_done: Callable[[Source, str | None], bool]
    keep_frames: bool = False
    levels: bool = False
    offline: bool = False
    refuses_private: bool = False
    observers: Callable[[Source], Sequence[SourceObserver]] = lambda _: ()


def scan_source(source: Source, context: ScanContext, lease: DecoderLease) -> ScanResult | None:
    """Scan one source; what is wrong with it becomes a result, never an exception.

    None where the result that is kept of it still stands.
    """
    observers = context.observers(source)
    scan = _SourceScan(source, context, lease, observers)
    result = _run(scan)
    if result is not None:
        for observer in observers:
            observer.on_result(result)
    return result


def fail_source(
    source: Source, context: ScanContext, lease: DecoderLease, error: SourceError
) -> ScanResult:
    """Return the result of a source that is not even tried."""
    return _SourceScan(source, context, lease, ()).failure(error)


def _run(scan: _SourceScan) -> ScanResult | None:
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
        # No fault of this source: the run ends.
        raise
    except Exception as error:  # noqa: BLE001 - a bug met in one file must not stop the rest
        message = f"unexpected {type(error).__name__}: {error}"
        return scan.failure(SourceError(message, kind="internal"))
    finally:
        if scan.decoding is not None:
            scan.decoding.close()
        scan.context.progress.finished(scan.source.shown)


class _SourceScan:
    """One source's scan in the making; `decoding` is there once the source is open."""

    def __init__(
        self,
        source: Source,
        context: ScanContext,
        lease: DecoderLease,
        observers: Sequence[SourceObserver],
    ) -> None:
        self.decoding: Decoding | None = None
        self.source = source
        self.context = context
        self.lease = lease
        self.collector = SampleCollector(context.scorer, self.show_progress, observers)
        self.sha256: str | None = None
        self.timed_out: str | None = None
        self.started_s = time.perf_counter()
        self.decode_s = self.collect_s = 0.0

    def run(self) -> ScanResult | None:
        """Return the result, None where the one that is kept stands.

        Raises SourceError for what cannot be scanned and OSError for what cannot be read.
        """
        source, context = self.source, self.context
        if source.kind in _UNSCANNABLE:
            kind, message = _UNSCANNABLE[source.kind]
            raise SourceError(message, kind=kind)
        if source.kind == "file":
            return self.scan_file(Path(source.location))
        if context.offline:
            verb = "opened" if source.kind == "stream" else "fetched"
            raise SourceError(f"not {verb}: --offline touches no network", kind="offline")
        if source.kind == "stream":
            if context.refuses_private:
                # FFmpeg itself connects, and follows where the server sends it.
                message = "not opened: nothing keeps a stream from leading to a private address"
                message += " (scan.private_addresses: refuse)"
                raise SourceError(message, kind="private")
            return self.scan(source.location)
        with tempfile.TemporaryDirectory(prefix="guardian-") as folder:
            with self.lease.pool.download_slot():
                path = context.fetch(source.location, Path(folder))
                # Kept until it is this file's turn: what lies there takes disk as well.
                self.lease.start()
            return self.scan_file(path)

    def scan_file(self, path: Path) -> ScanResult | None:
        self.lease.start()
        # A pipe or a device can be read once only, and that is for the decoder.
        if path.is_file():
            with path.open("rb") as file:
                self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if self.context.is_done(self.source, self.sha256):
            return None
        return self.scan(str(path))

    def scan(self, location: str) -> ScanResult:
        context = self.context
        decoding = self.decoding = self.lease.start().open(location, context.decoding)
        first = self.score(self.until_timeout(decoding))
        review = {n: one.review for n, one in for_source(context.thresholds, first).items()}
        every_s = context.decoding.every_s
        refined = self.refine(decoding, first, windows_to_refine(first, review, every_s))
        detectors, coverage = self.detectors(), decoding.coverage
        # A verdict that rests on a part of the source says so.
        if self.timed_out is not None:
            coverage = replace(
                coverage,
                reached_end=False,
                complete=False,
                timed_out=True,
                notes=(self.timed_out, *coverage.notes),
            )
        verdict = judge(
            first,
            refined,
            thresholds=context.thresholds,
            policy=context.policy,
            coverage=coverage,
            every_s=every_s,
            detectors=detectors,
            kind=self.kind,
            offline=context.offline,
        )
        categories = verdict.categories
        if context.levels:
            levels, pictures = self.levels(decoding, first, refined), count_pictures(first)
            categories = {
                name: replace(one, level=levels[name], pictures=pictures)
                for name, one in categories.items()
            }
        coverage = replace(coverage, frames_scored=len(first) + len(refined))
        return replace(
            self.result(verdict.verdict, verdict.reasons, coverage, detectors),
            degraded=verdict.degraded,
            categories=categories,
            samples=(*first, *refined) if context.keep_frames else None,
            every_s=every_s,
        )

    def until_timeout(self, decoding: Decoding) -> Iterator[Frame]:
        """Pass frames on up to the time-out: what was seen by then is evidence, if anything was."""
        last: Frame | None = None
        try:
            for frame in decoding.frames():
                last = frame
                yield frame
        except SourceError as error:
            if error.kind != "timeout" or last is None:
                raise
            length_s = decoding.coverage.duration_s
            of = f" of {length_s:.1f} s" if length_s is not None else ""
            self.timed_out = f"time-out, {error}: seen up to {last.time_s:.1f} s{of}"

    def refine(
        self, decoding: Decoding, first: Sequence[Sample], windows: Sequence[Window]
    ) -> list[Sample]:
        """Sample more densely inside the windows, if there are any."""
        if self.kind == "image" or not windows:
            return []
        step_s = self.context.decoding.every_s / REFINE_FACTOR
        times = {round(sample.time_s, TIME_DIGITS) for sample in first}

        def new_frames() -> Iterator[Frame]:
            try:
                for frame in decoding.refine(windows, step_s):
                    if round(frame.time_s, TIME_DIGITS) not in times:
                        yield frame
            except SourceError:
                # What could not be refined stays unconfirmed, which counts for review.
                return

        self.lease.start()
        return self.score(new_frames(), is_refined=True)

    def levels(
        self, decoding: Decoding, first: Sequence[Sample], refined: Sequence[Sample]
    ) -> dict[str, float | None]:
        """Return each category's `level`, after a closer look at whatever may be isolated there.

        What a scan would refine depends on the threshold: so from the highest score down, until
        nothing is left to look at, or it has been looked for long enough.
        """
        every_s, end_s = self.context.decoding.every_s, decoding.coverage.duration_s or 0.0
        refined = list(refined)
        seen: set[Window] = set()
        for _ in range(_LEVEL_ROUNDS):
            windows: set[Window] = set()
            levels = {
                name: review_level(name, first, refined, every_s=every_s, end_s=end_s)
                for name in self.context.thresholds
            }
            for name, level in levels.items():
                scores = {one.fused(name) or 0.0 for one in first}
                below = sorted((s for s in scores if s <= (level or 0.0)), reverse=True)
                for at in below[:_LEVEL_STEPS]:
                    windows.update(windows_to_refine(first, {name: at}, every_s))
            more = self.refine(decoding, first, join_windows(windows - seen))
            seen |= windows
            known = {one.time_s for one in refined}
            more = [one for one in more if one.time_s not in known]
            if not more:
                break
            refined += more
        return levels

    def score(self, frames: Iterator[Frame], *, is_refined: bool = False) -> list[Sample]:
        started_s = time.perf_counter()
        try:
            return self.collector.collect(self.timed(frames), is_refined=is_refined)
        finally:
            self.collect_s += time.perf_counter() - started_s

    def timed(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Measure how long frames take to decode; after the last, let the next source decode."""
        while True:
            before_s = time.perf_counter()
            frame = next(frames, None)
            self.decode_s += time.perf_counter() - before_s
            if frame is None:
                break
            yield frame
        # An image has nothing to refine, so the next source may have its decoder.
        if self.kind == "image":
            self.lease.finish()
        else:
            self.lease.pause()

    @property
    def kind(self) -> Literal["video", "image"]:
        facts = self.decoding.facts if self.decoding else None
        return facts.kind if facts else "video"

    def show_progress(self, time_s: float) -> None:
        duration_s = self.decoding.coverage.duration_s if self.decoding else None
        self.context.progress.frame(self.source.shown, time_s, duration_s)

    def failure(self, error: SourceError) -> ScanResult:
        """Return the result that says why there is none."""
        coverage = Coverage(None, self.context.decoding.mode)
        if self.decoding is not None:
            coverage = replace(self.decoding.coverage, timed_out=error.kind == "timeout")
        result = self.result("error", (str(error),), coverage, self.detectors())
        return replace(result, error=SourceFailure(error.kind, str(error)))

    def result(
        self,
        verdict: Outcome,
        reasons: tuple[str, ...],
        coverage: Coverage,
        detectors: tuple[DetectorReport, ...],
    ) -> ScanResult:
        wall_s = time.perf_counter() - self.started_s
        return ScanResult(
            source=self.source.shown,
            source_id=self.source.identity,
            sha256=self.sha256,
            verdict=verdict,
            reasons=reasons,
            degraded=False,
            media=self.decoding.facts if self.decoding else None,
            coverage=coverage,
            detectors=detectors,
            categories={},
            timing=Timing(wall_s, self.decode_s, max(0.0, self.collect_s - self.decode_s)),
            made=self.context.made(self.source),
        )

    def detectors(self) -> tuple[DetectorReport, ...]:
        """What became of each detector, guardian's own first; waits until they are known."""
        scorer, collector = self.context.scorer, self.collector
        scorer.wait_until_started()
        reports = []
        for index, detector in enumerate(scorer.detectors):
            info, reason = detector.info, collector.failures.get(index)
            report = DetectorReport(
                info.name,
                info.category,
                info.model,
                "degraded" if reason else "ok",
                reason,
                collector.scored[index],
                dict(collector.deployments[index]),
                misconfigured=index in collector.misconfigured,
                latency_ms=_percentiles_ms(collector.latencies_s[index]),
                not_sent=collector.not_sent[index],
            )
            reports.append(report)
        for absent in self.context.detector_set.absent:
            info = absent.info
            report = DetectorReport(
                info.name, info.category, info.model, absent.status, absent.reason
            )
            reports.append(report)
        return tuple(sorted(reports, key=lambda one: report_order(one.name)))


def _percentiles_ms(latencies_s: Sequence[float]) -> dict[str, float] | None:
    """The median and the 95th percentile (nearest rank), in milliseconds; None of nothing."""
    if not latencies_s:
        return None
    ordered = sorted(latencies_s)
    ranks = {"p50": 0.50, "p95": 0.95}
    return {
        name: round(1000 * ordered[math.ceil(share * len(ordered)) - 1], 1)
        for name, share in ranks.items()
    }
