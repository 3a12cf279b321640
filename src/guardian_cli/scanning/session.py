"""What sources are scanned with: detectors, decoders and threads that score, brought once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from guardian_cli.addresses import AddressRule
from guardian_cli.detectors.base import DetectorOptions
from guardian_cli.detectors.detector_set import DetectorSet, choose_detectors
from guardian_cli.media.download import fetch_url
from guardian_cli.media.frames import DEFAULT_TIMEOUT_S, DecodeSettings
from guardian_cli.progress import ScanProgress
from guardian_cli.scanning.decoder_pool import DecoderPool
from guardian_cli.scanning.provenance import Provenance
from guardian_cli.scanning.scorer import Scorer
from guardian_cli.scanning.source import ScanContext, scan_source
from guardian_cli.settings import count_cores
from guardian_cli.verdict.thresholds import Thresholds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guardian_cli.console import Console
    from guardian_cli.media.sources import Source
    from guardian_cli.scanning.observer import SourceObserver
    from guardian_cli.scanning.pipeline import ScanRequest
    from guardian_cli.settings import Settings
    from guardian_cli.verdict.result import ScanResult


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
        is_done: Callable[[Source, str | None, Callable[[], str]], bool] = lambda *_: False,
        observers: Callable[[Source], Sequence[SourceObserver]] = lambda _: (),
    ) -> None:
        """`sources` is how many there will be at most, if that is known.

        `is_done` says whether a result that is kept still stands, given the source, the SHA-256 of
        its content in hex and a function for the fingerprint of what would scan it now;
        `observers` makes those that watch a source. Raises
        UsageError for detectors that can't be meant, MissingError where nothing could score.
        """
        self.workers = min(request.workers or count_cores(), sources or count_cores())
        self._settings = settings
        self._options = DetectorOptions(
            no_endpoints=request.no_endpoints,
            offline=request.offline,
            deployment=request.deployment,
            device=request.device,
            precision=request.precision,
            model_config=request.model_config,
            on_download=console.note,
        )
        self.detector_set = DetectorSet(offline=request.offline)
        if needs_detectors:
            self.detector_set = choose_detectors(settings, self._options)
        provenance = Provenance(request, settings, self.detector_set)
        config, self._stopped = settings.config, threading.Event()
        thresholds = {
            name: Thresholds(one.review, one.block) for name, one in config.categories.items()
        }
        scorer = self._scorer = Scorer(thresholds, config.fusion)
        timeout_s = config.scan.timeout_s or DEFAULT_TIMEOUT_S
        refuses_private = config.scan.private_addresses == "refuse"

        def fingerprint(source: Source) -> str:
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
                threads=max(1, count_cores() // self.workers),
            ),
            progress=ScanProgress(sources or 1, console),
            fetch=lambda url, folder: fetch_url(
                url,
                folder,
                timeout_s=timeout_s,
                max_bytes=request.max_bytes,
                rule=AddressRule(refuse_private=refuses_private),
                stop=self._stopped,
            ),
            made=provenance.made,
            is_done=lambda source, sha256: is_done(source, sha256, lambda: fingerprint(source)),
            keep_frames=request.frames,
            offline=request.offline,
            refuses_private=refuses_private,
            observers=observers,
        )
        self._pool = DecoderPool(self.workers)

    def load(self) -> None:
        """Load the detectors and let them score what waits and what comes; call it once.

        Raises UsageError for a model that can't be what was meant, MissingError when nothing is
        left that could score a frame.
        """
        self.detector_set.load(self._settings, self._options)
        self._scorer.start(self.detector_set.detectors)

    def scan(self, source: Source) -> ScanResult | None:
        """Scan a source; None where the result that is kept of it stands.

        What is wrong with the source is a result. Raises ScoringStopped after `close`.
        """
        with self._pool.lease() as lease:
            return scan_source(source, self._context, lease)

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
