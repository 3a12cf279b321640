"""One source in the worker process: what it is, then its frames, passed on one by one."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from guardian_cli.errors import SourceError
from guardian_cli.media.frames import Coverage, Window
from guardian_cli.media.sniff import HEAD_BYTES, is_heif, sniff
from guardian_cli.media.worker.coverage import combine
from guardian_cli.media.worker.local_file import LocalFile
from guardian_cli.media.worker.probe import probe_video
from guardian_cli.media.worker.stills import StillDecoding, video_in
from guardian_cli.media.worker.stream import StreamDecoding
from guardian_cli.media.worker.video import VideoDecoding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guardian_cli.media.frames import DecodeSettings, Frame
    from guardian_cli.media.worker.logs import Log
    from guardian_cli.media.worker.pipe import Pipe

_RTSP_SCHEMES = ("rtsp://", "rtsps://")
# Each is another pass over the file, and a forged one could ask for thousands.
_MAX_PARTS = 16


class Session:
    """Decodes one location into a pipe; `coverage` is there at any time, also after an error.

    A file may have several parts: a photo and the video behind it, or tracks that follow each
    other. Each has its place on the one clock of the file; the first says what the file is.
    """

    def __init__(self, location: str, settings: DecodeSettings, log: Log, pipe: Pipe) -> None:
        self._location = location
        self._settings = settings
        self._log = log
        self._pipe = pipe
        self._file: LocalFile | None = None
        self._parts: list[tuple[float, VideoDecoding | StreamDecoding | StillDecoding]] = []
        self._starts_s = 0.0
        self._one_video = False
        self._unseen: tuple[str, ...] = ()

    def coverage(self) -> Coverage:
        """Return what was seen so far, of all parts of a file."""
        if not self._parts:
            return Coverage(None, self._settings.mode)
        ends_s = [starts_s + _length_s(video) for starts_s, video in self._videos()]
        length_s = max(ends_s) if self._one_video else None
        return combine([part.coverage() for _, part in self._parts], self._unseen, length_s)

    def run(self) -> None:
        """Pass on facts and samples; raise SourceError where the source can't be scanned."""
        if self._location.casefold().startswith(_RTSP_SCHEMES):
            self._play(StreamDecoding(self._location, self._settings, self._log, self._go_on))
            return
        self._file = file = LocalFile.open(self._location)
        head = file.read_at(0, HEAD_BYTES)
        kind = sniff(head, os.path.basename(self._location))  # noqa: PTH119 - any bytes
        if kind == "playlist":
            message = "a playlist that names other files or addresses"
            raise SourceError(message, kind="playlist")
        if kind == "text":
            raise SourceError("a text file, neither a video nor an image", kind="unreadable")
        if kind != "media":
            stills = StillDecoding(file, kind, self._settings, self._log, self._go_on)
            self._play(stills)
            self._starts_s = stills.ends_s
            if (at := video_in(file, kind)) is not None:
                with self._optional("the video behind the picture"):
                    self._run_video(file.part_from(at))
            return
        self._run_video(file)
        if is_heif(head):
            # An image sequence has a picture that stands for it, which may show anything.
            self._starts_s = self.coverage().duration_s or 0.0
            with self._optional("the picture beside the video"):
                self._play(StillDecoding(file, "avif", self._settings, self._log, self._go_on))

    def _run_video(self, file: LocalFile, index: int | None = None) -> None:
        """Decode a file's video, or the track `index` of it on which another goes on."""
        probe = probe_video(file, self._settings.every_s, self._log, self._go_on, index)
        video = VideoDecoding(probe, self._settings, self._log, self._go_on)
        self._play(video)
        if probe.continuation is None:
            return
        self._one_video = True
        self._starts_s += _length_s(video) + probe.continuation.pause_s
        if len(self._parts) < _MAX_PARTS:
            with self._optional("what follows in another track"):
                self._run_video(file, probe.continuation.index)
        else:
            self._unseen += (f"the video goes on in more than {_MAX_PARTS} tracks",)
        if self._parts[0][1] is video:
            self._pipe.facts(replace(video.facts(), duration_s=self.coverage().duration_s))

    @contextmanager
    def _optional(self, what: str) -> Iterator[None]:
        """Let what else is in a file fail: the scan is incomplete then, and no error."""
        try:
            yield
        except SourceError as error:
            self._unseen += (f"{what} was not seen: {error}",)

    def _play(self, part: VideoDecoding | StreamDecoding | StillDecoding) -> None:
        is_first = not self._parts
        self._parts.append((self._starts_s, part))
        told = False
        for frame in part.frames():
            if is_first and not told:
                self._pipe.facts(part.facts())
                told = True
            self._send(frame)
        if is_first:
            self._pipe.facts(part.facts())

    def _send(self, frame: Frame) -> None:
        """Pass on a frame of one part of a file, at its time on the clock of them all."""
        starts_s, until_s = self._starts_s, frame.shown_until_s
        until_s = None if until_s is None else round(starts_s + until_s, 6)
        time_s = round(starts_s + frame.time_s, 6)
        self._pipe.frame(replace(frame, time_s=time_s, shown_until_s=until_s), self.coverage())

    def _go_on(self) -> None:
        self._pipe.go_on(self.coverage)

    def _videos(self) -> list[tuple[float, VideoDecoding]]:
        return [
            (starts_s, part) for starts_s, part in self._parts if isinstance(part, VideoDecoding)
        ]

    def refine(self, windows: Sequence[Window], step_s: float, pipe: Pipe) -> None:
        """Pass on frames inside the windows to a new pipe; nothing for pictures and streams."""
        self._pipe = pipe
        for starts_s, video in self._videos():
            ends_s = starts_s + _length_s(video)
            own = [
                Window(max(0.0, window.start_s - starts_s), window.end_s - starts_s)
                for window in windows
                if window.start_s <= ends_s and window.end_s >= starts_s
            ]
            if own and not video.probe.still:
                self._starts_s = starts_s
                for frame in video.refine(own, step_s):
                    self._send(frame)

    def close(self) -> None:
        """Close the file; idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _length_s(video: VideoDecoding) -> float:
    return video.coverage().duration_s or 0.0
