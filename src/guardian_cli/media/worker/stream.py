"""Watching an rtsp:// stream for a while."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from guardian_cli.errors import SourceError
from guardian_cli.media.frames import Frame
from guardian_cli.media.worker.coverage import DeclaredExtent, DecodeStatistics, assess
from guardian_cli.media.worker.reader import (
    STREAM_TIMEOUT_S,
    FrameReader,
    MediaFile,
    OpenError,
)
from guardian_cli.media.worker.sampling import (
    MAX_PAUSE_S,
    FrameClock,
    SampleGrid,
    frame_interval,
)
from guardian_cli.media.worker.tracks import choose_track, media_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from guardian_cli.media.frames import Coverage, DecodeSettings, MediaFacts
    from guardian_cli.media.worker.logs import Log

# A stream may deliver late what it has stamped in time.
_LATE_S = 2.0


class _SilentError(Exception):
    """No frame has come for too long."""


class StreamDecoding:
    """Reads a live stream until `for_s` seconds of it, or of our own time, have gone by."""

    def __init__(
        self, url: str, settings: DecodeSettings, log: Log, go_on: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._log = log
        self._go_on = go_on
        self._waiting_since_s = 0.0
        self._lasted = self._ended = False
        self._for_s = settings.for_s or 0.0
        self._reader = self._connect(url)
        interval_s = frame_interval(self._reader.track.frames_per_s)
        self.seen = DecodeStatistics("full", settings.max_gap_s, interval_s)
        self._clock = FrameClock(interval_s, MAX_PAUSE_S)

    def _connect(self, url: str) -> FrameReader:
        try:
            media = MediaFile(url)
            track = choose_track(media.tracks)
            if track is not None:
                threads = self._settings.threads
                return FrameReader(media, track, threads=threads, go_on=self._note_waiting)
            media.close()
        except OpenError:
            pass
        raise SourceError("the stream can't be reached or is no video", kind="unreadable")

    def coverage(self) -> Coverage:
        """Return what was seen so far; a stream that broke off has not reached its end."""
        doubts = () if self._lasted else (f"the stream broke off before {self._for_s:g} s",)
        return assess(self.seen, DeclaredExtent(doubts=doubts), ended=self._ended)

    def facts(self) -> MediaFacts:
        """Tell what the stream is; final once `frames` has ended."""
        reader = self._reader
        return media_facts(reader.track, reader.rotation or 0, self.coverage().duration_s)

    def frames(self) -> Iterator[Frame]:
        """Yield the samples, then the last frame; each once the next one says how long it lasts."""
        seen, grid = self.seen, SampleGrid(self._settings.every_s)
        held: Frame | None = None
        due = False
        began_s = time.monotonic()
        with closing(self._reader) as reader:
            while not self._lasted and self._grab():
                time_s = self._clock.advance(reader.stamp_s)
                began_s = began_s if seen.decoded else time.monotonic()
                self._lasted = max(time_s, time.monotonic() - began_s - _LATE_S) >= self._for_s
                seen.decoded += 1
                seen.last_s = time_s
                seen.discontinuities = self._clock.discontinuities
                self._log.read()  # what is lost on the way is no damage, but fills up the log
                if held is not None and (due or grid.would_miss(held.time_s, time_s)):
                    seen.note_scored(held.time_s, time_s)
                    yield replace(held, shown_until_s=time_s)
                picture = reader.picture(self._settings.short_side_px)
                seen.errors += picture is None
                held = None if picture is None else Frame(time_s, picture)
                due = held is not None and grid.wants(time_s)
                if due:
                    grid.take(time_s)
            if held is not None:
                seen.note_scored(held.time_s)
                yield held
        self._ended = True
        if not seen.scored:
            raise SourceError("the stream opens, but no frame comes out of it", kind="no-frames")

    def _grab(self) -> bool:
        """Wait for the next frame, but not for a stream that has stopped."""
        self._waiting_since_s = time.monotonic()
        try:
            return self._reader.grab()
        except _SilentError:
            return False

    def _note_waiting(self) -> None:
        self._go_on()
        if time.monotonic() - self._waiting_since_s > STREAM_TIMEOUT_S:
            raise _SilentError
