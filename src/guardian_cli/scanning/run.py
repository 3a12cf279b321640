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

from guardian_cli.config import calm_threads, load_settings
from guardian_cli.detectors.panel import (
    Panel,
    PanelOptions,
    build_panel,
    expected_short_side_px,
)
from guardian_cli.errors import UsageError
from guardian_cli.media.fetching import fetch_url
from guardian_cli.media.frames import DecodeSettings
from guardian_cli.media.sources import expand_sources
from guardian_cli.scanning.batch import Batch
from guardian_cli.scanning.crew import SOURCES_MORE, Crew
from guardian_cli.scanning.fusing import Fusing
from guardian_cli.scanning.interruption import Interruption
from guardian_cli.scanning.one import ScanTools, scan_source
from guardian_cli.scanning.outlet import Outlet
from guardian_cli.scanning.progress import make_progress
from guardian_cli.scanning.scorer import Scorer
from guardian_cli.verdict.policy import exit_code

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from guardian_cli.config import Settings
    from guardian_cli.console import Console
    from guardian_cli.media.sources import Source
    from guardian_cli.reports.result import ScanResult
    from guardian_cli.scanning.outlet import OutputFormat
    from guardian_cli.scanning.progress import Progress
    from guardian_cli.verdict.policy import FailOn

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
            "no category is left to score: guardian.yaml drops them all",
            hint="see guardian.yaml.example for every key",
        )
    skipped: Counter[str] = Counter()
    sources = expand_sources(request.sources, sys.stdin.buffer if sys.stdin else None, skipped)
    _check(request, sources)
    for warning in settings.warnings:
        console.warn(warning)
    interruption = Interruption()
    with (
        interruption.watched(),
        Outlet(request.output, console, request.resume, skipped) as outlet,
    ):
        waiting = outlet.not_yet_held(sources)
        _scan_all(request, settings, waiting, outlet, console, interruption)
        return exit_code(outlet.finish(), request.fail_on)


def _check(request: ScanRequest, sources: Sequence[Source]) -> None:
    if request.for_s is not None and not 0 < request.for_s < math.inf:
        raise UsageError("--for must be over 0 seconds", hint="guardian scan rtsp://… --for 60")
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


def _scan_all(
    request: ScanRequest,
    settings: Settings,
    sources: Sequence[Source],
    outlet: Outlet,
    console: Console,
    interruption: Interruption,
) -> None:
    if not sources:
        return
    calm_threads()
    options = _panel_options(request, console)
    panel = _no_panel_needed(request, sources)
    side_px = panel.short_side_px if panel else expected_short_side_px(settings, options)
    if side_px is not None:
        with _Shift(request, settings, sources, console, side_px) as shift:
            # The first frames are decoded while the model loads.
            panel = panel or _panel(settings, options, console)
            if panel.short_side_px == side_px:
                shift.run(panel, outlet, interruption)
                return
    panel = panel or _panel(settings, options, console)
    with _Shift(request, settings, sources, console, panel.short_side_px) as shift:
        shift.run(panel, outlet, interruption)


def _no_panel_needed(request: ScanRequest, sources: Sequence[Source]) -> Panel | None:
    """An empty panel where there is nothing that could be scored."""
    if all(source.kind not in {"file", "url", "stream"} for source in sources):
        return Panel(offline=request.offline)
    return None


def _panel_options(request: ScanRequest, console: Console) -> PanelOptions:
    return PanelOptions(
        no_endpoints=request.no_endpoints,
        offline=request.offline,
        device=request.device,
        precision=request.precision,
        model_config=request.model_config,
        on_download=console.note,
    )


def _panel(settings: Settings, options: PanelOptions, console: Console) -> Panel:
    panel = build_panel(settings, options)
    for gone in panel.absent:
        if gone.status == "unavailable":
            console.warn(f"{gone.info.name} is not available: {gone.reason}")
    return panel


class _Shift:
    """Threads that open sources at once and wait for detectors with their first frames.

    Use it as a context manager: at its end all threads and decoders are gone.
    """

    def __init__(
        self,
        request: ScanRequest,
        settings: Settings,
        sources: Sequence[Source],
        console: Console,
        side_px: int,
    ) -> None:
        """`side_px` is the shorter side, in pixels, that frames are to have."""
        workers = min(request.workers or _cores(), len(sources))
        stop = threading.Event()
        self._console = console
        self._panel = Panel(offline=request.offline)
        config = settings.config
        self._scorer = Scorer(fusing=Fusing(config.categories, config.fusion))
        self._progress = make_progress(len(sources), console)
        decoding = _decode_settings(request, settings, workers, side_px)
        tools = _tools(request, settings, self._panel, self._scorer, self._progress, decoding, stop)
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

    def run(self, panel: Panel, outlet: Outlet, interruption: Interruption) -> None:
        """Let the panel score what waits and what comes, and put out every result."""
        interruption.check()
        self._panel.detectors += panel.detectors
        self._panel.absent += panel.absent
        self._scorer.start(panel.detectors)
        with self._progress:
            failing: set[tuple[str, str | None]] = set()
            for result in self._batch.results():
                outlet.put(result)
                failing |= {
                    (d.name, d.category) for d in result.detectors if d.status == "degraded"
                }
        _summarise(panel, failing, self._console)


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
        threads=max(1, _cores() // workers),
    )


def _tools(
    request: ScanRequest,
    settings: Settings,
    panel: Panel,
    scorer: Scorer,
    progress: Progress,
    decoding: DecodeSettings,
    stop: threading.Event,
) -> ScanTools:
    timeout_s = settings.config.scan.timeout_s
    return ScanTools(
        config=settings.config,
        panel=panel,
        scorer=scorer,
        decoding=decoding,
        progress=progress,
        fetch=lambda url, folder: fetch_url(
            url, folder, timeout_s=timeout_s, max_bytes=MOST_DOWNLOAD_BYTES, stop=stop
        ),
        keep_frames=request.frames,
        offline=request.offline,
    )


def _work(tools: ScanTools, crew: Crew) -> Callable[[Source], ScanResult]:
    def work(source: Source) -> ScanResult:
        with crew.place() as place:
            return scan_source(source, tools, place)

    return work


def _summarise(panel: Panel, failing: set[tuple[str, str | None]], console: Console) -> None:
    for detector in panel.detectors:
        summary = detector.summary()
        if summary and console.quiet and (detector.info.name, detector.info.category) in failing:
            console.warn(summary)
        elif summary:
            console.note(summary)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
