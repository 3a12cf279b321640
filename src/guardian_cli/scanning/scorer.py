"""Frames of many videos in, scores out: batches across sources, detectors side by side.

Every source submits its frames from its own thread; each detector has one queue and as many threads
as it may have calls at once, and fills its batches from whatever frames wait, whichever video they
are from. A bounded number of frames is under way, so memory does not grow with a video's length.
A detector that crashes takes the sources of that batch with it, and no other.

A detector may answer fast and say how far it may be off. A frame that such an error could decide is
scored once more, in fp32; so the verdict does not depend on the numbers a machine computes in.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import repeat
from typing import TYPE_CHECKING, Self

from guardian_cli.detectors.base import BilledDetector, FeatureDetector, RoutedDetector
from guardian_cli.detectors.fusion import CategoryScore, read_score, score_category
from guardian_cli.scanning.cascade import make_gates
from guardian_cli.scanning.frame_queue import Batch, FrameQueue, Origin, PendingFrame

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.config import CascadeSection, FusionSection
    from guardian_cli.detectors.base import Answer, Detector
    from guardian_cli.scanning.cascade import Gate
    from guardian_cli.verdict.thresholds import Thresholds

MAX_FRAMES_UNDER_WAY = 128


class ScoringStopped(Exception):  # noqa: N818 - a signal, not an error of the user's
    """The scorer was stopped while a frame waited."""


class Scorer:
    """Runs detectors over submitted frames and fuses what they answer.

    Frames that are submitted before `start` wait for it. A context manager that ends with `stop`.
    """

    def __init__(
        self,
        thresholds: Mapping[str, Thresholds],
        weights: FusionSection,
        cascade: Mapping[str, CascadeSection] | None = None,
        unnamed: Collection[str] = (),
    ) -> None:
        """`thresholds` name the categories to fuse and say which errors in a score matter.

        `cascade` says, by category, which frames need not be sent to a detector that bills, and
        `unnamed` which detectors have no say in that.
        """
        self._thresholds = thresholds
        self._weights = weights
        self._cascade, self._unnamed = cascade or {}, unnamed
        self._gates: dict[int, Gate] = {}
        # Detectors that take another one's features, and that one, by their indexes.
        self._sources: dict[int, int] = {}
        self.detectors: tuple[Detector, ...] = ()
        self._queues: list[FrameQueue] = []
        self._room = threading.Semaphore(MAX_FRAMES_UNDER_WAY)
        self._lock = threading.Lock()
        self._started = threading.Event()
        self._stopped = threading.Event()
        self._early: list[PendingFrame] = []

    def start(self, detectors: Sequence[Detector]) -> None:
        """Begin to score, with frames that were submitted already first; call it once."""
        with self._lock:
            self.detectors = tuple(detectors)
            self._queues = [FrameQueue(*numbered) for numbered in enumerate(self.detectors)]
            self._gates = make_gates(self._cascade, self.detectors, self._unnamed)
            for index, detector in enumerate(self.detectors):
                if isinstance(detector, FeatureDetector) and detector.source is not None:
                    self._sources[index] = self.detectors.index(detector.source)
            self._started.set()
            for frame in self._early:
                self._hand_out(frame)
            self._early.clear()
        for index, detector in enumerate(self.detectors):
            for _ in range(max(1, detector.concurrency)):
                arguments = (index, detector)
                # A daemon: a call that hangs must not keep the process alive.
                threading.Thread(target=self._serve, args=arguments, daemon=True).start()

    def wait_until_started(self) -> None:
        """Block until `detectors` are known; raise ScoringStopped if they never will be."""
        self._started.wait()
        if self._stopped.is_set():
            raise ScoringStopped

    def submit(
        self, image: NDArray[np.uint8], origin: Origin, inner: NDArray[np.uint8] | None = None
    ) -> PendingFrame:
        """Hand in one upright BGR image (H x W x 3, uint8) of a source.

        `inner` is the part of it inside its bars, for detectors that want that, where it has any.
        Blocks while too many are under way; raises ScoringStopped after `stop`.
        """
        # With a time-out, for room may never come: detectors that are stopped make none.
        while not self._room.acquire(timeout=0.5):
            if self._stopped.is_set():
                raise ScoringStopped
        frame = PendingFrame(image, origin, inner=inner)
        with self._lock:
            if self._stopped.is_set():
                raise ScoringStopped
            if self._started.is_set():
                self._hand_out(frame)
            else:
                self._early.append(frame)
        return frame

    def end(self, origin: Origin) -> None:
        """Note that no more frames of a source are to come for now, so batches need not wait."""
        origin.more = False
        for waiting in self._queues:
            waiting.wake()

    def fuse(self, answers: Mapping[int, Mapping[str, float]]) -> dict[str, CategoryScore]:
        """Return each category's score from what each detector, by its index, answered."""
        fused = {}
        for category, limits in self._thresholds.items():
            scores: dict[str, float] = {}
            for index, detector in enumerate(self.detectors):
                score = answers.get(index, {}).get(category)
                if score is not None:
                    # Detectors of one name speak with one voice: their highest score is its.
                    name = detector.info.name
                    scores[name] = max(score, scores.get(name, score))
            fused[category] = score_category(scores, self._weights, limits.calibration)
        return fused

    def stop(self) -> None:
        """End the threads; whoever waits for a frame gets ScoringStopped."""
        with self._lock:
            self._stopped.set()
            # Wakes whoever waits for the detectors, to find that there will be none.
            self._started.set()
            early, self._early = self._early, []
        self._give_up(early, ScoringStopped())
        for waiting, detector in zip(self._queues, self.detectors, strict=True):
            self._give_up(waiting.close(), ScoringStopped())
            detector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _hand_out(self, frame: PendingFrame) -> None:
        # Before any queue has it: a detector may answer at once.
        frame.unanswered = len(self.detectors)
        frame.held = set(self._gates)
        if not self.detectors:
            self._finish(frame)
        for index, waiting in enumerate(self._queues):
            if index not in frame.held and index not in self._sources:
                waiting.put(frame)

    def _serve(self, index: int, detector: Detector) -> None:
        """Score batch after batch in a thread, until the queue is closed."""
        waiting = self._queues[index]
        while (batch := waiting.take()) is not None:
            answer = None
            frames = [frame for frame, _ in batch.frames]
            images = [image for _, image in batch.frames]
            try:
                if self._stopped.is_set():
                    raise ScoringStopped  # noqa: TRY301 - as any other end of a batch
                if batch.route.in_fp32:
                    answer = detector.score_fp32(images)
                elif isinstance(detector, RoutedDetector):
                    answer = detector.score_by(batch.route.deployment, images)
                else:
                    answer = detector.score(images)
                self._note_answer(index, batch, answer)
                self._hand_on(index, batch, answer)
            except BaseException as error:  # noqa: BLE001 - handed to every source that waits
                answer = None
                self._give_up(frames, error)
            finally:
                waiting.answered(batch, answer)

    def _hand_on(self, index: int, batch: Batch, answer: Answer) -> None:
        """Let those that take this detector's features score them, or look for themselves."""
        for follower, source in self._sources.items():
            detector = self.detectors[follower]
            if source != index or not isinstance(detector, FeatureDetector):
                continue
            if answer.features:
                found = detector.score_features(answer.features)
                # Of features in fp32 a score is what it is.
                found = replace(found, errors=()) if batch.route.in_fp32 else found
                self._note_answer(follower, batch, found)
            else:
                with self._lock:
                    self._put(follower, *(frame for frame, _ in batch.frames))

    def _note_answer(self, index: int, batch: Batch, answer: Answer) -> None:
        errors = answer.errors or [{}] * len(batch.frames)
        name = self.detectors[index].info.name
        if {len(answer.scores), len(errors)} != {len(batch.frames)}:
            raise RuntimeError(f"{name} does not answer each of {len(batch.frames)} frames")
        with self._lock:
            features, latencies = (
                answer.features or repeat(None),
                answer.latencies_s or repeat(None),
            )
            rows = zip(batch.frames, answer.scores, errors, features, latencies, strict=False)
            for (frame, _), scores, off_by, seen, took_s in rows:
                # Another detector may have crashed on it while this one was busy.
                if frame.done.is_set():
                    continue
                # A percentage, say, would be left out by fusion, and nobody would know.
                is_sound = all(read_score(score) is not None for score in scores.values())
                frame.scores[index] = scores if is_sound else {}
                frame.errors[index] = off_by if is_sound else {}
                if not is_sound:
                    frame.failures[index] = f"{name} answered with no number in 0..1"
                if seen is not None:
                    frame.features[index] = seen
                if took_s is not None:
                    frame.latencies_s[index] = took_s
                if scores and answer.deployment is not None:
                    frame.deployments[index] = answer.deployment
                if answer.failure is not None and not scores:
                    frame.failures[index] = answer.failure
                    frame.misconfigured |= {index} if answer.misconfigured else set()
                frame.unanswered -= 1
            self._release([frame for frame, _ in batch.frames if frame.held])
            for frame, _ in batch.frames:
                # The last detector to answer settles the frame, in its own thread.
                if frame.unanswered == 0 and not frame.done.is_set():
                    self._settle(frame)

    def _release(self, frames: Sequence[PendingFrame]) -> None:
        """Hand frames on to detectors that bill, or leave them out, once others have judged."""
        for index, gate in self._gates.items():
            verdicts = [
                (frame, gate.is_sure(frame.scores, frame.errors))
                for frame in frames
                if index in frame.held and not frame.done.is_set()
            ]
            for frame, is_sure in verdicts:
                if is_sure is None:
                    continue
                frame.held.discard(index)
                if is_sure:
                    frame.not_sent.add(index)
                    frame.unanswered -= 1
            self._put(index, *(frame for frame, is_sure in verdicts if is_sure is False))
            detector = self.detectors[index]
            if isinstance(detector, BilledDetector):
                detector.note_not_sent(sum(is_sure is True for _, is_sure in verdicts))

    def _settle(self, frame: PendingFrame) -> None:
        """Finish a frame; or, where an error could decide, have it scored in fp32 first."""
        rough = {
            self._sources.get(index, index)
            for index, errors in frame.errors.items()
            if any(errors.values())
        }
        if not rough or self._is_decided(frame):
            self._finish(frame)
        else:
            followers = [index for index, source in self._sources.items() if source in rough]
            frame.in_fp32, frame.unanswered = True, len(rough) + len(followers)
            for index in rough:
                self._put(index, frame)

    def _is_decided(self, frame: PendingFrame) -> bool:
        """Whether scores that are off by up to `errors` decide the same, whatever they are."""

        def moved(direction: int) -> dict[str, CategoryScore]:
            answers = {}
            for index, scores in frame.scores.items():
                errors = frame.errors.get(index, {})
                answers[index] = {
                    category: min(1.0, max(0.0, score + direction * errors.get(category, 0.0)))
                    for category, score in scores.items()
                }
            return self.fuse(answers)

        lowest, highest = moved(-1), moved(1)
        for category, thresholds in self._thresholds.items():
            low, high = lowest[category].fused, highest[category].fused
            if low is not None and high is not None and not thresholds.same_side(low, high):
                return False
        return True

    def _put(self, index: int, *frames: PendingFrame) -> None:
        """Have a detector score frames that were submitted before. Hold the lock."""
        if self._stopped.is_set():
            # The threads are told to end already: nobody would take them from the queue.
            self._drop(frames, ScoringStopped())
        else:
            self._queues[index].put(*frames)

    def _give_up(self, frames: Iterable[PendingFrame], error: BaseException) -> None:
        with self._lock:
            self._drop(frames, error)

    def _drop(self, frames: Iterable[PendingFrame], error: BaseException) -> None:
        for frame in frames:
            if not frame.done.is_set():
                frame.crash = error
                self._finish(frame)

    def _finish(self, frame: PendingFrame) -> None:
        if not frame.done.is_set():
            frame.image = frame.inner = None
            frame.done.set()
            self._room.release()
