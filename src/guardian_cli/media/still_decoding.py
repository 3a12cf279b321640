"""A picture file from its bytes to its samples, one frame or an animation.

Only the worker process imports this module.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from guardian_cli.media.coverage import Promise, Seen, judge
from guardian_cli.media.frames import DecodeTally, Frame, MediaFacts
from guardian_cli.media.sampling import DEFAULT_INTERVAL_S, Clock, Grid
from guardian_cli.media.stills import IncompleteError, Still, extra_pages, read_stills

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from guardian_cli.media.frames import DecodeSettings
    from guardian_cli.media.local_file import LocalFile
    from guardian_cli.media.logs import Log
    from guardian_cli.media.sniff import Sniffed


class StillDecoding:
    """A picture file: one frame, or an animation whose frames carry their own durations."""

    def __init__(
        self,
        file: LocalFile,
        kind: Sniffed,
        settings: DecodeSettings,
        log: Log,
        go_on: Callable[[], None],
    ) -> None:
        self.seen = Seen("full", settings.max_gap_s, DEFAULT_INTERVAL_S, still=True)
        self._file, self._kind, self._log, self._go_on = file, kind, log, go_on
        self._grid = Grid(settings.every_s)
        self._first: Still | None = None
        self._duration_s = 0.0
        self._pages = self._ended = 0

    def tally(self) -> DecodeTally:
        """Return what was seen so far."""
        notes = (f"only the first of {self._pages + 1} pages was looked at",) if self._pages else ()
        tally = judge(self.seen, Promise((), notes=notes), ended=bool(self._ended))
        duration_s = None if self.seen.still else round(self._duration_s, 6)
        return replace(tally, duration_s=duration_s, complete=tally.complete and not self._pages)

    def facts(self) -> MediaFacts:
        """Tell what the picture is, once there is a frame."""
        assert self._first is not None  # noqa: S101 - called once there is a frame
        kind: Literal["video", "image"] = "image" if self.seen.still else "video"
        duration_s = None if self.seen.still else round(self._duration_s, 6)
        return MediaFacts(kind, self._first.width, self._first.height, duration_s, self._kind, 0)

    def frames(self) -> Iterator[Frame]:
        """Yield the samples, then the last frame; raise SourceError if there is none."""
        clock, begins_s = Clock(DEFAULT_INTERVAL_S), 0.0
        self._pages = extra_pages(self._file.path, self._kind)
        held: Frame | None = None
        try:
            for still in read_stills(self._file.rewind(), self._kind, self._log):
                time_s = clock.tell(begins_s)
                begins_s = round(begins_s + still.shown_s, 6)
                self._note(still, time_s, begins_s)
                held = frame = Frame(time_s, still.image, begins_s if still.shown_s else None)
                due = self._grid.wants(time_s)
                if due:
                    self._grid.take(time_s)
                if due or self._grid.would_miss(time_s, begins_s):
                    held = None
                    self.seen.note_scored(time_s, begins_s)
                    yield frame
        except IncompleteError as missing:
            self.seen.errors += int(missing.args[0])
        if held is not None:
            self.seen.note_scored(held.time_s, held.shown_until_s)
            yield held
        self._log.read()
        self.seen.errors += self._log.image_errors
        self._ended = 1

    def _note(self, still: Still, time_s: float, ends_s: float) -> None:
        self._first = self._first or still
        self.seen.decoded += 1
        self.seen.still = self.seen.decoded == 1
        self.seen.last_s = time_s
        self._duration_s = ends_s
        self._go_on()
