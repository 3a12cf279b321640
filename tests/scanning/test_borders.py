"""Bars are cut where they are bars, and nothing that anybody could see goes with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.config import FusionSection
from guardian_cli.media.frames import Frame
from guardian_cli.scanning.borders import MANY, TOLERANCE, BorderCutter
from guardian_cli.scanning.samples import SampleCollector
from guardian_cli.scanning.scorer import Scorer
from tests.fakes import FakeDetector
from tests.scanning.harness import NSFW

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.fakes import Image

HEIGHT, WIDTH = 90, 160
RANDOM = np.random.default_rng(0)


def scene(height: int = HEIGHT, width: int = WIDTH) -> Image:
    """A picture with something everywhere, another one each time."""
    return RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)


def barred(
    rows: int = 12, columns: int = 0, colour: Sequence[int] = (0, 0, 0), noise: int = 0
) -> Image:
    """A scene with bars of so many lines at both ends of each axis."""
    frame = np.empty((HEIGHT, WIDTH, 3), np.int16)
    frame[:] = colour
    frame += RANDOM.integers(0, noise + 1, frame.shape, dtype=np.int16)
    inside = frame[rows : HEIGHT - rows, columns : WIDTH - columns]
    inside[:] = scene(*inside.shape[:2])
    return np.clip(frame, 0, 255).astype(np.uint8)


def cut_all(frames: Sequence[Image], cutter: BorderCutter | None = None) -> list[Image]:
    cutter = cutter or BorderCutter()
    return [cutter.cut(frame, float(at)) for at, frame in enumerate(frames)]


def is_whole(cut: Image) -> bool:
    return cut.shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ("draw", "height", "width"),
    [
        (lambda: barred(12), 70, WIDTH),
        (lambda: barred(0, 40), HEIGHT, 84),
        (lambda: barred(12, 20), 70, 124),
        (lambda: barred(12, colour=(255, 255, 255)), 70, WIDTH),
        (lambda: barred(12, colour=(16, 16, 16), noise=TOLERANCE), 70, WIDTH),
    ],
    ids=["letterbox", "pillarbox", "both", "white", "noise"],
)
def test_bars_are_cut_once_they_were_there_often_enough(
    draw: Callable[[], Image], height: int, width: int
) -> None:
    cuts = cut_all([draw() for _ in range(MANY + 3)])
    assert all(is_whole(cut) for cut in cuts[:MANY])
    # Two lines of each bar stay, as the edge of the picture is blurred.
    assert {cut.shape for cut in cuts[MANY:]} == {(height, width, 3)}


@pytest.mark.parametrize("where", [(0, 0), (3, 80), (85, 40), (HEIGHT - 1, WIDTH - 1)])
@pytest.mark.parametrize("hidden", [TOLERANCE + 1, 60, 255])
def test_content_hidden_in_a_bar_is_looked_at(where: tuple[int, int], hidden: int) -> None:
    """One pixel is enough, in every frame: what is not uniform is no bar."""
    frames = [barred() for _ in range(3 * MANY)]
    for frame in frames:
        frame[where] = hidden
    assert all(is_whole(cut) for cut in cut_all(frames))


def test_content_in_a_bar_of_some_frames_is_looked_at_with_those_frames() -> None:
    frames = [barred() for _ in range(4 * MANY)]
    frames[MANY + 2][HEIGHT - 6 : HEIGHT - 3, 60:100] = 220  # a subtitle
    cuts = cut_all(frames)
    whole = [at for at, cut in enumerate(cuts) if is_whole(cut)]
    assert whole == [*range(MANY), *range(MANY + 2, 2 * MANY + 3)]


def test_a_bar_that_changes_its_colour_is_content() -> None:
    frames = [barred() for _ in range(MANY + 2)]
    frames.append(barred(colour=(0, 0, 200)))
    assert [is_whole(cut) for cut in cut_all(frames)[MANY:]] == [False, False, True]
    flashing = [barred(colour=(0, 0, 40 * (at % 2))) for at in range(3 * MANY)]
    assert all(is_whole(cut) for cut in cut_all(flashing))


@pytest.mark.parametrize(
    "frames",
    [
        [scene() for _ in range(12)],
        [barred(1) for _ in range(12)],
        [barred(42) for _ in range(12)],
        [barred(12) for _ in range(MANY)],
        [barred(10 + 5 * (at % 4)) for at in range(12)],
        [np.concatenate([scene(70), np.zeros((20, WIDTH, 3), np.uint8)]) for _ in range(12)],
        [np.zeros((HEIGHT, WIDTH, 3), np.uint8) for _ in range(12)],
    ],
    ids=["none", "thin", "nothing else", "few", "a plain background", "one side", "black"],
)
def test_what_is_no_bar_stays(frames: Sequence[Image]) -> None:
    assert all(is_whole(cut) for cut in cut_all(frames))


def test_dark_scenes_and_black_frames_neither_make_bars_nor_lose_them() -> None:
    dark, black = [barred(25) for _ in range(2)], np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    frames = [*(barred() for _ in range(MANY)), *dark, black, *(barred() for _ in range(3))]
    cuts = cut_all(frames)
    assert [len(cut) for cut in cuts[MANY:]] == [70, 70, HEIGHT, 70, 70, 70]


def test_another_size_starts_anew() -> None:
    small = [frame[20:, :100] for frame in (scene() for _ in range(2))]
    cuts = cut_all([*(barred() for _ in range(MANY + 1)), *small, *(barred() for _ in range(2))])
    assert [cut.shape[:2] for cut in cuts[MANY:]] == [
        (70, WIDTH), (70, 100), (70, 100), (HEIGHT, WIDTH), (HEIGHT, WIDTH)
    ]  # fmt: skip


Drawn = st.lists(
    st.tuples(st.sampled_from([0, 1, 12, 13, 25]), st.sampled_from([0, 30]), st.booleans()),
    min_size=1,
    max_size=25,
)


@pytest.mark.slow
@given(Drawn)
def test_all_that_is_cut_is_of_one_colour_and_both_passes_cut_alike(
    drawn: list[tuple[int, int, bool]],
) -> None:
    frames = []
    for rows, columns, has_text in drawn:
        frame = barred(rows, columns)
        frame[2:4, 70:75] = 255 if has_text else frame[2:4, 70:75]
        frames.append(frame)
    cutter = BorderCutter()
    first = cut_all(frames, cutter)
    for frame, cut in zip(frames, first, strict=True):
        rows, columns = (
            (whole - inner) // 2
            for whole, inner in zip(frame.shape[:2], cut.shape[:2], strict=True)
        )
        bars = frame.copy()
        bars[rows : HEIGHT - rows, columns : WIDTH - columns] = 0
        assert bars.max(initial=0) == 0
        assert np.shares_memory(cut, frame)
    for at, frame in enumerate(frames):
        again = cutter.cut(frame, float(at), is_refined=True)
        assert again.shape == first[at].shape


class Views(FakeDetector):
    without_bars = True


def test_only_detectors_that_lay_views_are_shown_frames_without_bars() -> None:
    seen: list[list[int]] = [[], []]

    def note(index: int) -> Callable[[Image], float]:
        return lambda image: seen[index].append(len(image)) or 0.9  # type: ignore[func-returns-value]

    with Scorer(NSFW, FusionSection()) as scorer:
        scorer.start([Views(function=note(0)), FakeDetector(function=note(1))])
        collector = SampleCollector(scorer, lambda time_s: None)
        frames = [Frame(float(at), barred()) for at in range(MANY + 2)]
        collector.collect(frames)
        collector.collect([Frame(MANY + 0.5, barred())], is_refined=True)
        collector.collect([Frame(1.5, barred())], is_refined=True)
    assert seen[0] == [HEIGHT] * MANY + [70, 70, 70, HEIGHT]
    assert seen[1] == [HEIGHT] * (MANY + 4)
