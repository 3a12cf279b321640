"""Watching an rtsp:// stream for a while. Only the worker process imports this module."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from guardian_cli.errors import SourceError
from guardian_cli.media.frames import Frame
from guardian_cli.media.worker.container import MediaFile, OpenError, choose_track
from guardian_cli.media.worker.coverage import Promise, Seen, judge
from guardian_cli.media.worker.opencv_reader import OpenCvReader, describe_capture
from guardian_cli.media.worker.reader import PyAvReader
from guardian_cli.media.worker.readers import ConversionError
from guardian_cli.media.worker.sampling import MAX_PAUSE_S, Clock, Grid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.media.frames import Coverage, DecodeSettings
    from guardian_cli.media.worker.logs import Log
    from guardian_cli.media.worker.probe import Survey
    from guardian_cli.media.worker.readers import Reader, ReaderOptions

PROTOCOLS = "rtsp,rtsps,rtp,srtp,udp,tcp,tls"
CONNECT_S = 10.0
_LATE_S = 2.0
_MOST_REFUSED = 64


class StreamDecoding:
    """Reads a live stream until `for_s` seconds of it, or of our own time, have gone by."""

    def __init__(
        self,
        options: ReaderOptions,
        settings: DecodeSettings,
        log: Log,
        go_on: Callable[[], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._settings = settings
        self._log = log
        self._go_on = go_on
        self._now = now
        self._lasted = self._ended = False
        self._for_s = settings.for_s or 0.0
        capture = self._open()
        self._reader: Reader = capture
        self.survey: Survey = describe_capture(capture)
        self.seen = Seen("full", settings.max_gap_s, self.survey.interval_s)
        self._clock = Clock(self.survey.interval_s, MAX_PAUSE_S)

    def _open(self) -> OpenCvReader:
        reader = OpenCvReader(self._options, self._log)
        if not reader.opened:
            reader.close()
            raise SourceError("the stream can't be reached or is no video", kind="unreadable")
        self._log.forget()
        return reader

    def coverage(self) -> Coverage:
        """Return what was seen so far; a stream that broke off has not reached its end."""
        doubts = () if self._lasted else (f"the stream broke off before {self._for_s:g} s",)
        return judge(self.seen, Promise(doubts=doubts), ended=self._ended)

    def frames(self) -> Iterator[Frame]:
        """Yield the samples, then the last frame; each once the next one says how long it lasts."""
        clock, grid = self._clock, Grid(self._settings.every_s)
        held: Frame | None = None
        due = False
        began_s = self._now()
        try:
            while not self._lasted and self._grab():
                time_s = clock.tell(self._reader.stamp_s)
                began_s = self._now() if not self.seen.decoded else began_s
                self._lasted = max(time_s, self._now() - began_s - _LATE_S) >= self._for_s
                self._note(time_s)
                if held is not None and (due or grid.would_miss(held.time_s, time_s)):
                    self.seen.note_scored(held.time_s, time_s)
                    yield replace(held, shown_until_s=time_s)
                picture = self._retrieve()
                held = None if picture is None else Frame(time_s, picture)
                due = held is not None and grid.wants(time_s)
                if due:
                    grid.take(time_s)
            if held is not None:
                self.seen.note_scored(held.time_s)
                yield held
        finally:
            self._reader.close()
        self._ended = True
        if not self.seen.scored:
            raise SourceError("the stream opens, but no frame comes out of it", kind="no-frames")

    def _grab(self) -> bool:
        """Wait for the next frame, past refused packets, but not for a stream that has stopped."""
        began_s = self._now()
        for _ in range(_MOST_REFUSED):
            if self._reader.grab():
                return True
            self._go_on()
            if self._now() - began_s > CONNECT_S:
                return False
        return False

    def _note(self, time_s: float) -> None:
        if not self.seen.decoded:
            self._log.forget()  # joined in mid-stream: what came before a key frame is no damage
        self.seen.decoded += 1
        self.seen.last_s = time_s
        self.seen.discontinuities = self._clock.discontinuities
        self._go_on()

    def _retrieve(self) -> NDArray[np.uint8] | None:
        try:
            return self._reader.retrieve()
        except ConversionError:
            self._reader = self._other_reader() or self._reader
            self.seen.errors += 1
            return None

    def _other_reader(self) -> Reader | None:
        """Connect again with PyAV, which converts interlaced pictures."""
        if isinstance(self._reader, PyAvReader):
            return None
        url, options = self._options.url, dict(self._options.options)
        try:
            file = MediaFile(url, options)
            track = choose_track(file.tracks)
            file.close()
            if track is None:
                return None
            reader = PyAvReader(url, track, options, threads=self._options.threads)
        except OpenError:
            return None
        self._reader.close()
        self.seen.errors -= 1  # the one picture lost to the change of reader is no damage
        return reader
