"""guardian inside another program: `from guardian_cli import Scanner`.

    with Scanner.from_config("guardian.yaml") as scanner:
        result = scanner.scan("video.mp4")
        if result.verdict == "block": ...

The same use-case as `guardian scan`, quiet: nothing is printed, no signal handler is set, and the
process is never ended. What is wrong with a source is a result whose verdict is `error`; what is
wrong with the configuration or the installation is raised, as a class of `guardian_cli.errors`.
"""

from __future__ import annotations

import io
import itertools
import os
import threading
import weakref
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, get_args

from guardian_cli.console import Console
from guardian_cli.detectors.clip.hardware import DEVICES, PRECISIONS, Device, Precision
from guardian_cli.errors import SourceError, UsageError
from guardian_cli.evidence.folder import EvidenceFolder
from guardian_cli.evidence.stills import keep_stills
from guardian_cli.media.frames import DecodeMode
from guardian_cli.media.sources import expand_sources, find_source
from guardian_cli.reports.document import to_dict
from guardian_cli.reports.formats import BatchReport
from guardian_cli.reports.results_file import key_of
from guardian_cli.scanning.pipeline import (
    MAX_DOWNLOAD_BYTES,
    ScanRequest,
    WorkerThreads,
    check_request,
    options_without_effect,
)
from guardian_cli.scanning.scorer import ScoringStopped
from guardian_cli.scanning.session import ScanSession
from guardian_cli.settings import load_settings, scan_flags
from guardian_cli.store.writer import StoreWriter
from guardian_cli.verdict.result import ScanResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from guardian_cli.media.sources import Source
    from guardian_cli.scanning.observer import SourceObserver
    from guardian_cli.settings import Settings

_CHOICES = {"decode": get_args(DecodeMode), "device": DEVICES, "precision": PRECISIONS}

# Whoever scans inside a service scans what strangers name.
DEFAULTS = {"scan": {"private_addresses": "refuse"}}


@dataclass(frozen=True, slots=True)
class Result(ScanResult):
    """What became of one source; `to_dict` gives it as an element of guardian.scan/1."""

    def to_dict(self) -> dict[str, Any]:
        """Return what `guardian scan --json` has of this source in `scans`."""
        return to_dict(self)


class Scanner:
    """Scans videos and images with models that are loaded once. Thread-safe.

    Make it with `from_config`. Nothing heavy is imported or loaded before the first scan, or
    `load`. Use it as a context manager, or `close` it: decoders are processes of their own.
    """

    def __init__(self, request: ScanRequest, settings: Settings) -> None:
        """Take what the command line would say, without sources, and what the settings are."""
        if not settings.config.categories:
            raise UsageError("no category is left to score: the settings switch them all off")
        check_request(request)
        self._request = request
        self._settings = settings
        self._lock = threading.Lock()
        self._session: ScanSession | None = None
        # By source: the elements of the report, where there is one.
        self._elements: dict[str, dict[str, Any]] = {}
        self._close: weakref.finalize[..., Scanner] | None = None
        self._closed = False

    @classmethod
    def from_config(
        cls,
        config: str | os.PathLike[str] | None = None,
        *,
        every_s: float | None = None,
        categories: Sequence[str] | None = None,
        decode: DecodeMode = "fast",
        frames: bool = False,
        offline: bool = False,
        endpoints: bool = True,
        deployment: str | None = None,
        model: str | None = None,
        pretrained: str | os.PathLike[str] | None = None,
        model_config: str | os.PathLike[str] | None = None,
        device: Device = "auto",
        precision: Precision = "auto",
        workers: int | None = None,
        timeout_s: float | None = None,
        for_s: float | None = None,
        max_bytes: int = MAX_DOWNLOAD_BYTES,
        store: str | os.PathLike[str] | None = None,
        report: str | os.PathLike[str] | None = None,
        stills: bool = True,
    ) -> Self:
        """Read the settings as `guardian scan` does; the keywords are its options, and win.

        `config` is a guardian.yaml; without it, the one that GUARDIAN_CONFIG names or that is in
        the current folder. `every_s` is the sampling interval, `timeout_s` the decoding time for a
        source and `for_s` how long a live stream is watched, all in seconds. `categories` chooses
        these and no others. `frames` keeps every scored frame in the result. `offline` touches no
        network, `endpoints=False` calls no model endpoint. `workers` sources are decoded side by
        side; without it, one for each core. Nothing larger than `max_bytes` is fetched. `store` is
        a folder that keeps what `guardian replay` decides from again; `report` one for the evidence
        sheet of all that is scanned, which is written by `close`, with `stills` or without.

        Raises ConfigError for settings that are wrong or not there, and UsageError.
        """
        flags = scan_flags(
            every=every_s,
            timeout_s=timeout_s,
            model=model,
            pretrained=os.fspath(pretrained) if pretrained else None,
        )
        for name, number in (("workers", workers), ("max_bytes", max_bytes)):
            if number is not None and number < 1:
                raise UsageError(f"{name} must be at least 1, not {number}")
        # What a type checker would say; an unknown name must not end as some default.
        for name, value in (("decode", decode), ("device", device), ("precision", precision)):
            if value not in _CHOICES[name]:
                known = ", ".join(_CHOICES[name])
                raise UsageError(f"{name} is one of {known}, not {value!r}")
        if isinstance(categories, str):
            raise UsageError(f"categories is a list of names: [{categories!r}]")
        request = ScanRequest(
            sources=(),
            flags=flags,
            output="json",
            frames=frames,
            decode=decode,
            model_config=Path(model_config) if model_config else None,
            device=device,
            precision=precision,
            no_endpoints=not endpoints,
            offline=offline,
            deployment=deployment,
            workers=workers,
            for_s=for_s,
            max_bytes=max_bytes,
            store=Path(store) if store else None,
            report=Path(report) if report else None,
            stills=stills,
        )
        file = Path(config) if config else None
        settings = load_settings(file, flags=flags, categories=categories, defaults=DEFAULTS)
        return cls(request, settings)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user of these settings should know, in lines; more of it is known after `load`.

        A detector that is not available is among them; what became of detectors on one source is in
        its result.
        """
        return (
            *self._settings.warnings,
            *options_without_effect(self._request, self._settings),
            *(text for text, _ in (self._session.warnings if self._session else ())),
        )

    def load(self) -> None:
        """Load the models now instead of at the first scan; does nothing when they are.

        Raises MissingError when nothing that is installed could score a frame, and UsageError.
        """
        self._loaded()

    def scan(self, source: str | os.PathLike[str]) -> Result:
        """Scan a file or an address, in this thread; several threads may each scan at once.

        Raises what `load` does, and UsageError for a folder and once the scanner is closed.
        """
        one = find_source(os.fspath(source))
        # Before any model is loaded: a wrong argument must not take half a minute to be told.
        check_request(self._request, [one])
        return self._scan(self._loaded(), one)

    def scan_many(
        self, sources: Iterable[str | os.PathLike[str]] | str | os.PathLike[str]
    ) -> Iterator[Result]:
        """Scan files, folders, globs and addresses side by side; yield results as they end.

        Each source comes once, as with `guardian scan`. Whoever stops reading begins no further
        sources. Raises what `scan` does, and UsageError for a folder or glob with nothing in it.
        """
        # A name is iterable, too, and its letters are nobody's sources.
        several = (sources,) if isinstance(sources, str | os.PathLike) else sources
        # There is no list on stdin for a library: it is a name like any other.
        named = [one if (one := os.fspath(source)) != "-" else "./-" for source in several]
        found = expand_sources(named, offline=self._request.offline) if named else []
        session = self._loaded()
        count = min(session.slots, len(found))
        threads = WorkerThreads(found, lambda source: self._scan(session, source), count)

        # A generator inside: what is wrong with the sources is raised by the call itself, not when
        # the caller first asks for a result.
        def results() -> Iterator[Result]:
            threads.start()
            try:
                yield from threads.results()
            finally:
                threads.stop()

        return results()

    def close(self) -> None:
        """End decoders and scoring, and write the report; scans under way raise UsageError.

        May be called again. Raises UsageError where the report can't be written.
        """
        with self._lock:
            self._closed = True
            close = self._close
        if close is not None:
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _loaded(self) -> ScanSession:
        with self._lock:
            if self._closed:
                raise UsageError("this Scanner is closed")
            if self._session is None:
                with ExitStack() as stack:
                    self._session = self._open(stack)
                    # Also at the end of the process: no thread may be in the middle of a model.
                    self._close = weakref.finalize(self, stack.pop_all().close)
            return self._session

    def _open(self, stack: ExitStack) -> ScanSession:
        """Load all that scans, to be ended by `stack`."""
        # The process's own streams are left alone, down to their encoding's errors.
        console = Console(quiet=True, out=io.StringIO(), err=io.StringIO())
        request, config, elements = self._request, self._settings.config, self._elements
        store = StoreWriter(request.store) if request.store is not None else None
        sheet = None
        if request.report is not None:
            sheet = EvidenceFolder(request.report, keep_stills=request.stills)
            stack.enter_context(sheet)
            # Not by way of `self`, which would then never be let go.
            stack.callback(_write_sheet, sheet, elements)
        # A store wants the order in which sources came; `next` on this is atomic.
        numbers = itertools.count()

        def observers(source: Source) -> list[SourceObserver]:
            recorders = [] if store is None else [store.observe(source, next(numbers))]
            return [*recorders, *keep_stills(config, on_stills)]

        on_stills = sheet.save_stills if sheet and request.stills else None
        session = ScanSession(request, self._settings, console, observers=observers)
        if store is not None:
            stack.callback(store.close)
        stack.callback(session.close)
        session.load(None if store is None else store.begin)
        return session

    def _scan(self, session: ScanSession, source: Source) -> Result:
        try:
            if source.kind == "stream" and self._request.for_s is None:
                error = SourceError("a stream has no end: for_s says how long", kind="unsupported")
                result: ScanResult | None = session.fail(source, error)
            else:
                result = session.scan(source)
        except ScoringStopped:
            raise UsageError("this Scanner was closed while it scanned") from None
        # None is for a result that is kept elsewhere, and nothing is.
        assert result is not None  # noqa: S101
        if self._request.report is not None:
            element = to_dict(result)
            self._elements[key_of(element)] = element
        # Field by field, not `asdict`, which would turn what is in it into dictionaries.
        return Result(**{one.name: getattr(result, one.name) for one in fields(result)})


def _write_sheet(sheet: EvidenceFolder, elements: Mapping[str, dict[str, Any]]) -> None:
    """Write the pages of all that was scanned, if anything was."""
    scans = list(elements.values())
    if scans:
        sheet.write(BatchReport(scans, len(scans)))
