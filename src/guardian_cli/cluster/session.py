"""A session whose sources are scanned by actors on the nodes of a Ray cluster.

A thread here waits for each source that is under way there; so a source has one result, and no
actor more sources than it has slots for. An actor that dies is replaced, and what it was scanning
is done again, each source alone: the one that kills its actor is found, and its neighbours are not
blamed.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardian_cli.cluster.actor import ScanActor, request_for_node
from guardian_cli.cluster.connection import Connection, answers
from guardian_cli.errors import GuardianError, PlatformError
from guardian_cli.media.sources import SCANNED_KINDS
from guardian_cli.progress import ScanProgress
from guardian_cli.scanning.decoder_pool import EXTRA_SOURCES
from guardian_cli.scanning.scorer import ScoringStopped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from guardian_cli.cluster.actor import Loaded, SourceOutcome
    from guardian_cli.cluster.connection import Place
    from guardian_cli.console import Console
    from guardian_cli.detectors.base import DetectorInfo
    from guardian_cli.media.sources import Source
    from guardian_cli.scanning.pipeline import ScanRequest
    from guardian_cli.scanning.results import HeldResult
    from guardian_cli.scanning.session import SessionHooks
    from guardian_cli.settings import Settings
    from guardian_cli.verdict.result import ScanResult

MAX_ATTEMPTS = 3
# Without any actor that has found a place, or that lives until its models are loaded.
PLACING_TIMEOUT_S = 120.0
MAX_FAILED_STARTS = 3
# Ray itself ends the process, without a word, where the head is gone for 60 s.
HEAD_TIMEOUT_S = 30.0
HEAD_CHECK_S = 5.0
POLL_S = 0.3
CLOSE_S = 3.0
# Actors answer these while they scan.
_EXTRA_CALLS = 4


@dataclass(eq=False)
class Seat:
    """A place on a node and the actor that is there now; `is_open` once its models are loaded."""

    place: Place
    slots: int
    actor: Any = None
    greeted: Any = None
    loaded: Any = None
    polled: Any = None
    is_open: bool = False
    is_second: bool = False
    taken: int = 0


class ClusterSession:
    """Scans sources on a cluster; see `Session`. `scan` may be called from `slots` threads."""

    def __init__(
        self,
        request: ScanRequest,
        settings: Settings,
        console: Console,
        sources: Sequence[Source],
        hooks: SessionHooks,
        actor: type = ScanActor,
    ) -> None:
        """Connect, and begin to start actors. Raises what `Connection` does."""
        self._actor = actor
        self._request = request_for_node(request)
        self._settings = settings
        self._hooks = hooks
        self._progress = ScanProgress(len(sources), console)
        self._connection = Connection("ray" if request.cluster is None else request.cluster)
        self._ray = ray = self._connection.ray
        self._needs_detectors = any(source.kind in SCANNED_KINDS for source in sources)
        self._died = (
            ray.exceptions.RayActorError,
            ray.exceptions.WorkerCrashedError,
            ray.exceptions.NodeDiedError,
            ray.exceptions.ObjectLostError,
            ray.exceptions.OutOfMemoryError,
        )
        self._changed = threading.Condition()
        self._closed = self._begun = False
        self._failure: GuardianError | None = None
        self._loaded: Loaded | None = None
        self._suspects = 0
        self._failed_starts = 0
        self._calls = 0
        self._without_place_since_s = time.monotonic()
        self._watcher = threading.Thread(target=self._watch, name="cluster", daemon=True)
        try:
            places = self._connection.places(gpus=request.device in {"auto", "cuda"})
            # No more actors than sources: each loads its own models.
            self._seats = [
                Seat(place, (request.workers or place.cores) + EXTRA_SOURCES)
                for place in places[: len(sources)]
            ]
            for seat in self._seats:
                self._start(seat)
        except BaseException:
            self._connection.close()
            raise
        self._watcher.start()
        threading.Thread(target=self._watch_head, name="head", daemon=True).start()

    @property
    def slots(self) -> int:
        """As many as all actors have."""
        return sum(seat.slots for seat in self._seats)

    @property
    def warnings(self) -> Sequence[tuple[str, str | None]]:
        """What the user should know, as the last actor says that has loaded its models."""
        return self._loaded.warnings if self._loaded is not None else ()

    def load(self, begin: Callable[[Mapping[str, Any]], None] | None = None) -> None:
        """Wait until an actor has loaded its models; the others join in as they have.

        Raises what loading raises there, and PlatformError where no actor finds a place.
        """
        with self._changed:
            while not any(seat.is_open for seat in self._seats):
                self._check()
                # With a time-out, so that Ctrl-C is seen.
                self._changed.wait(POLL_S)
        if begin is not None and self._loaded is not None:
            begin(self._loaded.kept)
        with self._changed:
            self._begun = True
            self._changed.notify_all()

    def scan(self, source: Source) -> ScanResult | None:
        """Scan a source where there is a free slot; None where the result that is held stands."""
        outcome = self._scan(source, self._hooks.held(source))
        if outcome.result is None:
            if self._hooks.is_done(source, outcome.sha256, lambda: outcome.fingerprint):
                self._progress.finished(source.shown)
                return None
            # It stands, but something else that is wanted of it is missing.
            outcome = self._scan(source, None)
        result = outcome.result
        assert result is not None  # noqa: S101 - there was no other
        for observer in self._hooks.observers(source):
            for frame in outcome.frames:
                observer.on_frame(frame)
            observer.on_result(result)
        if self._hooks.on_stills is not None:
            self._hooks.on_stills(result, list(outcome.stills))
        self._progress.finished(source.shown)
        return result

    def _scan(self, source: Source, held: HeldResult | None) -> SourceOutcome:
        lost = f"whatever scanned it died, {MAX_ATTEMPTS} times"
        attempt, outcome = 0, None
        while outcome is None:
            if attempt < MAX_ATTEMPTS:
                outcome = self._try(lambda one: one.scan.remote(source, held), alone=attempt > 0)
            else:
                outcome = self._try(lambda one: one.fail.remote(source, lost, "lost"))
            attempt += 1
        return outcome

    def _try(self, call: Callable[[Any], Any], *, alone: bool = False) -> SourceOutcome | None:
        """Have an actor do something; None if it dies."""
        seat, actor = self._take(alone=alone)
        try:
            answer = call(actor)
            while not self._ray.wait([answer], timeout=HEAD_CHECK_S)[0]:
                self._check()
            outcome: SourceOutcome = self._ray.get(answer)
        except self._died:
            self._replace(seat, actor)
            return None
        finally:
            with self._changed:
                self._calls -= 1
                # Of a seat whose actor was replaced meanwhile all slots are free already.
                if seat.actor is actor:
                    seat.taken -= seat.slots if alone else 1
                self._changed.notify_all()
        if outcome.stopped:
            raise ScoringStopped
        if outcome.failure is not None:
            raise outcome.failure
        return outcome

    def _take(self, *, alone: bool) -> tuple[Seat, Any]:
        """Wait for a slot, or for all the slots of an actor; the actor that is there then."""
        with self._changed:
            self._suspects += alone
            try:
                while True:
                    self._check()
                    # No source may end before the run has begun: a store must know of what.
                    seats = self._seats if self._begun else []
                    # An actor that replaces another is for suspects first, and all its slots.
                    free = [
                        seat
                        for seat in seats
                        if seat.is_open
                        and seat.taken < (1 if alone else seat.slots)
                        and (alone or not (seat.is_second and self._suspects))
                    ]
                    if free:
                        seat = min(free, key=lambda one: one.taken / one.slots)
                        seat.taken += seat.slots if alone else 1
                        self._calls += 1
                        return seat, seat.actor
                    self._changed.wait()
            finally:
                self._suspects -= alone

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise ScoringStopped

    def _start(self, seat: Seat) -> None:
        """Start an actor: on its own node, or on another where that one is gone. Hold the lock."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        place = seat.place
        request = replace(self._request, workers=self._request.workers or place.cores)
        seat.is_open, seat.taken, seat.polled = False, 0, None
        seat.actor = (
            self._ray.remote(self._actor)
            .options(
                num_cpus=place.cores,
                num_gpus=place.gpus,
                max_concurrency=seat.slots + _EXTRA_CALLS,
                # Who dies is replaced from here: only then it is known who was under way.
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(place.node, soft=True),
            )
            .remote(request, self._settings, place.cores, str(Path.cwd()), self._needs_detectors)
        )
        seat.greeted = seat.actor.greet.remote()
        seat.loaded = seat.actor.load.remote()

    def _replace(self, seat: Seat, actor: Any) -> None:
        """Start another actor where one has died; whoever else notices it finds that done."""
        with self._changed:
            if seat.actor is not actor or self._closed:
                return
            # What can't be reached may still live.
            self._ray.kill(actor, no_restart=True)
            if not seat.is_open:
                self._failed_starts += 1
            seat.is_second = True
            self._start(seat)

    def _watch(self) -> None:
        """Open actors when they have loaded, ask them how far they are, and see that some live."""
        while not self._closed:
            for seat in self._seats:
                actor = seat.actor
                try:
                    self._look_at(seat)
                except self._died:
                    self._replace(seat, actor)
                except self._ray.exceptions.RayError as error:
                    self._fail(PlatformError(f"the cluster fails ({type(error).__name__})"))
            self._check_places()
            time.sleep(POLL_S)

    def _watch_head(self) -> None:
        """See that the cluster's head is there, by no call of Ray's, which would wait for it."""
        seen_s = time.monotonic()
        while not self._closed and time.monotonic() - seen_s < HEAD_TIMEOUT_S:
            time.sleep(HEAD_CHECK_S)
            if answers(self._connection.head):
                seen_s = time.monotonic()
        if not self._closed:
            self._fail(PlatformError("the head of the cluster is gone", hint="ray status"))

    def _look_at(self, seat: Seat) -> None:
        # A seat may get another actor at any time: what is asked and what is told are of one.
        with self._changed:
            actor, loaded, polled, is_open = seat.actor, seat.loaded, seat.polled, seat.is_open
            if is_open and polled is None:
                seat.polled = actor.state.remote()
        if not is_open and self._is_ready(loaded):
            answer = self._ray.get(loaded)
            if isinstance(answer, GuardianError):
                self._fail(answer)
                return
            with self._changed:
                if seat.actor is actor:
                    self._loaded, self._failed_starts, seat.is_open = answer, 0, True
                    self._changed.notify_all()
        elif is_open and polled is not None and self._is_ready(polled):
            state = self._ray.get(polled)
            self._progress.set_elsewhere(actor, *state)
            with self._changed:
                if seat.actor is actor:
                    seat.polled = None

    def _check_places(self) -> None:
        has_place = any(seat.is_open or self._is_ready(seat.greeted) for seat in self._seats)
        now_s = time.monotonic()
        if has_place:
            self._without_place_since_s = now_s
        elif now_s - self._without_place_since_s > PLACING_TIMEOUT_S:
            self._fail(
                PlatformError(
                    f"no node of the cluster had room for an actor in {PLACING_TIMEOUT_S:g} s",
                    hint="ray status",
                )
            )
        is_any_open = any(seat.is_open for seat in self._seats)
        if not is_any_open and self._failed_starts >= MAX_FAILED_STARTS * len(self._seats):
            self._fail(
                PlatformError(
                    "the actors die while they load their models: too little memory, maybe",
                    hint="ray status; ray logs",
                )
            )

    def _is_ready(self, reference: Any) -> bool:
        return bool(self._ray.wait([reference], timeout=0)[0])

    def _fail(self, error: GuardianError) -> None:
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()

    def summaries(self) -> Sequence[tuple[DetectorInfo, str]]:
        """What the detectors of each actor say, and on which node if there are several."""
        said: list[tuple[DetectorInfo, str]] = []
        for number, seat in enumerate(self._seats, 1):
            try:
                answer = self._ray.get(seat.actor.summaries.remote(), timeout=CLOSE_S)
            except self._ray.exceptions.RayError:
                continue  # it has died since, or was never needed
            which = f" (actor {number})" if len(self._seats) > 1 else ""
            said += [(info, summary + which) for info, summary in answer]
        return said

    def close(self) -> None:
        """End all actors: those that listen remove what they fetched."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if not answers(self._connection.head):
            # Every call would wait for it, until Ray ends the process. What still runs of the
            # cluster ends itself.
            return
        if self._watcher.is_alive():
            self._watcher.join()
        try:
            closing = [seat.actor.close.remote() for seat in self._seats]
            self._ray.wait(closing, num_returns=len(closing), timeout=CLOSE_S)
            for seat in self._seats:
                self._ray.kill(seat.actor, no_restart=True)
            # Ray must not go while a thread is in one of its calls.
            with self._changed:
                self._changed.wait_for(lambda: not self._calls, CLOSE_S)
        finally:
            self._connection.close()
