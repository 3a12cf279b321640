"""The detector that asks a custom model behind a scoring URI."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from guardian_cli.detectors.base import Answer, DetectorInfo
from guardian_cli.detectors.endpoint.breaker import CircuitBreaker
from guardian_cli.detectors.endpoint.calling import Caller, Clock, Scored
from guardian_cli.detectors.endpoint.client import HttpTransport, Transport
from guardian_cli.detectors.endpoint.failures import Failure, RetryPolicy
from guardian_cli.detectors.endpoint.protocol import build_body, pack, read_scores
from guardian_cli.detectors.endpoint.tally import Tally
from guardian_cli.media.jpeg import encode_jpeg
from guardian_cli.media.urls import mask_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

SHORT_SIDE_PX = 336
MAX_REQUEST_BYTES = 1_000_000


class EndpointDetector:
    """Scores frames of one category by POSTing JPEGs to `uri` with `key`.

    Two calls at once is what a managed endpoint with one instance takes without a 429, and eight
    frames is what a small CPU model scores well within a managed endpoint's default of 5 s.
    `transport`, `policy` and `clock` are for tests. Raises UsageError where `uri` is no http(s)
    address or `key` fits in no header.
    """

    def __init__(
        self,
        category: str,
        uri: str,
        key: str | None = None,
        *,
        batch_size: int = 8,
        concurrency: int = 2,
        timeout_s: float = 10.0,
        transport: Transport | None = None,
        policy: RetryPolicy | None = None,
        clock: Clock | None = None,
    ) -> None:
        clock = clock or Clock()
        self._category = category
        self._shown_uri = mask_url(uri)
        self._batch_size = batch_size
        self._frames_per_request = batch_size
        self._concurrency = concurrency
        self._slots = threading.BoundedSemaphore(concurrency)
        self._tally = Tally()
        self._caller = Caller(
            transport or HttpTransport(uri, key, timeout_s=timeout_s, pool_size=concurrency),
            CircuitBreaker(clock.monotonic_s),
            policy=policy or RetryPolicy(),
            clock=clock,
            has_key=bool(key),
        )

    @property
    def info(self) -> DetectorInfo:
        """Name, category and the URI, masked."""
        return DetectorInfo("endpoint", self._category, self._shown_uri)

    @property
    def categories(self) -> Sequence[str]:
        """The one category this endpoint scores."""
        return (self._category,)

    @property
    def short_side_px(self) -> int:
        """The shorter side, in pixels, of the frames that are sent."""
        return SHORT_SIDE_PX

    @property
    def batch_size(self) -> int:
        """The most frames that travel in one request."""
        return self._batch_size

    @property
    def concurrency(self) -> int:
        """How many requests may be under way at once; further threads wait for their turn."""
        return self._concurrency

    def score(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """Score upright BGR images (H x W x 3, uint8). Never raises for what a network can do.

        Where the frames need several requests and some fail, `failure` is set and just the frames
        of those have an empty mapping.
        """
        jpegs = [encode_jpeg(image, SHORT_SIDE_PX) for image in images]
        scores: list[Mapping[str, float]] = []
        failure: str | None = None
        for group in pack(jpegs, self._frames_per_request, MAX_REQUEST_BYTES):
            with self._slots:
                answer = self._ask(group)
            scores += answer.scores
            failure = failure or answer.failure
        return Answer(scores, failure)

    def score_exactly(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """The same: no score here is an approximation."""
        return self.score(images)

    def summary(self) -> str | None:
        """One line for stderr: what became of the frames; None when none were sent."""
        outcome = self._tally.outcome()
        return outcome and f"Model endpoint {self._category}: {self._shown_uri} {outcome}"

    def close(self) -> None:
        """End pauses and requests under way at once, free the connections; idempotent."""
        self._caller.close()

    def _ask(self, jpegs: Sequence[bytes]) -> Answer:
        read = partial(read_scores, count=len(jpegs), category=self._category)
        outcome = self._caller.call(build_body(jpegs), read)
        if isinstance(outcome, Scored):
            self._tally.answered(len(jpegs), outcome.elapsed_s)
            return Answer([{self._category: score} for score in outcome.scores])
        if outcome.too_large and len(jpegs) > 1:
            return self._ask_in_halves(jpegs)
        return self._give_up(jpegs, outcome)

    def _ask_in_halves(self, jpegs: Sequence[bytes]) -> Answer:
        half = len(jpegs) // 2
        # The frames to come are as large: what was refused once is not tried with each batch.
        self._frames_per_request = max(1, min(self._frames_per_request, half))
        first, second = self._ask(jpegs[:half]), self._ask(jpegs[half:])
        return Answer([*first.scores, *second.scores], first.failure or second.failure)

    def _give_up(self, jpegs: Sequence[bytes], failure: Failure) -> Answer:
        self._tally.failed(len(jpegs), None if failure.not_asked else failure.reason)
        return Answer([{} for _ in jpegs], failure.reason)
