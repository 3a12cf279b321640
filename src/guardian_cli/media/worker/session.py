"""One source in the worker process: told apart, decoded, and passed on frame by frame.

Only the worker process imports this module.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Protocol

from guardian_cli.errors import SourceError
from guardian_cli.media.frames import Coverage, MediaFacts, Window
from guardian_cli.media.sniff import is_heif, sniff
from guardian_cli.media.worker.coverage import Promise, Seen, judge, together
from guardian_cli.media.worker.local_file import LocalFile
from guardian_cli.media.worker.picture import fit, to_sdr
from guardian_cli.media.worker.probe import survey_file
from guardian_cli.media.worker.readers import ReaderOptions
from guardian_cli.media.worker.sampling import DEFAULT_INTERVAL_S
from guardian_cli.media.worker.still_decoding import StillDecoding
from guardian_cli.media.worker.stills import video_in
from guardian_cli.media.worker.stream import CONNECT_S, PROTOCOLS, StreamDecoding
from guardian_cli.media.worker.video import VideoDecoding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.media.frames import DecodeSettings, Frame
    from guardian_cli.media.sniff import Sniffed
    from guardian_cli.media.worker.logs import Log
    from guardian_cli.media.worker.probe import Survey

RTSP_SCHEMES = ("rtsp://", "rtsps://")
_MAX_PARTS = 16


class Outlet(Protocol):
    """Where a session's results go; each call may raise to stop the session."""

    def facts(self, facts: MediaFacts) -> None:
        """Tell what the source is."""

    def frame(self, frame: Frame, coverage: Coverage) -> None:
        """Pass on a picture at its final size."""

    def go_on(self, coverage: Callable[[], Coverage]) -> None:
        """Called now and then during long work."""


class _Decoding(Protocol):
    def frames(self) -> Iterator[Frame]: ...
    def coverage(self) -> Coverage: ...


class Session:
    """Decodes one location; `coverage` is there at any time, also after an error."""

    def __init__(self, location: str, settings: DecodeSettings, log: Log, outlet: Outlet) -> None:
        self._location = location
        self._settings = settings
        self._log = log
        self._outlet = outlet
        self._parts: list[_Decoding] = []
        self._starts_s = 0.0
        self._unseen: tuple[str, ...] = ()
        self._videos: list[tuple[float, VideoDecoding]] = []
        self._follow_each_other = False
        self._survey: Survey | None = None
        self._files: list[LocalFile] = []

    def coverage(self) -> Coverage:
        """Return what was seen so far, of all parts of a file."""
        if self._parts:
            ends = [start_s + (one.coverage().duration_s or 0.0) for start_s, one in self._videos]
            length_s = max(ends) if self._follow_each_other else None
            return together([part.coverage() for part in self._parts], self._unseen, length_s)
        nothing = Seen(self._settings.mode, self._settings.max_gap_s, DEFAULT_INTERVAL_S)
        return judge(nothing, Promise(), ended=False)

    def run(self) -> None:
        """Pass on facts and samples; raise SourceError where the source can't be scanned."""
        if self._location.casefold().startswith(RTSP_SCHEMES):
            stream = StreamDecoding(self._stream_options(), self._settings, self._log, self._go_on)
            self._survey = stream.survey
            self._parts.append(stream)
            self._pass_on(stream.frames())
            self._outlet.facts(self._facts(stream.survey))
            return
        file = self._open(self._location)
        kind = sniff(file.head(), os.path.basename(self._location))  # noqa: PTH119 - any bytes
        if kind == "media":
            self._run_video(file)
            if is_heif(file.head()):
                self._starts_s = self.coverage().duration_s or 0.0
                self._run_companion("the picture beside the video", self._run_stills, file, "avif")
            return
        self._run_stills(file, _still_kind(kind))
        if (at := video_in(file, kind)) is not None:
            self._run_companion("the video behind the picture", self._run_video_at, file, at)

    def _open(self, location: str | int) -> LocalFile:
        self._files.append(LocalFile(location))
        return self._files[-1]

    def _run_companion(self, what: str, run: Callable[..., None], *arguments: object) -> None:
        """Pass on what else is in a file; what it can't be seen of makes the scan incomplete."""
        try:
            run(*arguments)
        except SourceError as error:
            self._unseen += (f"{what} was not seen: {error}",)

    def _run_video_at(self, file: LocalFile, at: int) -> None:
        """Decode the video that begins in the middle of a file, from a copy of its own."""
        if not at:
            self._run_video(file)
            return
        with tempfile.TemporaryFile() as copy:
            os.lseek(file.fd, at, os.SEEK_SET)
            with os.fdopen(os.dup(file.fd), "rb") as whole:
                shutil.copyfileobj(whole, copy)
            copy.flush()
            self._run_video(self._open(copy.fileno()))

    def _run_video(self, file: LocalFile, index: int | None = None) -> None:
        """Decode a file's video, or a track of it on which another goes on."""
        survey = survey_file(file, self._settings.every_s, self._log, self._go_on, index)
        self._survey = survey
        decoding = VideoDecoding(survey, self._settings, self._log, self._go_on)
        self._parts.append(decoding)
        self._videos.append((self._starts_s, decoding))
        self._pass_on(decoding.frames())
        facts = self._facts(survey)
        self._tell(facts)
        if survey.goes_on is None:
            return
        self._follow_each_other = True
        self._starts_s += (decoding.coverage().duration_s or 0.0) + survey.goes_on.pause_s
        if len(self._parts) < _MAX_PARTS:
            track = survey.goes_on.index
            self._run_companion("what follows in another track", self._run_video, file, track)
        else:
            self._unseen += (f"the video goes on in more than {_MAX_PARTS} tracks",)
        if index is None:
            self._outlet.facts(replace(facts, duration_s=self.coverage().duration_s))

    def _pass_on(self, frames: Iterator[Frame]) -> None:
        told = False
        for frame in frames:
            survey = self._survey
            assert survey is not None  # noqa: S101 - set before any frame
            if not told:
                size = (frame.image.shape[1], frame.image.shape[0])
                self._tell(self._facts(survey, size))
                told = True
            self._put(replace(frame, image=self._shown(frame.image, survey)))

    def _shown(self, picture: NDArray[np.uint8], survey: Survey) -> NDArray[np.uint8]:
        aspect = 1 / survey.aspect if survey.rotation % 180 else survey.aspect
        small = fit(picture, aspect, self._settings.short_side_px)
        return small if survey.transfer is None else to_sdr(small, survey.transfer)

    def _facts(self, survey: Survey, size: tuple[int, int] = (0, 0)) -> MediaFacts:
        width, height = survey.width or size[0], survey.height or size[1]
        if survey.rotation % 180 and survey.width:
            width, height = height, width
        duration_s = None if survey.still else self.coverage().duration_s
        kind: Literal["video", "image"] = "image" if survey.still else "video"
        rate = survey.track.frames_per_s if survey.track is not None and not survey.still else 0.0
        return MediaFacts(
            kind, width, height, duration_s, survey.codec, survey.rotation, rate or None
        )

    def _run_stills(self, file: LocalFile, kind: Sniffed) -> None:
        stills = StillDecoding(file, kind, self._settings, self._log, self._go_on)
        self._parts.append(stills)
        for frame in stills.frames():
            if stills.seen.scored == 1:
                self._tell(stills.facts())
            self._put(replace(frame, image=fit(frame.image, 1.0, self._settings.short_side_px)))
        self._tell(stills.facts())
        self._starts_s = stills.ends_s

    def _put(self, frame: Frame) -> None:
        """Pass on a frame of one part of a file, at its time on the clock of them all."""
        starts_s, until_s = self._starts_s, frame.shown_until_s
        until_s = None if until_s is None else round(starts_s + until_s, 6)
        time_s = round(starts_s + frame.time_s, 6)
        shown = replace(frame, time_s=time_s, shown_until_s=until_s)
        self._outlet.frame(shown, self.coverage())

    def _tell(self, facts: MediaFacts) -> None:
        """Tell what the file is: what its first part is."""
        if len(self._parts) == 1:
            self._outlet.facts(facts)

    def redirect(self, outlet: Outlet) -> None:
        """Pass on what comes next to another outlet."""
        self._outlet = outlet

    def refine(self, windows: Sequence[Window], step_s: float) -> None:
        """Pass on frames inside the windows; nothing for pictures and streams."""
        for starts_s, decoding in self._videos:
            ends_s = starts_s + (decoding.coverage().duration_s or 0.0)
            own = [
                Window(max(0.0, window.start_s - starts_s), window.end_s - starts_s)
                for window in windows
                if window.start_s <= ends_s and window.end_s >= starts_s
            ]
            if own and not decoding.survey.still:
                self._starts_s = starts_s
                for frame in decoding.refine(own, step_s):
                    self._put(replace(frame, image=self._shown(frame.image, decoding.survey)))

    def close(self) -> None:
        """Close the file; idempotent."""
        while self._files:
            self._files.pop().close()

    def _go_on(self) -> None:
        self._outlet.go_on(self.coverage)

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
    }
    if kind in refusals:
        message, word = refusals[kind]
        raise SourceError(message, kind=word)
    return kind
