"""Turns to decode: given on while scores are awaited, never more than there are workers."""

from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest

from guardian_cli.console import Console
from guardian_cli.detectors.detector_set import DetectorSet
from guardian_cli.media.frames import DecodeSettings, Frame
from guardian_cli.media.sources import Source
from guardian_cli.scanning.decoder_pool import DECODERS_MORE, DOWNLOADS_MORE, Crew
from guardian_cli.scanning.progress import Progress
from guardian_cli.scanning.scorer import Scorer, ScoringStopped
from guardian_cli.scanning.source import ScanTools, scan_source
from guardian_cli.settings import load_settings
from tests.fakes import FakeDecoder, FakeDetector

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from guardian_cli.verdict.result import ScanResult

LONG_S = 30.0
SHORT_S = 0.1


class Makers:
    """Makes decoders and remembers them."""

    def __init__(self, new: Callable[[], FakeDecoder] = FakeDecoder) -> None:
        self.new = new
        self.made: list[FakeDecoder] = []

    def __call__(self) -> FakeDecoder:
        self.made.append(self.new())
        return self.made[-1]


def comes(crew: Crew, stack: ExitStack) -> threading.Event:
    """An event that is set when a thread has got a place, which it keeps until the stack's end."""
    came, goes = threading.Event(), threading.Event()

    def take() -> None:
        with crew.place() as place:
            place.begin()
            came.set()
            goes.wait(LONG_S)

    thread = threading.Thread(target=take)
    thread.start()
    stack.callback(thread.join, LONG_S)
    stack.callback(goes.set)
    return came


def test_no_more_sources_are_decoded_than_there_are_workers() -> None:
    crew = Crew(1, Makers())
    with ExitStack() as stack, crew.place() as place:
        place.begin()
        came = comes(crew, stack)
        assert not came.wait(SHORT_S)
        place.pause(for_good=False)
        assert came.wait(LONG_S)


def test_a_second_look_waits_for_its_turn_and_has_the_same_decoder() -> None:
    crew = Crew(1, Makers())
    resumed = threading.Event()
    with crew.place() as first:
        decoder = first.begin()
        first.pause(for_good=False)
        with crew.place() as second:
            assert second.begin() is not decoder
            assert first.begin() is decoder

            def resume() -> None:
                first.resume()
                resumed.set()

            thread = threading.Thread(target=resume)
            thread.start()
            assert not resumed.wait(SHORT_S)
        assert resumed.wait(LONG_S)
        thread.join(LONG_S)


def test_who_needs_no_second_look_leaves_the_decoder_to_the_next() -> None:
    makers = Makers()
    crew = Crew(1, makers)
    with ExitStack() as stack:
        for _ in range(20):
            place = stack.enter_context(crew.place())
            place.begin()
            place.pause(for_good=True)
    assert len(makers.made) == 1


def test_the_number_of_decoders_is_bounded() -> None:
    makers = Makers()
    crew = Crew(2, makers)
    with ExitStack() as last, ExitStack() as stack:
        for _ in range(2 + DECODERS_MORE):
            place = stack.enter_context(crew.place())
            place.begin()
            place.pause(for_good=False)
        came = comes(crew, last)
        assert not came.wait(SHORT_S)
        stack.close()
        assert came.wait(LONG_S)
    assert len(makers.made) == 2 + DECODERS_MORE


def test_closing_ends_decoders_and_frees_who_waits() -> None:
    makers = Makers()
    crew = Crew(1, makers)

    def take() -> None:
        with crew.place() as place:
            place.begin()

    with ThreadPoolExecutor(1) as pool, crew.place() as place:
        place.begin()
        waiting = pool.submit(take)
        crew.close()
        with pytest.raises(ScoringStopped):
            waiting.result(LONG_S)
        place.pause(for_good=False)
        with pytest.raises(ScoringStopped):
            place.resume()
    assert [decoder.closed for decoder in makers.made] == [True]


def picture(level: int) -> np.ndarray:
    return np.full((8, 8, 3), level, np.uint8)


HOT_ONCE = [Frame(float(at), picture(255 if at == 2 else at)) for at in range(5)]


class Scene:
    """One worker, and a detector that holds back its scores until `gate` is set."""

    def __init__(self, folder: Path, kind: Literal["video", "image"]) -> None:
        self.ended, self.gate = threading.Semaphore(0), threading.Event()
        again = [Frame(1.5, picture(0)), Frame(2.5, picture(0))]
        self.makers = Makers(lambda: FakeDecoder(HOT_ONCE, again, kind, self.ended.release))
        self.crew = Crew(1, self.makers)
        self.panel = DetectorSet([FakeDetector(gate=self.gate)])
        self.scorer = Scorer(self.panel.detectors)
        self.tools = ScanTools(
            load_settings(environ={}, folder=folder).config,
            self.panel,
            self.scorer,
            DecodeSettings(short_side_px=8),
            Progress(2, Console(quiet=True)),
            lambda *_: folder,
        )

    def scan(self, name: str, kind: Literal["file", "url"] = "file") -> ScanResult:
        with self.crew.place() as place:
            result = scan_source(Source(kind, name, name), self.tools, place)
            assert result is not None
            return result


@pytest.mark.parametrize(("kind", "scored", "decoders"), [("video", 7, 2), ("image", 5, 1)])
def test_the_next_source_is_decoded_while_scores_are_awaited(
    tmp_path: Path, kind: Literal["video", "image"], scored: int, decoders: int
) -> None:
    scene = Scene(tmp_path, kind)
    with scene.scorer, ThreadPoolExecutor(2) as pool:
        scans = [pool.submit(scene.scan, name) for name in ("one", "two")]
        assert all(scene.ended.acquire(timeout=LONG_S) for _ in scans)
        assert not any(scan.done() for scan in scans)
        scene.gate.set()
        results = [scan.result(LONG_S) for scan in scans]
    for result in results:
        assert result.coverage is not None
        assert result.coverage.frames_scored == scored
    assert len(scene.makers.made) == decoders


def test_a_slow_download_holds_no_turn(tmp_path: Path) -> None:
    scene = Scene(tmp_path, "image")
    fetching, fetched = threading.Event(), threading.Event()

    def fetch(url: str, folder: Path) -> Path:
        fetching.set()
        assert fetched.wait(LONG_S)
        return folder

    scene.gate.set()
    scene.tools = replace(scene.tools, fetch=fetch)
    with scene.scorer, ThreadPoolExecutor(2) as pool:
        slow = pool.submit(scene.scan, "http://127.0.0.1/slow", "url")
        assert fetching.wait(LONG_S)
        assert scene.scan("here").verdict != "error"
        assert not slow.done()
        fetched.set()
        assert slow.result(LONG_S).verdict != "error"


def test_the_number_of_files_fetched_and_waiting_is_bounded(tmp_path: Path) -> None:
    crew = Crew(1, Makers())
    begun, most = threading.Semaphore(0), 1 + DOWNLOADS_MORE

    def fetch() -> Path:
        begun.release()
        return tmp_path

    def visit() -> None:
        with crew.place() as place:
            place.fetched(fetch)

    with ThreadPoolExecutor(most + 1) as pool:
        with crew.place() as place:
            place.begin()
            visits = [pool.submit(visit) for _ in range(most + 1)]
            assert all(begun.acquire(timeout=LONG_S) for _ in range(most))
            assert not begun.acquire(timeout=SHORT_S)
        for one in visits:
            one.result(LONG_S)


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        (errno.ENOSPC, "unwritable", "no room for temporary files"),
        (errno.EACCES, "unreadable", "cannot be read"),
    ],
)
def test_a_full_disk_is_not_taken_for_a_source_that_cannot_be_read(
    tmp_path: Path, number: int, kind: str, said: str
) -> None:
    def fetch(url: str, folder: Path) -> Path:
        raise OSError(number, os.strerror(number))

    scene = Scene(tmp_path, "image")
    scene.tools = replace(scene.tools, fetch=fetch)
    with scene.scorer:
        error = scene.scan("http://127.0.0.1/x", "url").error
    assert error is not None
    assert error.kind == kind
    assert said in error.message
