"""The detector that asks a custom model behind a scoring URI."""

from __future__ import annotations

import threading
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from guardian_cli.detectors.base import Answer, DetectorInfo
from guardian_cli.detectors.endpoint.breaker import CircuitBreaker
from guardian_cli.detectors.endpoint.calling import Caller, Clock, Scored
from guardian_cli.detectors.endpoint.client import HttpTransport, Transport
from guardian_cli.detectors.endpoint.failures import Failure, RetryPolicy
from guardian_cli.detectors.endpoint.protocol import build_body, pack, read_scores
from guardian_cli.detectors.endpoint.tally import Tally
from guardian_cli.media.jpeg import encode_jpeg
from guardian_cli.urls import mask_url

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
    With `deployment` no other of the endpoint's deployments is asked. `named_by` and `key_named_by`
    are the settings that a hint names. `transport`, `policy` and `clock` are for tests. Raises
    UsageError where `uri` is no http(s) address or `key` fits in no header.
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
        self._deployment = deployment
        self._named_by = named_by
        self._key_named_by = key_named_by
        self._cure: str | None = None
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

    @property
    def deployment(self) -> str | None:
        """The deployment that was chosen for all sources."""
        return self._deployment

    def score(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """Score upright BGR images (H x W x 3, uint8). Never raises for what a network can do.

        Where the frames need several requests and some fail, `failure` is set and just the frames
        of those have an empty mapping.
        """
        return self.score_by(None, images)

    def score_by(self, deployment: str | None, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """Score as `score` does, by one deployment; with None by whichever answers first."""
        jpegs = [encode_jpeg(image, SHORT_SIDE_PX) for image in images]
        deployment = deployment or self._deployment
        answer = Answer(())
        for group in pack(jpegs, self._frames_per_request, MAX_REQUEST_BYTES):
            with self._slots:
                answer = _joined(answer, self._ask(group, deployment or answer.deployment))
        return answer

    def score_fp32(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """The same: no score here is an approximation."""
        return self.score(images)

    def summary(self) -> str | None:
        """One line for stderr: what became of the frames; None when none were sent.

        Where the user can mend it, a second one with a hint.
        """
        outcome = self._tally.outcome()
        hint = f"\nhint: {self._cure}" if self._cure else ""
        return outcome and f"Model endpoint {self._category}: {self._shown_uri} {outcome}{hint}"

    def close(self) -> None:
        """End pauses and requests under way at once, free the connections; idempotent."""
        self._caller.close()

    def _ask(self, jpegs: Sequence[bytes], deployment: str | None) -> Answer:
        read = partial(read_scores, count=len(jpegs), category=self._category)
        outcome = self._caller.call(build_body(jpegs), read, deployment)
        if isinstance(outcome, Scored):
            self._tally.answered(len(jpegs), outcome.elapsed_s)
            scores = [{self._category: score} for score in outcome.scores]
            return Answer(scores, deployment=outcome.deployment)
        if outcome.too_large and len(jpegs) > 1:
            half = len(jpegs) // 2
            # The frames to come are as large: what was refused once is not tried with each batch.
            self._frames_per_request = max(1, min(self._frames_per_request, half))
            first = self._ask(jpegs[:half], deployment)
            return _joined(first, self._ask(jpegs[half:], deployment or first.deployment))
        return self._give_up(jpegs, outcome, deployment)

    def _give_up(self, jpegs: Sequence[bytes], failure: Failure, deployment: str | None) -> Answer:
        self._tally.failed(len(jpegs), None if failure.not_asked else failure.reason)
        nothing: list[Mapping[str, float]] = [{} for _ in jpegs]
        if not failure.misconfigured or self._went_away(failure, deployment):
            return Answer(nothing, failure.reason)
        self._cure = self._what_to_mend(failure)
        return Answer(nothing, f"{failure.reason}: {self._cure}", misconfigured=True)

    def _went_away(self, failure: Failure, deployment: str | None) -> bool:
        """Whether a deployment that had answered before is no longer there: nobody's mistake."""
        chosen = deployment is None or deployment == self._deployment
        return failure.status == HTTPStatus.NOT_FOUND and not chosen

    def _what_to_mend(self, failure: Failure) -> str:
        status = failure.status or 0
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return f"set {self._key_named_by} to the key of this endpoint"
        if status == HTTPStatus.NOT_FOUND and self._deployment is not None:
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
    )
