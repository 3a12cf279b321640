"""What sources are scanned with: detectors, decoders and threads that score, brought once."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from guardian_cli.addresses import AddressRule
from guardian_cli.detectors.base import DetectorOptions
from guardian_cli.detectors.detector_set import STAND_IN, DetectorSet, choose_detectors
from guardian_cli.lifecycle.model_files import version_finder
from guardian_cli.media.cloud import fetch_cloud, is_cloud
from guardian_cli.media.download import fetch_url
from guardian_cli.media.frames import DEFAULT_TIMEOUT_S, DecodeSettings
from guardian_cli.progress import ScanProgress
from guardian_cli.scanning.cascade import without_effect
from guardian_cli.scanning.decoder_pool import EXTRA_SOURCES, DecoderPool
from guardian_cli.scanning.provenance import Provenance
from guardian_cli.scanning.scorer import Scorer, ScoringStopped
from guardian_cli.scanning.source import ScanContext, fail_source, scan_source
from guardian_cli.settings import count_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from guardian_cli.console import Console
    from guardian_cli.detectors.base import DetectorInfo
    from guardian_cli.errors import SourceError
    from guardian_cli.evidence.stills import OnStills
    from guardian_cli.media.sources import Source
    from guardian_cli.scanning.observer import SourceObserver
    from guardian_cli.scanning.pipeline import ScanRequest
    from guardian_cli.scanning.results import HeldResult
    from guardian_cli.settings import Settings
    from guardian_cli.verdict.result import ScanResult


@dataclass(frozen=True, slots=True)
class SessionHooks:
    """What a session asks of the run that it is part of.

    `is_done` says whether a result that is kept still stands, given the source, the SHA-256 of its
    content in hex and a function for the fingerprint of what would scan it now; `held` what is kept
    of a source, if anything; `observers` makes those that watch a source, and need no image for it;
    `on_stills` gets the stills of a source, where they are wanted.
    """

    is_done: Callable[[Source, str | None, Callable[[], str]], bool]
    held: Callable[[Source], HeldResult | None]
    observers: Callable[[Source], Sequence[SourceObserver]]
    on_stills: OnStills | None = None


class Session(Protocol):
    """Scans sources somewhere: in this process, or on other machines."""

    @property
    def slots(self) -> int:
        """How many threads may be in `scan` at once and find something to do."""

    @property
    def warnings(self) -> Sequence[tuple[str, str | None]]:
        """What the user should know, with a hint or none; known after `load`."""

    def load(self, begin: Callable[[Mapping[str, Any]], None] | None) -> None:
        """Bring the models, and tell `begin` what makes the results; `scan` may come before."""

    def scan(self, source: Source) -> ScanResult | None:
        """Scan a source; None where the result that is kept of it stands."""

    def summaries(self) -> Sequence[tuple[DetectorInfo, str]]:
        """What detectors say at the end of a run, a line each."""

    def close(self) -> None:
        """End everything; whoever waits in `scan` gets ScoringStopped."""


class ScanSession:
    """Scans sources, one after another or side by side, with models that are loaded once.

    `scan` may be called from any thread, and before `load`: the first frames are decoded while the
    models are loaded. A context manager that ends with `close`.
    """

    def __init__(
        self,
        request: ScanRequest,
        settings: Settings,
        console: Console,
        *,
        sources: int | None = None,
        needs_detectors: bool = True,
        cores: int | None = None,
        is_done: Callable[[Source, str | None, Callable[[], str]], bool] = lambda *_: False,
        observers: Callable[[Source], Sequence[SourceObserver]] = lambda _: (),
    ) -> None:
        """`sources` is how many there will be at most, `cores` how many may be used, if known.

        `is_done` says whether a result that is kept still stands, given the source, the SHA-256 of
        its content in hex and a function for the fingerprint of what would scan it now; `observers`
        makes those that watch a source. Raises UsageError for detectors that can't be meant,
        MissingError where nothing could score.
        """
        cores = cores or count_cores()
        # A worker without a source would only hold memory.
        self.workers = min(request.workers or cores, sources or cores)
        self._request = request
        self._settings = settings
        self._options = detector_options(request, settings, console)
        self.detector_set = DetectorSet(offline=request.offline)
        if needs_detectors:
            self.detector_set = choose_detectors(settings, self._options)
        provenance = self._provenance = Provenance(request, settings, self.detector_set)
        config, self._stopped = settings.config, threading.Event()
        thresholds = {name: one.thresholds for name, one in config.categories.items()}
        self.progress = ScanProgress(sources or 1, console)
        self._unnamed = {STAND_IN} - set(config.scan.detectors)
        scorer = Scorer(thresholds, config.fusion, config.scan.cascade, self._unnamed)
        self._scorer = scorer
        self._refuses_private = config.scan.private_addresses == "refuse"

        def fingerprint(source: Source) -> str:
            # It covers digests of weights, which are known once the models are loaded.
            scorer.wait_until_started()
            return provenance.fingerprint(source)

        self._context = ScanContext(
            thresholds=thresholds,
            policy=config.policy,
            detector_set=self.detector_set,
            scorer=scorer,
            decoding=DecodeSettings(
                every_s=config.scan.every,
                mode=request.decode,
                max_gap_s=config.scan.max_gap_s,
                short_side_px=self.detector_set.short_side_px,
                timeout_s=config.scan.timeout_s,
                memory_mb=config.scan.memory_mb,
                for_s=request.for_s,
                # Two threads for one video take more processor time than one for each of two.
                threads=max(1, cores // self.workers),
            ),
            progress=self.progress,
            fetch=self._fetch,
            made=provenance.made,
            is_done=lambda source, sha256: is_done(source, sha256, lambda: fingerprint(source)),
            keep_frames=request.frames,
            levels=request.levels,
            offline=request.offline,
            refuses_private=self._refuses_private,
            observers=observers,
        )
        self._pool = DecoderPool(self.workers)

    @property
    def slots(self) -> int:
        """More than turns to decode: some sources are fetched, or wait for their scores."""
        return self.workers + EXTRA_SOURCES

    @property
    def warnings(self) -> Sequence[tuple[str, str | None]]:
        """What does not run, has no effect or scores nothing; known after `load`."""
        config, chosen = self._settings.config, self.detector_set
        warnings = [
            (f"{absent.info.name} is not available: {absent.reason}", absent.hint)
            for absent in chosen.absent
            # One that is switched off is as somebody wants it.
            if absent.status == "unavailable"
        ]
        warnings += [(one, None) for one in self._provenance.stale_calibrations()]
        idle = without_effect(config.scan.cascade, chosen.specs, self._unnamed)
        warnings += [(one, None) for one in idle]
        scored = {name for one in chosen.detectors for name in one.categories}
        left = [name for name in config.categories if name not in scored]
        if chosen.detectors and left:
            hint = (
                f"guardian doctor says what is missing; `categories: {{{left[0]}: off}}` in "
                "guardian.yaml switches a category off"
            )
            warnings.append((f"not scored: {', '.join(left)}", hint))
        return warnings

    def load(self, begin: Callable[[Mapping[str, Any]], None] | None = None) -> None:
        """Load the detectors and let them score what waits and what comes; call it once.

        `begin` is told what makes the results, for a store, before any frame is scored. Raises
        UsageError for a model that can't be what was meant, MissingError when nothing is left that
        could score a frame.
        """
        self.detector_set.load(self._settings, self._options)
        if begin is not None:
            begin(self.kept())
        self._scorer.start(self.detector_set.detectors)

    def kept(self) -> Mapping[str, Any]:
        """Return what a store keeps of this run; known after `load`."""
        return self._provenance.kept()

    def scan(self, source: Source) -> ScanResult | None:
        """Scan a source; None where the result that is kept of it stands.

        What is wrong with the source is a result. Raises ScoringStopped after `close`.
        """
        with self._pool.lease() as lease:
            result = scan_source(source, self._context, lease)
        # A decoder that `close` has ended is no fault of the source.
        if self._stopped.is_set():
            raise ScoringStopped
        return result

    def fail(self, source: Source, error: SourceError) -> ScanResult:
        """Return the result of a source that can't be scanned, for a reason from outside."""
        with self._pool.lease() as lease:
            return fail_source(source, self._context, lease, error)

    def summaries(self) -> Sequence[tuple[DetectorInfo, str]]:
        """What each detector has to say, if anything."""
        said = [(one.info, one.summary()) for one in self.detector_set.detectors]
        return [(info, summary) for info, summary in said if summary is not None]

    def close(self) -> None:
        """End decoders, downloads and scoring; whoever waits in `scan` gets ScoringStopped."""
        self._stopped.set()
        try:
            self._pool.close()
        finally:
            self._scorer.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fetch(self, url: str, folder: Path) -> Path:
        limits: Any = {
            "timeout_s": self._settings.config.scan.timeout_s or DEFAULT_TIMEOUT_S,
            "max_bytes": self._request.max_bytes,
            "stop": self._stopped,
        }
        if is_cloud(url):
            return fetch_cloud(url, folder, **limits)
        return fetch_url(url, folder, rule=AddressRule(self._refuses_private), **limits)


def detector_options(request: ScanRequest, settings: Settings, console: Console) -> DetectorOptions:
    """What detectors are told of a request."""
    return DetectorOptions(
        no_endpoints=request.no_endpoints,
        offline=request.offline,
        deployment=request.deployment,
        device=request.device,
        precision=request.precision,
        model_config=request.model_config,
        on_download=console.note,
        find_version=version_finder(settings, console),
    )
