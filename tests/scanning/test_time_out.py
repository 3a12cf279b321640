"""What was scored before a time-out is judged; what crashes is an error whatever came before."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from guardian_cli.console import Console
from guardian_cli.detectors.detector_set import DetectorSet
from guardian_cli.errors import SourceError
from guardian_cli.media.frames import DecodeSettings, Frame
from guardian_cli.media.sources import Source
from guardian_cli.reports.document import to_dict
from guardian_cli.scanning.decoder_pool import Crew
from guardian_cli.scanning.progress import Progress
from guardian_cli.scanning.scorer import Scorer
from guardian_cli.scanning.source import ScanTools, scan_source
from guardian_cli.settings import load_settings
from tests.fakes import FakeDecoder, FakeDecoding, FakeDetector

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
    """Gives its frames and then fails, or gives all of them and fails when it looks again."""

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

    def look_again(self, windows: Sequence[Window], step_s: float) -> Iterator[Frame]:
        yield from super().look_again(windows, step_s)
        raise SourceError("not decoded within 5 s", kind=self.decoder.kind_of_end)


def scan(folder: Path, decoder: FakeDecoder) -> ScanResult:
    (folder / "x.mp4").write_bytes(b"x")
    panel = DetectorSet([FakeDetector()])
    with Scorer(panel.detectors) as scorer, closing(Crew(1, lambda: decoder)) as crew:
        tools = ScanTools(
            load_settings(environ={}, folder=folder).config,
            panel,
            scorer,
            DecodeSettings(short_side_px=8),
            Progress(1, Console(quiet=True)),
            lambda *_: folder,
        )
        with crew.place() as place:
            source = Source("file", str(folder / "x.mp4"), "x.mp4")
            result = scan_source(source, tools, place)
    assert result is not None
    return result


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
def test_what_a_second_look_saw_before_it_ended_counts(tmp_path: Path, kind: str) -> None:
    """One hot frame at 2 s stands alone; the second look finds the same at 2.09 s, and ends."""
    hot = Frame(2.09, np.full((8, 8, 3), 255, np.uint8))
    decoder = EndingDecoder(frames([0, 1, 255, 2, 3]), [hot], kind_of_end=kind, again_only=True)
    result = scan(tmp_path, decoder)
    assert result.coverage is not None
    assert result.coverage.frames_scored == 6
    assert result.verdict == "block"
