"""What runs on a node of a cluster: one session, for as long as the actor lives.

Frames stay in this process and its decoders; what travels is a source in and its result out.
"""

from __future__ import annotations

import io
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from guardian_cli.console import Console
from guardian_cli.errors import GuardianError, SourceError
from guardian_cli.evidence.stills import keep_stills
from guardian_cli.scanning.scorer import ScoringStopped
from guardian_cli.scanning.session import ScanSession
from guardian_cli.settings import calm_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from guardian_cli.detectors.base import DetectorInfo
    from guardian_cli.evidence.stills import Still
    from guardian_cli.media.sources import Source
    from guardian_cli.scanning.observer import ScoredFrame, SourceObserver
    from guardian_cli.scanning.pipeline import ScanRequest
    from guardian_cli.scanning.results import HeldResult
    from guardian_cli.settings import Settings
    from guardian_cli.verdict.result import ScanResult


@dataclass(frozen=True, slots=True)
class SourceOutcome:
    """What came of a source: its result, or none where the one that is kept stands.

    That is then known by `sha256` and `fingerprint`. `frames` are what observers are to be told of,
    without their images; `stills` the small pictures for a report. `failure` ends the whole run: it
    is no fault of the source. `stopped` says that the actor was closed meanwhile.
    """

    result: ScanResult | None = None
    sha256: str | None = None
    fingerprint: str = ""
    frames: Sequence[ScoredFrame] = ()
    stills: Sequence[Still] = ()
    failure: GuardianError | None = None
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the user should know once the models are there, and what a store keeps of the run."""

    warnings: Sequence[tuple[str, str | None]]
    kept: Mapping[str, Any]


class Recorder:
    """Observes a source for an observer that is elsewhere."""

    def __init__(self) -> None:
        self.frames: list[ScoredFrame] = []
        self.stills: list[Still] = []

    def on_stills(self, _: ScanResult, stills: list[Still]) -> None:
        """Keep what a StillKeeper has found."""
        self.stills = stills

    def on_frame(self, frame: ScoredFrame) -> None:
        """Keep all but the image."""
        self.frames.append(replace(frame, image=frame.image[:0, :0].copy()))

    def on_result(self, result: ScanResult) -> None:
        """Nothing: it goes the same way."""


class ScanActor:
    """Scans with `cores` cores of its node. Thread-safe; nothing happens before `load`.

    An actor that fails in its constructor takes the job with it, so errors are values here.
    """

    def __init__(
        self,
        request: ScanRequest,
        settings: Settings,
        cores: int,
        folder: str,
        needs_detectors: bool,
    ) -> None:
        """`folder` is where the names of files begin, if this node has it."""
        self._needs_detectors = needs_detectors
        self._request = request
        self._settings = settings
        self._cores = cores
        self._folder = folder
        self._session: ScanSession | None = None
        self._held: dict[Source, HeldResult] = {}
        self._stands: dict[Source, tuple[str | None, str]] = {}
        self._recorders: dict[Source, Recorder] = {}

    def greet(self) -> int:
        """Say that this actor has a place, by the number of its process."""
        return os.getpid()

    def load(self) -> Loaded | GuardianError:
        """Bring the models, or return why nothing can be scanned."""
        with suppress(OSError):
            os.chdir(self._folder)
        calm_threads()
        # An actor's output goes into a log that nobody reads.
        console = Console(quiet=True, out=io.StringIO(), err=io.StringIO())
        try:
            session = ScanSession(
                self._request,
                self._settings,
                console,
                needs_detectors=self._needs_detectors,
                cores=self._cores,
                is_done=self._is_done,
                observers=self._observers,
            )
            session.load()
        except GuardianError as error:
            return error
        self._session = session
        return Loaded(session.warnings, session.kept())

    def scan(self, source: Source, held: HeldResult | None) -> SourceOutcome:
        """Scan a source, unless the result that is held of it stands."""
        assert self._session is not None  # noqa: S101 - `load` comes first
        if held is not None:
            self._held[source] = held
        try:
            result = self._session.scan(source)
            sha256, fingerprint = self._stands.pop(source, (None, ""))
            kept = self._recorders.get(source) or Recorder()
            return SourceOutcome(result, sha256, fingerprint, kept.frames, kept.stills)
        except ScoringStopped:
            return SourceOutcome(stopped=True)
        except GuardianError as error:
            return SourceOutcome(failure=error)
        finally:
            self._held.pop(source, None)
            self._recorders.pop(source, None)

    def fail(self, source: Source, message: str, kind: str) -> SourceOutcome:
        """Return the result of a source that is not to be tried again."""
        assert self._session is not None  # noqa: S101 - `load` comes first
        return SourceOutcome(self._session.fail(source, SourceError(message, kind=kind)))

    def state(self) -> tuple[int, float]:
        """Return how many frames were scored, and how many sources' worth is under way."""
        return self._session.progress.state() if self._session is not None else (0, 0.0)

    def summaries(self) -> Sequence[tuple[DetectorInfo, str]]:
        """What the detectors have to say at the end."""
        return self._session.summaries() if self._session is not None else ()

    def close(self) -> None:
        """End decoders, and remove what was fetched."""
        if self._session is not None:
            self._session.close()

    def _is_done(self, source: Source, sha256: str | None, fingerprint: Callable[[], str]) -> bool:
        held = self._held.get(source)
        frames = self._request.frames
        stands = held is not None and held.stands(sha256, fingerprint, frames=frames)
        if stands:
            self._stands[source] = (sha256, fingerprint())
        return stands

    def _observers(self, source: Source) -> Sequence[SourceObserver]:
        recorder = self._recorders[source] = Recorder()
        wants_stills = self._request.report is not None and self._request.stills
        keepers = keep_stills(self._settings.config, recorder.on_stills if wants_stills else None)
        return [*keepers, *([recorder] if self._request.store is not None else [])]


def request_for_node(request: ScanRequest) -> ScanRequest:
    """Leave out what is for this machine alone: what is written, and where to."""
    return replace(request, sources=(), reports=(), resume=None, cluster=None, shard=None)
