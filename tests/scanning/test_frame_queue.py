"""Which frames share a request, and when it goes out: a clock that only the test moves."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.detectors.base import Answer
from guardian_cli.scanning.frame_queue import (
    FIRST_REQUESTS_ALONE,
    MAX_WAIT_S,
    Batch,
    FrameQueue,
    Origin,
    PendingFrame,
)
from tests.fakes import FakeDetector, FakeEndpoint, number_in, picture_of


@dataclass
class Harness:
    """A queue, and whoever takes from it."""

    detector: FakeDetector
    now_s: float = 0.0
    put: int = 0
    queue: FrameQueue = field(init=False)

    def __post_init__(self) -> None:
        self.queue = FrameQueue(0, self.detector, lambda: self.now_s)

    def hand_in(self, origin: Origin, frames: int = 1) -> None:
        for _ in range(frames):
            self.queue.put(PendingFrame(picture_of(self.put), origin))
            self.put += 1

    def take(self) -> Batch | None:
        batch, wait_s = self.queue.choose()
        assert wait_s is None or 0 < wait_s <= MAX_WAIT_S
        return batch

    def answer(self, batch: Batch | None, deployment: str | None = "version-1") -> None:
        assert batch is not None
        scores = [{"nsfw": 0.5}] * len(batch.frames)
        self.queue.answered(batch, Answer(scores, deployment=deployment))


def numbers(batch: Batch | None) -> list[int]:
    assert batch is not None
    return [number_in(image) for _, image in batch.frames]


def test_a_detector_in_this_process_waits_for_nothing() -> None:
    harness = Harness(FakeDetector())
    harness.hand_in(Origin(more=True), 3)
    harness.hand_in(Origin(more=True), 9)
    assert [numbers(harness.take()), numbers(harness.take())] == [[*range(8)], [8, 9, 10, 11]]


def test_frames_for_fp32_go_apart() -> None:
    harness = Harness(FakeDetector())
    for number, in_fp32 in enumerate([False, True, False, True]):
        harness.queue.put(PendingFrame(picture_of(number), Origin(), in_fp32=in_fp32))
    batches = [harness.take(), harness.take()]
    assert [numbers(batch) for batch in batches] == [[0, 2], [1, 3]]
    assert [batch.route.in_fp32 for batch in batches if batch] == [False, True]


def test_a_source_asks_once_and_then_for_who_answered() -> None:
    harness = Harness(FakeEndpoint())
    clip, other = Origin(more=True), Origin(more=True)
    harness.hand_in(clip, 2)
    first = harness.take()
    assert first is not None
    assert (first.route.deployment, numbers(first)) == (None, [0, 1])
    harness.hand_in(clip, 8)
    assert harness.take() is None, "two requests without a name could go to two deployments"
    harness.hand_in(other)
    second = harness.take()
    assert second is not None
    assert (second.route.deployment, numbers(second)) == (None, [10])
    harness.answer(second, "version-2")
    harness.answer(first, "version-1")
    third = harness.take()
    assert third is not None
    assert (third.route.deployment, numbers(third)) == ("version-1", [*range(2, 10)])


def test_a_first_request_that_fails_settles_nothing() -> None:
    harness = Harness(FakeEndpoint())
    clip = Origin(more=True)
    harness.hand_in(clip, 2)
    failed = harness.take()
    assert failed is not None
    harness.queue.answered(failed, Answer([{}, {}], "refused"))
    harness.hand_in(clip, 1)
    crashed = harness.take()
    assert crashed is not None
    assert crashed.route.first
    harness.queue.answered(crashed, None)
    harness.hand_in(clip, 1)
    last = harness.take()
    assert last is not None
    assert last.route.first


def test_sources_with_the_same_deployment_share_requests() -> None:
    harness = Harness(FakeEndpoint())
    origins = [Origin(deployments={0: name}) for name in ("a", "b", "a", None, "b", None)]
    for origin in origins:
        harness.hand_in(origin)
    batches = [harness.take(), harness.take(), harness.take()]
    assert [numbers(batch) for batch in batches] == [[0, 2], [1, 4], [3, 5]]
    assert [batch.route.deployment for batch in batches if batch] == ["a", "b", None]


def test_one_that_was_chosen_is_asked_from_the_first_frame_on() -> None:
    harness = Harness(FakeEndpoint(deployment="version-7"))
    for _ in range(3):
        harness.hand_in(Origin())
    batch = harness.take()
    assert batch is not None
    assert (batch.route.deployment, batch.route.first, numbers(batch)) == (
        "version-7",
        False,
        [0, 1, 2],
    )


def test_pictures_share_their_only_request_where_nothing_is_split() -> None:
    harness = Harness(FakeEndpoint())
    for _ in range(FIRST_REQUESTS_ALONE + 8):
        harness.hand_in(Origin())
    sizes = []
    while (batch := harness.take()) is not None:
        sizes.append(len(batch.frames))
        harness.answer(batch)
    assert sizes == [*[1] * FIRST_REQUESTS_ALONE, 8]


def test_where_traffic_is_split_every_source_is_dealt_for_itself() -> None:
    harness = Harness(FakeEndpoint())
    origins = [Origin() for _ in range(40)]
    for origin in origins:
        harness.hand_in(origin)
    dealt = 0
    while (batch := harness.take()) is not None:
        assert len(batch.frames) == 1
        harness.answer(batch, f"version-{1 + dealt % 2}")
        dealt += 1
    counts = Counter(origin.deployments[0] for origin in origins)
    assert counts == {"version-1": 20, "version-2": 20}


def test_a_request_waits_to_be_filled_while_frames_are_to_come() -> None:
    harness = Harness(FakeEndpoint())
    clip = Origin(more=True, deployments={0: "a"})
    harness.hand_in(clip, 7)
    assert harness.take() is None
    harness.hand_in(clip)
    assert len(numbers(harness.take())) == 8
    harness.hand_in(clip, 3)
    assert harness.take() is None
    clip.more = False
    assert len(numbers(harness.take())) == 3


def test_it_does_not_wait_for_ever() -> None:
    harness = Harness(FakeEndpoint())
    stream = Origin(more=True, deployments={0: "a"})
    harness.hand_in(stream)
    harness.now_s = MAX_WAIT_S - 0.1
    harness.hand_in(stream)
    assert harness.take() is None
    harness.now_s = MAX_WAIT_S
    assert numbers(harness.take()) == [0, 1]


def test_frames_that_were_given_up_are_not_asked_for() -> None:
    harness = Harness(FakeEndpoint())
    gone = PendingFrame(picture_of(9), Origin())
    harness.queue.put(gone)
    gone.image = None
    gone.done.set()
    assert harness.take() is None
    harness.hand_in(gone.origin)
    assert numbers(harness.take()) == [0]


def test_31_frames_take_5_requests() -> None:
    """As a fast endpoint has them: each answered before the next frame comes."""
    harness = Harness(FakeEndpoint())
    clip = Origin(more=True)
    sizes = []
    for _ in range(31):
        harness.hand_in(clip)
        while (batch := harness.take()) is not None:
            sizes.append(len(batch.frames))
            harness.answer(batch)
        harness.now_s += 0.01
    clip.more = False
    while (batch := harness.take()) is not None:
        sizes.append(len(batch.frames))
        harness.answer(batch)
    assert sizes == [1, 8, 8, 8, 6]


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 5)), min_size=1, max_size=20),
    st.lists(st.sampled_from(["a", "b", None, "fails"]), min_size=1),
    st.integers(1, 8),
)
def test_no_frame_is_lost_and_no_source_has_two_deployments(
    comes: list[tuple[int, int]], deals: list[str | None], batch_size: int
) -> None:
    harness = Harness(FakeEndpoint(batch_size=batch_size))
    origins = [Origin() for _ in range(5)]
    for origin, frames in comes:
        harness.hand_in(origins[origin], frames)
    seen: list[int] = []
    answered_by: dict[Origin, set[str | None]] = {origin: set() for origin in origins}
    number = 0
    while (batch := harness.take()) is not None:
        assert 1 <= len(batch.frames) <= batch_size
        seen += numbers(batch)
        who = batch.route.deployment
        if batch.route.first:
            who, number = deals[number % len(deals)], number + 1
        if who == "fails":
            harness.queue.answered(batch, Answer([{}] * len(batch.frames), "refused"))
            continue
        harness.answer(batch, who)
        for frame, _ in batch.frames:
            answered_by[frame.origin].add(who)
    assert sorted(seen) == list(range(harness.put))
    assert all(len(names) <= 1 for names in answered_by.values())
