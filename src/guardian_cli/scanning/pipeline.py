"""`guardian scan` from a request to an exit code: sources in, results out."""

from __future__ import annotations

import contextlib
import math
import os
import queue
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.evidence.folder import EvidenceFolder
from guardian_cli.evidence.stills import keep_stills
from guardian_cli.files import check_outputs
from guardian_cli.media.sources import SCANNED_KINDS, expand_sources
from guardian_cli.reports.text import count
from guardian_cli.scanning.interruption import Interruption
from guardian_cli.scanning.results import ResultWriter
from guardian_cli.scanning.session import ScanSession, SessionHooks
from guardian_cli.settings import calm_threads
from guardian_cli.store.writer import StoreWriter
from guardian_cli.verdict.policy import EXIT_ALLOW, exit_code

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from guardian_cli.console import Console
    from guardian_cli.evidence.stills import OnStills
    from guardian_cli.media.frames import DecodeMode
    from guardian_cli.media.sources import Source
    from guardian_cli.scanning.observer import SourceObserver
    from guardian_cli.scanning.session import Session
    from guardian_cli.scanning.shards import Shard
    from guardian_cli.settings import Settings
    from guardian_cli.verdict.policy import FailOn
    from guardian_cli.verdict.result import ScanResult

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_DOWNLOAD_BYTES = 16 << 30
# A thread that hangs in the network must not hold up the exit for longer.
MAX_SHUTDOWN_S = 5.0
CHECKPOINT_ENDINGS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """Everything the command line says; `output` is what stdout gets, `reports` go to files.

    `levels` asks for the highest `review` threshold that each category would reach.
    """

    sources: tuple[str, ...]
    flags: Mapping[str, Any] = field(default_factory=dict)
    output: Literal["table", "json", "jsonl"] = "table"
    reports: tuple[tuple[str, Path], ...] = ()
    report: Path | None = None
    stills: bool = True
    frames: bool = False
    levels: bool = False
    decode: DecodeMode = "fast"
    model_config: Path | None = None
    device: str = "auto"
    precision: str = "auto"
    no_endpoints: bool = False
    offline: bool = False
    deployment: str | None = None
    fail_on: FailOn = "review"
    workers: int | None = None
    resume: Path | None = None
    store: Path | None = None
    for_s: float | None = None
    max_bytes: int = MAX_DOWNLOAD_BYTES
    cluster: str | None = None
    shard: Shard | None = None


OpenSession = Callable[
    ["ScanRequest", "Settings", "Console", "Sequence[Source]", SessionHooks], "Session"
]


def open_here(
    request: ScanRequest,
    settings: Settings,
    console: Console,
    sources: Sequence[Source],
    hooks: SessionHooks,
) -> Session:
    """Return a session that scans in this process."""
    return ScanSession(
        request,
        settings,
        console,
        sources=len(sources),
        needs_detectors=any(one.kind in SCANNED_KINDS for one in sources),
        is_done=hooks.is_done,
        observers=lambda source: [
            *hooks.observers(source),
            *keep_stills(settings.config, hooks.on_stills),
        ],
    )


def run_scan(
    request: ScanRequest,
    settings: Settings,
    console: Console,
    open_session: OpenSession = open_here,
) -> int:
    """Scan everything that was named and return the exit code; `open_session` says where.

    Raises UsageError, MissingError and what `Console` raises when stdout can't be written.
    """
    if not settings.config.categories:
        raise UsageError(
            "no category is left to score: guardian.yaml switches them all off",
            hint="guardian --example-config shows every key",
        )
    skipped: Counter[str] = Counter()
    stdin = sys.stdin.buffer if sys.stdin else None
    sources = expand_sources(request.sources, stdin, skipped, offline=request.offline)
    check_request(request, sources)
    check_outputs(
        (path for _, path in request.reports),
        read=(settings.file, *(Path(one.location) for one in sources if one.kind == "file")),
        option="--output ",
    )
    shard: dict[str, Any] | None = None
    names: dict[str, str] = {}
    if request.shard is not None:
        sources, shard, names = request.shard.take(sources)
        part = f"{shard['sources']} of {count(shard['all_sources'], 'source')}"
        console.note(f"shard {request.shard}: {part}")
    for warning in (*settings.warnings, *options_without_effect(request, settings, sources)):
        console.warn(warning)
    store = StoreWriter(request.store) if request.store is not None else None
    if store is not None and request.resume is not None:
        store.read_index()
    interruption = Interruption()
    folder: AbstractContextManager[EvidenceFolder | None] = nullcontext()
    if request.report is not None:
        folder = EvidenceFolder(request.report, keep_stills=request.stills)
    with (
        interruption.watched(),
        folder as sheet,
        ResultWriter(
            console,
            sources,
            request.output,
            request.reports,
            resume=request.resume,
            skipped=skipped,
            frames=request.frames,
            shard=shard,
            names=names,
            sheet=sheet,
        ) as writer,
    ):
        try:
            _scan_all(
                lambda hooks: open_session(request, settings, console, sources, hooks),
                request,
                sources,
                writer,
                console,
                interruption,
                store,
                sheet.save_stills if sheet and request.stills else None,
            )
        except BaseException as error:
            # A library that is interrupted while it is imported may raise anything; and what ended
            # before a cluster was lost is a result.
            if interruption.came or (isinstance(error, PlatformError) and writer.has_results):
                writer.finish(interrupted=True)
            raise
        verdicts = writer.finish()
        # A part may be empty, a batch may not.
        return exit_code(verdicts, request.fail_on) if sources else EXIT_ALLOW


def check_request(request: ScanRequest, sources: Sequence[Source] = ()) -> None:
    """Raise UsageError for options that make no sense, or not with these sources."""
    if request.for_s is not None and not 0 < request.for_s < math.inf:
        raise UsageError("--for must be over 0 seconds", hint="guardian scan rtsp://… --for 60")
    if request.frames and not (request.output != "table" or request.resume or request.reports):
        raise UsageError(
            "--frames has no effect on a table", hint="add --json, --jsonl or --resume FILE.jsonl"
        )
    if request.model_config is not None and not request.model_config.is_file():
        raise UsageError(f"--model-config {request.model_config}: no such file")
    pretrained = str(request.flags.get("clip", {}).get("pretrained", ""))
    # A tag of open_clip has no such ending and no folder in it.
    is_path = pretrained.endswith(CHECKPOINT_ENDINGS) or os.sep in pretrained
    if is_path and not os.path.exists(pretrained):  # noqa: PTH110 - the loader says the rest
        raise UsageError(f"--pretrained {pretrained}: no such file")
    if request.for_s is None and any(source.kind == "stream" for source in sources):
        raise UsageError(
            "a stream has no end: say how long to watch it", hint="guardian scan rtsp://… --for 60"
        )


def options_without_effect(
    request: ScanRequest, settings: Settings, sources: Sequence[Source] | None = None
) -> Iterator[str]:
    """Say which options change nothing here; without `sources`, whatever is scanned."""
    if (
        sources is not None
        and request.for_s is not None
        and not any(source.kind == "stream" for source in sources)
    ):
        yield "--for has no effect: none of the sources is a stream"
    if "clip" not in settings.config.scan.detectors:
        named = {
            **request.flags.get("clip", {}),
            **({"model-config": True} if request.model_config else {}),
            **({"device": True} if request.device != "auto" else {}),
            **({"precision": True} if request.precision != "auto" else {}),
        }
        for option in named:
            yield f"--{option} has no effect: clip is not in scan.detectors"


def _scan_all(
    open_session: Callable[[SessionHooks], Session],
    request: ScanRequest,
    sources: Sequence[Source],
    writer: ResultWriter,
    console: Console,
    interruption: Interruption,
    store: StoreWriter | None,
    on_stills: OnStills | None,
) -> None:
    if not sources:
        # A part of a batch that holds none.
        return
    calm_threads()
    numbers = {source: number for number, source in enumerate(sources)}

    def is_done(source: Source, sha256: str | None, fingerprint: Callable[[], str]) -> bool:
        # What is held but not stored, as after a scan without a store, is scanned again.
        if store is not None and request.resume and not store.holds(source, sha256, fingerprint):
            return False
        return writer.is_done(source, sha256, fingerprint)

    def observers(source: Source) -> list[SourceObserver]:
        return [] if store is None else [store.observe(source, numbers[source])]

    with ExitStack() as stack:
        stack.callback(console.end_progress)
        session = open_session(SessionHooks(is_done, writer.held, observers, on_stills))
        threads = WorkerThreads(sources, session.scan, min(session.slots, len(sources)))
        # From the last line up: begin nothing more, wake whoever waits, then see all of them gone.
        stack.callback(threads.join, MAX_SHUTDOWN_S)
        stack.callback(session.close)
        stack.callback(threads.stop)
        # The first frames are decoded while the model loads.
        threads.start()
        session.load(None if store is None else store.begin)
        for warning, hint in session.warnings:
            console.warn(warning, hint)
        # One that came while a model was loaded may have been swallowed there.
        interruption.check()
        _write_results(threads, session, writer, console, interruption)
        if store is not None:
            store.close()
            for path in store.list_damaged():
                console.warn(
                    f"a file of the store is damaged, and is {path} now",
                    "scan with --resume and --store: what it held is scanned again",
                )


def _write_results(
    threads: WorkerThreads[Source, ScanResult],
    session: Session,
    writer: ResultWriter,
    console: Console,
    interruption: Interruption,
) -> None:
    """Write every result as it ends, and say at the end how the endpoints did."""
    degraded: set[tuple[str, str | None]] = set()
    try:
        for result in threads.results():
            with interruption.held():
                writer.put(result)
                degraded |= {
                    (d.name, d.category) for d in result.detectors if d.status == "degraded"
                }
    except KeyboardInterrupt:
        # What has ended already is not thrown away.
        for result in threads.finished():
            writer.put(result)
        raise
    for info, summary in session.summaries():
        is_degraded = (info.name, info.category) in degraded
        (console.warn if is_degraded else console.note)(summary)


class WorkerThreads(Generic[Item, Result]):
    """Runs `work(item)` over items in `count` threads and gives the results as they end.

    What `work` raises is raised out of `results`, and ends them all; None is no result.
    """

    def __init__(
        self, items: Iterable[Item], work: Callable[[Item], Result | None], count: int
    ) -> None:
        self._items = iter(items)
        self._work = work
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._ended: queue.SimpleQueue[Result | BaseException | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"source-{number}", daemon=True)
            for number in range(count)
        ]

    def start(self) -> None:
        """Begin the work."""
        for thread in self._threads:
            thread.start()

    def results(self) -> Iterator[Result]:
        """Yield results in the order in which they end."""
        running = len(self._threads)
        while running:
            # With a time-out, so that Ctrl-C is seen on every platform.
            try:
                ended = self._ended.get(timeout=0.2)
            except queue.Empty:
                continue
            if ended is None:
                running -= 1
            elif isinstance(ended, BaseException):
                self.stop()
                raise ended
            else:
                yield ended

    def finished(self) -> Iterator[Result]:
        """Yield the results that are there already; never waits."""
        with contextlib.suppress(queue.Empty):
            while True:
                ended = self._ended.get_nowait()
                if ended is not None and not isinstance(ended, BaseException):
                    yield ended

    def stop(self) -> None:
        """Start nothing more; what runs is for `work` itself to end."""
        self._stopped.set()

    def join(self, timeout_s: float) -> None:
        """Wait until all threads have ended, `timeout_s` at the most."""
        end_s = time.monotonic() + timeout_s
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, end_s - time.monotonic()))

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                with self._lock:
                    item = next(self._items, None)
                if item is None:
                    break
                result = self._work(item)
                if result is not None:
                    self._ended.put(result)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever reads the results
            self._ended.put(error)
        finally:
            # One for each thread: how `results` knows that all have ended.
            self._ended.put(None)
