"""One source: its turn to decode, what a time-out leaves, and what is told of its errors."""

from __future__ import annotations

import errno
import functools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest

from guardian_cli.errors import SourceError
from guardian_cli.media.frames import DecodeSettings, Frame
from guardian_cli.reports.document import to_dict
from guardian_cli.scanning.decoder_pool import DecoderPool
from tests.fakes import FakeDecoder, FakeDecoding, FakeDetector
from tests.scanning.harness import BOTH, running_scorer, scan_alone, scan_context, scan_one
from tests.scanning.test_decoder_pool import LONG_S, Makers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from guardian_cli.media.frames import Window
    from guardian_cli.verdict.result import ScanResult


def frames(levels: Sequence[int]) -> list[Frame]:
    return [
        Frame(float(at), np.full((8, 8, 3), level, np.uint8)) for at, level in enumerate(levels)
    ]


@dataclass
class EndingDecoder(FakeDecoder):
    """Gives its frames and then fails, or gives all of them and fails when it refines."""

    kind_of_end: str = "timeout"
    again_only: bool = False

    def open(self, location: str, settings: DecodeSettings) -> FakeDecoding:
        return EndingDecoding(self, settings)


class EndingDecoding(FakeDecoding):
    decoder: EndingDecoder

    def frames(self) -> Iterator[Frame]:
        yield from super().frames()
        if not self.decoder.again_only:
            raise SourceError("not decoded within 5 s", kind=self.decoder.kind_of_end)

    def refine(self, windows: Sequence[Window], step_s: float) -> Iterator[Frame]:
        yield from super().refine(windows, step_s)
        raise SourceError("not decoded within 5 s", kind=self.decoder.kind_of_end)


def scan(folder: Path, decoder: FakeDecoder) -> ScanResult:
    (folder / "x.mp4").write_bytes(b"x")
    return scan_alone(folder / "x.mp4", FakeDetector(), lambda: decoder)


def test_what_was_seen_before_a_time_out_is_judged_as_incomplete(tmp_path: Path) -> None:
    result = scan(tmp_path, EndingDecoder(frames([255, 255, 255, 0])))
    assert result.verdict == "block"
    assert result.reasons == (
        "nsfw 0.85 at 0.0 s",
        "incomplete: time-out, not decoded within 5 s: seen up to 3.0 s of 4.0 s",
        "violence unscored: no detector scored it",
    )
    coverage = to_dict(result)["coverage"]
    assert (coverage["frames_scored"], coverage["timed_out"]) == (4, True)
    assert (coverage["complete"], coverage["reached_end"]) == (False, False)


def test_a_time_out_before_the_first_frame_is_an_error(tmp_path: Path) -> None:
    result = scan(tmp_path, EndingDecoder())
    assert (result.verdict, result.error and result.error.kind) == ("error", "timeout")


@pytest.mark.parametrize("kind", ["crashed", "memory"])
def test_a_crash_is_an_error_whatever_came_before_it(tmp_path: Path, kind: str) -> None:
    result = scan(tmp_path, EndingDecoder(frames([255, 255, 255]), kind_of_end=kind))
    assert (result.verdict, result.error and result.error.kind) == ("error", kind)


@pytest.mark.parametrize("kind", ["timeout", "crashed"])
def test_what_a_refinement_saw_before_it_ended_counts(tmp_path: Path, kind: str) -> None:
    """One hot frame at 2 s stands isolated; the refinement finds the same at 2.09 s, and ends."""
    hot = Frame(2.09, np.full((8, 8, 3), 255, np.uint8))
    decoder = EndingDecoder(frames([0, 1, 255, 2, 3]), [hot], kind_of_end=kind, again_only=True)
    result = scan(tmp_path, decoder)
    assert result.coverage.frames_scored == 6
    assert result.verdict == "block"


HOT_ONCE = frames([0, 1, 255, 3, 4])


class Scene:
    """One worker, and a detector that holds back its scores until `gate` is set."""

    def __init__(self, kind: Literal["video", "image"]) -> None:
        self.ended, self.gate = threading.Semaphore(0), threading.Event()
        again = [Frame(at, np.zeros((8, 8, 3), np.uint8)) for at in (1.5, 2.5)]
        self.makers = Makers(lambda: FakeDecoder(HOT_ONCE, again, kind, self.ended.release))
        self.pool = DecoderPool(1, self.makers)
        self.scorer = running_scorer([FakeDetector(gate=self.gate)], BOTH)
        self.context = scan_context(self.scorer)

    def scan(self, name: str, kind: Literal["file", "url"] = "file") -> ScanResult:
        return scan_one(self.context, self.pool, name, kind)


@pytest.mark.parametrize(("kind", "scored", "decoders"), [("video", 7, 2), ("image", 5, 1)])
def test_the_next_source_is_decoded_while_scores_are_awaited(
    kind: Literal["video", "image"], scored: int, decoders: int
) -> None:
    scene = Scene(kind)
    with scene.scorer, ThreadPoolExecutor(2) as threads:
        scans = [threads.submit(scene.scan, name) for name in ("one", "two")]
        assert all(scene.ended.acquire(timeout=LONG_S) for _ in scans)
        assert not any(scan.done() for scan in scans)
        scene.gate.set()
        results = [scan.result(LONG_S) for scan in scans]
    for result in results:
        assert result.coverage.frames_scored == scored
    assert len(scene.makers.made) == decoders


def test_a_slow_download_holds_no_turn() -> None:
    scene = Scene("image")
    fetching, fetched = threading.Event(), threading.Event()

    def fetch(url: str, folder: Path) -> Path:
        fetching.set()
        assert fetched.wait(LONG_S)
        return folder

    scene.gate.set()
    scene.context = replace(scene.context, fetch=fetch)
    with scene.scorer, ThreadPoolExecutor(2) as threads:
        slow = threads.submit(scene.scan, "http://127.0.0.1/slow", "url")
        assert fetching.wait(LONG_S)
        assert scene.scan("here").verdict != "error"
        assert not slow.done()
        fetched.set()
        assert slow.result(LONG_S).verdict != "error"


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        (errno.ENOSPC, "unwritable", "no room for temporary files"),
        (errno.EACCES, "unreadable", "cannot be read"),
    ],
)
def test_a_full_disk_is_not_taken_for_a_source_that_cannot_be_read(
    number: int, kind: str, said: str
) -> None:
    def fetch(url: str, folder: Path) -> Path:
        raise OSError(number, os.strerror(number))

    scene = Scene("image")
    scene.context = replace(scene.context, fetch=fetch)
    with scene.scorer:
        error = scene.scan("http://127.0.0.1/x", "url").error
    assert error is not None
    assert error.kind == kind
    assert said in error.message


@dataclass
class DarkBetweenDecoder(FakeDecoder):
    """Whatever it refines is dark, but for `bright` stretches; notes the windows."""

    bright: tuple[tuple[float, float], ...] = ()
    refined: list[Window] = field(default_factory=list)

    def open(self, location: str, settings: DecodeSettings) -> FakeDecoding:
        return DarkBetweenDecoding(self, settings)


class DarkBetweenDecoding(FakeDecoding):
    decoder: DarkBetweenDecoder

    def refine(self, windows: Sequence[Window], step_s: float) -> Iterator[Frame]:
        self.decoder.refined += windows
        for window in windows:
            for at in np.arange(window.start_s, window.end_s, step_s):
                is_bright = any(start <= at <= end for start, end in self.decoder.bright)
                level = 120 if is_bright else 0
                yield Frame(round(float(at), 6), np.full((8, 8, 3), level, np.uint8))


def test_a_level_is_what_a_scan_at_that_threshold_would_have_found(tmp_path: Path) -> None:
    """Two flashes are dismissed one after the other; what is bright for a while is not."""
    path = tmp_path / "video"
    path.write_bytes(b"x")
    series = [0, 100, 0, 0, 110, 0, 0, 120, 0, 0, 40, 50, 0]
    # CLIP alone counts for 0.85 of its score.
    for bright, expected in ((), 0.85 * 40 / 255), (((6.5, 7.5),), 0.85 * 120 / 255):
        decoder = DarkBetweenDecoder(frames(series), bright=bright)
        pool = DecoderPool(1, functools.partial(lambda one: one, decoder))
        with running_scorer([FakeDetector()], BOTH) as scorer:
            result = scan_one(scan_context(scorer, levels=True), pool, path)
        pool.close()
        nsfw = to_dict(result)["categories"]["nsfw"]
        assert nsfw["level"] == pytest.approx(expected, abs=1e-5)
        # Black that follows black is the same picture.
        assert nsfw["pictures"] == len(series) - 3
        # Nothing reached the thresholds of this scan, which saw no more than it always does.
        assert result.verdict == "review"
        assert result.coverage.frames_scored == len(series)
        assert len(set(decoder.refined)) == len(decoder.refined)
    with running_scorer([FakeDetector()], BOTH) as scorer:
        pool = DecoderPool(1, lambda: FakeDecoder(frames(series)))
        result = scan_one(scan_context(scorer), pool, path)
        pool.close()
    assert "level" not in to_dict(result)["categories"]["nsfw"]
