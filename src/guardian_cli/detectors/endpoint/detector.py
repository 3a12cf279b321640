"""The detector that asks a custom model behind a scoring URI."""

from __future__ import annotations

import statistics
import threading
from collections import deque
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from guardian_cli.detectors.base import Answer, DetectorInfo
from guardian_cli.detectors.endpoint.client import HttpTransport
from guardian_cli.detectors.endpoint.protocol import build_body, pack, read_scores
from guardian_cli.detectors.endpoint.retry import FIRST_PAUSE_S, Caller, Failure, Scored
from guardian_cli.media.jpeg import encode_jpeg
from guardian_cli.urls import mask_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

SHORT_SIDE_PX = 336
# What a small model on a CPU scores well within a managed endpoint's default time-out of 5 s.
BATCH_SIZE = 8
# What a managed endpoint with one instance takes without a 429.
CONCURRENCY = 2
# Of base64; managed endpoints refuse 1.5 MB.
MAX_REQUEST_BYTES = 1_000_000
# The newest are enough for a median, and a scan of days must not keep them all.
MAX_LATENCIES = 4096


class EndpointDetector:
    """Scores frames of one category by POSTing JPEGs to `uri` with `key`.

    With `deployment` no other of the endpoint's deployments is asked. `named_by` and `key_named_by`
    are the settings that a hint names. Raises UsageError where `uri` is no http(s) address or `key`
    fits in no header.
    """

    def __init__(
        self,
        category: str,
        uri: str,
        key: str | None = None,
        *,
        deployment: str | None = None,
        named_by: str = "the address",
        key_named_by: str = "the key",
        batch_size: int = BATCH_SIZE,
        concurrency: int = CONCURRENCY,
        timeout_s: float = 10.0,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        self.info = DetectorInfo("endpoint", category, mask_url(uri))
        self.categories: Sequence[str] = (category,)
        self.short_side_px = SHORT_SIDE_PX
        self.batch_size = batch_size
        self.concurrency = concurrency
        self.deployment = deployment
        self._category = category
        self._named_by = named_by
        self._key_named_by = key_named_by
        self._hint: str | None = None
        self._frames_per_request = batch_size
        # For all sources that are scanned at once, not for each of them.
        self._slots = threading.BoundedSemaphore(concurrency)
        self._statistics = _Statistics()
        self._transport = HttpTransport(uri, key, timeout_s=timeout_s, pool_size=concurrency)
        self._caller = Caller(self._transport.post, has_key=bool(key), first_pause_s=first_pause_s)

    def score(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """Score upright BGR images (H x W x 3, uint8). Never raises for what a network can do.

        Where the frames need several requests and some fail, `failure` is set and just the frames
        of those have an empty mapping.
        """
        return self.score_by(None, images)

    def score_by(self, deployment: str | None, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """Score as `score` does, by one deployment; with None by whichever answers first."""
        jpegs = [encode_jpeg(image, SHORT_SIDE_PX) for image in images]
        deployment = deployment or self.deployment
        answer = Answer(())
        for group in pack(jpegs, self._frames_per_request, MAX_REQUEST_BYTES):
            with self._slots:
                answer = _joined(answer, self._ask(group, deployment or answer.deployment))
        return answer

    def score_fp32(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """The same: no score here is an approximation."""
        return self.score(images)

    def summary(self) -> str | None:
        """One line for stderr: what became of the frames; None when there were none.

        Where the user can mend it, a second one with a hint.
        """
        outcome = self._statistics.outcome()
        hint = f"\nhint: {self._hint}" if self._hint else ""
        return outcome and f"Model endpoint {self._category}: {self.info.model} {outcome}{hint}"

    def note_not_sent(self, frames: int) -> None:
        """Count frames that a cascade kept from this endpoint."""
        self._statistics.spared(frames)

    def close(self) -> None:
        """End pauses and requests under way at once, free the connections; idempotent."""
        self._caller.close()
        self._transport.close()

    def _ask(self, jpegs: Sequence[bytes], deployment: str | None) -> Answer:
        read = partial(read_scores, count=len(jpegs), category=self._category)
        outcome = self._caller.call(build_body(jpegs), read, deployment)
        if isinstance(outcome, Scored):
            self._statistics.answered(len(jpegs), outcome.elapsed_s)
            scores = [{self._category: score} for score in outcome.scores]
            took_s = [outcome.elapsed_s] * len(scores)
            return Answer(scores, deployment=outcome.deployment, latencies_s=took_s)
        if outcome.too_large and len(jpegs) > 1:
            half = len(jpegs) // 2
            # The frames to come are as large: what was refused once is not tried with each batch.
            self._frames_per_request = max(1, min(self._frames_per_request, half))
            first = self._ask(jpegs[:half], deployment)
            return _joined(first, self._ask(jpegs[half:], deployment or first.deployment))
        self._statistics.failed(len(jpegs), None if outcome.not_asked else outcome.reason)
        nothing: list[dict[str, float]] = [{} for _ in jpegs]
        # A deployment that answered before and is gone now is nobody's mistake.
        went_away = outcome.status == HTTPStatus.NOT_FOUND and deployment not in {
            None,
            self.deployment,
        }
        if went_away or not outcome.misconfigured:
            return Answer(nothing, outcome.reason, latencies_s=[None] * len(nothing))
        self._hint = self._what_to_mend(outcome)
        reason = f"{outcome.reason}: {self._hint}"
        return Answer(nothing, reason, misconfigured=True, latencies_s=[None] * len(nothing))

    def _what_to_mend(self, failure: Failure) -> str:
        status = failure.status or 0
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return f"set {self._key_named_by} to the key of this endpoint"
        if status == HTTPStatus.NOT_FOUND and self.deployment is not None:
            return "guardian endpoints lists the names that --deployment may have"
        if status < 400 or status == HTTPStatus.NOT_FOUND:
            return f"set {self._named_by} to the address that guardian endpoints shows"
        return f"what {self._named_by} leads to must take MLflow's input_data with JPEGs in base64"


def _joined(first: Answer, second: Answer) -> Answer:
    """One answer of two requests' for the frames of both."""
    return Answer(
        [*first.scores, *second.scores],
        first.failure or second.failure,
        misconfigured=first.misconfigured or second.misconfigured,
        deployment=first.deployment or second.deployment,
        latencies_s=[*first.latencies_s, *second.latencies_s],
    )


class _Statistics:
    """Counts frames and keeps the newest latencies. Thread safe, bounded memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answered = self._failed = self._not_sent = 0
        self._latencies_s: deque[float] = deque(maxlen=MAX_LATENCIES)
        self._last_reason: str | None = None

    def answered(self, frames: int, elapsed_s: float) -> None:
        with self._lock:
            self._answered += frames
            self._latencies_s.append(elapsed_s)

    def failed(self, frames: int, reason: str | None) -> None:
        """Count frames without a score; None leaves the last reason as it is."""
        with self._lock:
            self._failed += frames
            self._last_reason = reason or self._last_reason

    def spared(self, frames: int) -> None:
        with self._lock:
            self._not_sent += frames

    def outcome(self) -> str | None:
        """Return what follows the URI in the summary, or None when there was no frame for it."""
        sent = self._sent()
        if not self._not_sent:
            return sent
        return f"{sent or 'not asked'}, {self._not_sent} not sent (scan.cascade)"

    def _sent(self) -> str | None:
        with self._lock:
            total = self._answered + self._failed
            if not total:
                return None
            frames = f"{total} frame" if total == 1 else f"{total} frames"
            if not self._answered:
                return f"failed: {self._last_reason}, 0 of {frames}"
            p50 = f"p50 {round(1000 * statistics.median(self._latencies_s))} ms"
            if not self._failed:
                return f"ok, {frames}, {p50}"
            return f"degraded, {self._answered} of {frames}, {p50}, last error: {self._last_reason}"
