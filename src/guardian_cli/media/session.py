"""One source in the worker process: told apart, decoded, and passed on frame by frame.

Only the worker process imports this module.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Protocol

from guardian_cli.errors import SourceError
from guardian_cli.media.coverage import Promise, Seen, judge
from guardian_cli.media.frames import DecodeTally, MediaFacts
from guardian_cli.media.local_file import LocalFile
from guardian_cli.media.picture import fit, to_sdr
from guardian_cli.media.readers import ReaderOptions
from guardian_cli.media.sampling import DEFAULT_INTERVAL_S
from guardian_cli.media.sniff import sniff
from guardian_cli.media.still_decoding import StillDecoding
from guardian_cli.media.stream import CONNECT_S, PROTOCOLS, StreamDecoding
from guardian_cli.media.survey import survey_file
from guardian_cli.media.video import VideoDecoding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.media.frames import DecodeSettings, Frame, Window
    from guardian_cli.media.logs import Log
    from guardian_cli.media.sniff import Sniffed
    from guardian_cli.media.survey import Survey

RTSP_SCHEMES = ("rtsp://", "rtsps://")


class Outlet(Protocol):
    """Where a session's results go; each call may raise to stop the session."""

    def facts(self, facts: MediaFacts) -> None:
        """Tell what the source is."""

    def frame(self, frame: Frame, tally: DecodeTally) -> None:
        """Pass on a picture at its final size."""

    def go_on(self, tally: Callable[[], DecodeTally]) -> None:
        """Called now and then during long work."""


class _Decoding(Protocol):
    def frames(self) -> Iterator[Frame]: ...
    def tally(self) -> DecodeTally: ...


class Session:
    """Decodes one location; `tally` is there at any time, also after an error."""

    def __init__(self, location: str, settings: DecodeSettings, log: Log, outlet: Outlet) -> None:
        self._location = location
        self._settings = settings
        self._log = log
        self._outlet = outlet
        self._decoding: _Decoding | None = None
        self._survey: Survey | None = None
        self._file: LocalFile | None = None

    def tally(self) -> DecodeTally:
        """Return what was seen so far."""
        if self._decoding is not None:
            return self._decoding.tally()
        nothing = Seen(self._settings.mode, self._settings.max_gap_s, DEFAULT_INTERVAL_S)
        return judge(nothing, Promise(), ended=False)

    def run(self) -> None:
        """Pass on facts and samples; raise SourceError where the source can't be scanned."""
        if self._location.casefold().startswith(RTSP_SCHEMES):
            stream = StreamDecoding(self._stream_options(), self._settings, self._log, self._go_on)
            self._decoding, self._survey = stream, stream.survey
            self._pass_on(stream.frames())
            self._outlet.facts(self._facts(stream.survey))
            return
        self._file = LocalFile(self._location)
        kind = sniff(self._file.head(), os.path.basename(self._location))  # noqa: PTH119 - any bytes
        if kind == "media":
            self._run_video(self._file)
        else:
            self._run_stills(self._file, _still_kind(kind))

    def _run_video(self, file: LocalFile) -> None:
        survey = survey_file(file, self._settings.every_s, self._log, self._go_on)
        self._survey = survey
        decoding = VideoDecoding(survey, file.fd, self._settings, self._log, self._go_on)
        self._decoding = decoding
        self._pass_on(decoding.frames())
        self._outlet.facts(self._facts(survey))

    def _pass_on(self, frames: Iterator[Frame]) -> None:
        told = False
        for frame in frames:
            survey = self._survey
            assert survey is not None  # noqa: S101 - set before any frame
            if not told:
                size = (frame.image.shape[1], frame.image.shape[0])
                self._outlet.facts(self._facts(survey, size))
                told = True
            shown = replace(frame, image=self._shown(frame.image, survey))
            self._outlet.frame(shown, self.tally())

    def _shown(self, picture: NDArray[np.uint8], survey: Survey) -> NDArray[np.uint8]:
        aspect = 1 / survey.aspect if survey.rotation % 180 else survey.aspect
        small = fit(picture, aspect, self._settings.short_side_px)
        return small if survey.transfer is None else to_sdr(small, survey.transfer)

    def _facts(self, survey: Survey, size: tuple[int, int] = (0, 0)) -> MediaFacts:
        width, height = survey.width or size[0], survey.height or size[1]
        if survey.rotation % 180 and survey.width:
            width, height = height, width
        duration_s = None if survey.still else self.tally().duration_s
        kind: Literal["video", "image"] = "image" if survey.still else "video"
        return MediaFacts(kind, width, height, duration_s, survey.codec, survey.rotation)

    def _run_stills(self, file: LocalFile, kind: Sniffed) -> None:
        stills = StillDecoding(file, kind, self._settings, self._log, self._go_on)
        self._decoding = stills
        for frame in stills.frames():
            if stills.seen.scored == 1:
                self._outlet.facts(stills.facts())
            small = fit(frame.image, 1.0, self._settings.short_side_px)
            self._outlet.frame(replace(frame, image=small), self.tally())
        self._outlet.facts(stills.facts())

    def redirect(self, outlet: Outlet) -> None:
        """Pass on what comes next to another outlet."""
        self._outlet = outlet

    def look_again(self, windows: Sequence[Window], step_s: float) -> None:
        """Pass on frames inside the windows; nothing for pictures and streams."""
        if isinstance(self._decoding, VideoDecoding) and not self._decoding.survey.still:
            self._pass_again(self._decoding, windows, step_s)

    def _pass_again(
        self, decoding: VideoDecoding, windows: Sequence[Window], step_s: float
    ) -> None:
        tally = decoding.tally()
        for frame in decoding.look_again(windows, step_s):
            shown = replace(frame, image=self._shown(frame.image, decoding.survey))
            self._outlet.frame(shown, tally)

    def close(self) -> None:
        """Close the file; idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _go_on(self) -> None:
        self._outlet.go_on(self.tally)

    def _stream_options(self) -> ReaderOptions:
        entries = (
            ("protocol_whitelist", PROTOCOLS),
            ("format_whitelist", "rtsp,rtp,mpegts,sdp"),
            ("rtsp_transport", "tcp"),
            ("timeout", str(int(CONNECT_S * 1e6))),
        )
        url = self._location
        return ReaderOptions(url, entries, self._settings.threads, open_timeout_s=CONNECT_S)


def _still_kind(kind: Sniffed) -> Sniffed:
    refusals = {
        "playlist": ("a playlist that names other files or addresses", "playlist"),
        "text": ("a text file, neither a video nor an image", "unreadable"),
        "heif": ("HEIC pictures can't be read by this OpenCV", "unreadable"),
    }
    if kind in refusals:
        message, word = refusals[kind]
        raise SourceError(message, kind=word)
    return kind
