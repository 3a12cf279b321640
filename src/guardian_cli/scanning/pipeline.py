"""`guardian scan` from a request to an exit code: builds the tools, runs the batch."""

from __future__ import annotations

import math
import os
import sys
import threading
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from guardian_cli.detectors.base import DetectorOptions
from guardian_cli.detectors.detector_set import DetectorSet, choose_detectors
from guardian_cli.errors import UsageError
from guardian_cli.media.download import fetch_url
from guardian_cli.media.frames import DEFAULT_TIMEOUT_S, DecodeSettings
from guardian_cli.media.sources import expand_sources
from guardian_cli.scanning.batch import Batch
from guardian_cli.scanning.decoder_pool import SOURCES_MORE, Crew
from guardian_cli.scanning.fusing import Fusing
from guardian_cli.scanning.interruption import Interruption
from guardian_cli.scanning.progress import Progress
from guardian_cli.scanning.provenance import Provenance
from guardian_cli.scanning.results import Outlet
from guardian_cli.scanning.scorer import Scorer
from guardian_cli.scanning.source import ScanTools, scan_source
from guardian_cli.settings import calm_threads, count_cores, load_settings
from guardian_cli.verdict.policy import exit_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from guardian_cli.console import Console
    from guardian_cli.media.sources import Source
    from guardian_cli.scanning.results import OutputFormat
    from guardian_cli.settings import Settings
    from guardian_cli.verdict.policy import FailOn
    from guardian_cli.verdict.result import ScanResult

MOST_DOWNLOAD_BYTES = 16 << 30
LONGEST_GOODBYE_S = 5.0
CHECKPOINT_ENDINGS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """Everything the command line says."""

    sources: tuple[str, ...]
    flags: Mapping[str, Any] = field(default_factory=dict)
    config_file: Path | None = None
    output: OutputFormat = "table"
    frames: bool = False
    decode: Literal["fast", "full"] = "fast"
    model_config: Path | None = None
    device: str = "auto"
    precision: str = "auto"
    no_endpoints: bool = False
    offline: bool = False
    deployment: str | None = None
    fail_on: FailOn = "review"
    workers: int | None = None
    resume: Path | None = None
    for_s: float | None = None


def run_scan(request: ScanRequest, console: Console) -> int:
    """Scan everything that was named and return the exit code.

    Raises UsageError, MissingError and what `Console` raises when stdout can't be written.
    """
    settings = load_settings(request.config_file, flags=request.flags)
    if not settings.config.categories:
        raise UsageError(
            "no category is left to score: guardian.yaml switches them all off",
            hint="guardian --example-config shows every key",
        )
    skipped: Counter[str] = Counter()
    sources = expand_sources(request.sources, sys.stdin.buffer if sys.stdin else None, skipped)
    _check(request, sources)
    for warning in (*settings.warnings, *_without_effect(request, settings, sources)):
        console.warn(warning)
    interruption = Interruption()
    with (
        interruption.watched(),
        Outlet(
            request.output, console, request.resume, skipped=skipped, frames=request.frames
        ) as outlet,
    ):
        try:
            _scan_all(request, settings, sources, outlet, console, interruption)
        except BaseException:
            # A library that is interrupted while it is imported may raise anything.
            if interruption.came:
                outlet.finish(sources, interrupted=True)
            raise
        return exit_code(outlet.finish(sources), request.fail_on)


def _check(request: ScanRequest, sources: Sequence[Source]) -> None:
    if request.for_s is not None and not 0 < request.for_s < math.inf:
        raise UsageError("--for must be over 0 seconds", hint="guardian scan rtsp://… --for 60")
    if request.frames and request.output == "table" and request.resume is None:
        raise UsageError(
            "--frames has no effect on a table", hint="add --json, --jsonl or --resume FILE.jsonl"
        )
    if request.model_config is not None and not request.model_config.is_file():
        raise UsageError(f"--model-config {request.model_config}: no such file")
    pretrained = str(request.flags.get("clip", {}).get("pretrained", ""))
    is_path = pretrained.endswith(CHECKPOINT_ENDINGS) or os.sep in pretrained
    if is_path and not os.path.exists(pretrained):  # noqa: PTH110 - the loader says the rest
        raise UsageError(f"--pretrained {pretrained}: no such file")
    if request.for_s is None and any(source.kind == "stream" for source in sources):
        raise UsageError(
            "a stream has no end: say how long to watch it", hint="guardian scan rtsp://… --for 60"
        )


def _without_effect(
    request: ScanRequest, settings: Settings, sources: Sequence[Source]
) -> Iterator[str]:
    """Say which options change nothing here."""
    if request.for_s is not None and not any(source.kind == "stream" for source in sources):
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
    request: ScanRequest,
    settings: Settings,
    sources: Sequence[Source],
    outlet: Outlet,
    console: Console,
    interruption: Interruption,
) -> None:
    calm_threads()
    options = DetectorOptions(
        no_endpoints=request.no_endpoints,
        offline=request.offline,
        deployment=request.deployment,
        device=request.device,
        precision=request.precision,
        model_config=request.model_config,
        on_download=console.note,
    )
    panel = DetectorSet(offline=request.offline)
    is_scored = any(source.kind in {"file", "url", "stream"} for source in sources)
    if is_scored:
        panel = choose_detectors(settings, options)
    with _Shift(request, settings, sources, outlet, console, panel) as shift:
        if is_scored:
            # The first frames are decoded while the model loads.
            panel.load(settings, options)
        for gone in panel.absent:
            if gone.status == "unavailable":
                console.warn(f"{gone.info.name} is not available: {gone.reason}", gone.hint)
        shift.run(interruption)


class _Shift:
    """Threads that open sources at once and wait for detectors with their first frames.

    Use it as a context manager: at its end all threads and decoders are gone.
    """

    def __init__(
        self,
        request: ScanRequest,
        settings: Settings,
        sources: Sequence[Source],
        outlet: Outlet,
        console: Console,
        panel: DetectorSet,
    ) -> None:
        """`panel` need not be loaded before `run`."""
        workers = min(request.workers or count_cores(), len(sources))
        stop = threading.Event()
        self._outlet = outlet
        self._console = console
        self._panel = panel
        self._provenance = Provenance(request, settings, self._panel)
        config = settings.config
        self._scorer = Scorer(fusing=Fusing(config.categories, config.fusion))
        timeout_s = config.scan.timeout_s or DEFAULT_TIMEOUT_S
        tools = ScanTools(
            config=config,
            panel=self._panel,
            scorer=self._scorer,
            decoding=_decode_settings(request, settings, workers, panel.short_side_px),
            progress=Progress(len(sources), console),
            fetch=lambda url, folder: fetch_url(
                url, folder, timeout_s=timeout_s, max_bytes=MOST_DOWNLOAD_BYTES, stop=stop
            ),
            made=self._provenance.made,
            is_done=self._is_done,
            keep_frames=request.frames,
            offline=request.offline,
        )
        crew = Crew(workers)
        threads = min(workers + SOURCES_MORE, len(sources))
        self._batch = Batch(sources, lambda: _work(tools, crew), threads)
        self._stack = ExitStack()
        # From the last line up: begin nothing more, wake whoever waits, then see all of them gone.
        self._stack.callback(self._batch.join, LONGEST_GOODBYE_S)
        self._stack.callback(self._scorer.stop)
        self._stack.callback(crew.close)
        self._stack.callback(stop.set)
        self._stack.callback(self._batch.stop)

    def __enter__(self) -> Self:
        self._batch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._console.end_progress()

    def _is_done(self, source: Source, sha256: str | None) -> bool:
        def fingerprint() -> str:
            self._scorer.wait_until_started()
            return self._provenance.fingerprint(source)

        return self._outlet.is_done(source, sha256, fingerprint)

    def run(self, interruption: Interruption) -> None:
        """Let the detectors score what waits and what comes, and put out every result."""
        interruption.check()
        self._scorer.start(self._panel.detectors)
        failing: set[tuple[str, str | None]] = set()
        try:
            for result in self._batch.results():
                with interruption.held():
                    self._outlet.put(result)
                    failing |= {
                        (d.name, d.category) for d in result.detectors if d.status == "degraded"
                    }
        except KeyboardInterrupt:
            for result in self._batch.ended():
                self._outlet.put(result)
            raise
        _summarise(self._panel, failing, self._console)


def _decode_settings(
    request: ScanRequest, settings: Settings, workers: int, side_px: int
) -> DecodeSettings:
    scan = settings.config.scan
    return DecodeSettings(
        every_s=scan.every,
        mode=request.decode,
        max_gap_s=scan.max_gap_s,
        short_side_px=side_px,
        timeout_s=scan.timeout_s,
        memory_mb=scan.memory_mb,
        for_s=request.for_s,
        threads=max(1, count_cores() // workers),
    )


def _work(tools: ScanTools, crew: Crew) -> Callable[[Source], ScanResult | None]:
    def work(source: Source) -> ScanResult | None:
        with crew.place() as place:
            return scan_source(source, tools, place)

    return work


def _summarise(panel: DetectorSet, failing: set[tuple[str, str | None]], console: Console) -> None:
    for detector in panel.detectors:
        summary = detector.summary()
        if summary is not None:
            is_failing = (detector.info.name, detector.info.category) in failing
            (console.warn if is_failing else console.note)(summary)
