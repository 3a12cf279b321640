"""Which frames become stills, and that memory stays bounded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from guardian_cli.detectors.fusion import CategoryScore
from guardian_cli.evidence.stills import MAX_STILLS, Still, StillKeeper
from guardian_cli.scanning.observer import ScoredFrame
from guardian_cli.verdict.result import CategoryVerdict, Segment
from guardian_cli.verdict.timeline import Sample
from tests.reports.samples import video

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardian_cli.verdict.result import ScanResult


def frame(time_s: float, score: float | None, *, refined: bool = False) -> ScoredFrame:
    image = np.full((360, 640, 3), round(10 * time_s) % 256, np.uint8)
    sample = Sample(time_s, {"nsfw": CategoryScore(score)})
    return ScoredFrame(image, sample, {}, {}, {}, refined)


def kept(frames: Sequence[ScoredFrame], segments: Sequence[Segment]) -> list[Still]:
    got: list[Still] = []

    def keep(_: ScanResult, stills: list[Still]) -> None:
        got.extend(stills)

    keeper = StillKeeper({"nsfw": 0.5}, 1.0, keep)
    for one in frames:
        keeper.on_frame(one)
    categories = {"nsfw": CategoryVerdict(0.9, "block", tuple(segments))}
    keeper.on_result(replace(video(), categories=categories))
    return got


def test_each_segment_has_the_frame_of_its_peak_small() -> None:
    scores = [0.1, 0.6, 0.9, 0.7, 0.1, None, 0.55, 0.5]
    frames = [frame(float(at), score) for at, score in enumerate(scores)]
    first, second = kept(frames, [Segment(1, 4, 0.9, 2.0), Segment(6, 8, 0.55, 6.0)])
    assert (first.peak_s, first.time_s, second.time_s) == (2.0, 2.0, 6.0)
    picture = cv2.imdecode(np.frombuffer(first.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (180, 320, 3)
    assert abs(int(picture[90, 160, 0]) - 20) <= 2


def test_a_refinement_has_stills_of_its_own_windows() -> None:
    first = [frame(float(at), 0.9 if at in {2, 8} else 0.1) for at in range(12)]
    scores = {1.9: 0.6, 2.1: 0.95, 7.9: 0.7, 8.1: 0.6}
    again = [frame(at, score, refined=True) for at, score in scores.items()]
    segments = [Segment(1.9, 2.2, 0.95, 2.1), Segment(7.9, 8.2, 0.7, 7.9)]
    assert [one.time_s for one in kept(first + again, segments)] == [2.1, 7.9]


def test_a_segment_without_a_frame_of_its_own_has_none() -> None:
    assert not kept([frame(0.0, 0.9), frame(1.0, 0.1)], [Segment(5, 6, 0.9, 5.0)])


def test_whatever_a_video_does_only_so_many_are_kept_and_the_highest() -> None:
    frames = [frame(at / 2, 0.5 + at / 2000 if at % 2 else 0.0) for at in range(4 * MAX_STILLS)]
    segments = [
        Segment(one.sample.time_s, one.sample.time_s, 1, one.sample.time_s) for one in frames[1::2]
    ]
    stills = kept(frames, segments)
    assert len(stills) == MAX_STILLS
    assert min(one.time_s for one in stills) > max(one.sample.time_s for one in frames) / 2 - 1
