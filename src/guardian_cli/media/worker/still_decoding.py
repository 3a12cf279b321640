"""A picture file from its bytes to its samples, one frame or an animation.

Only the worker process imports this module.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from guardian_cli.media.frames import Coverage, Frame, MediaFacts
from guardian_cli.media.worker.coverage import Promise, Seen, judge
from guardian_cli.media.worker.sampling import DEFAULT_INTERVAL_S, Clock, Grid
from guardian_cli.media.worker.stills import IncompleteError, Still, read_stills

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from guardian_cli.media.frames import DecodeSettings
    from guardian_cli.media.sniff import Sniffed
    from guardian_cli.media.worker.local_file import LocalFile
    from guardian_cli.media.worker.logs import Log


# A picture beside others is looked at for as long as one likes: enough samples to bear itself out.
_BESIDE_SAMPLES = 4


class StillDecoding:
    """A picture file: one frame, several, or an animation whose frames have their own durations.

    `ends_s` is where the last picture so far ends on the file's clock.
    """

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
        self._duration_s = self.ends_s = 0.0
        self._ended = False

    def coverage(self) -> Coverage:
        """Return what was seen so far."""
        coverage = judge(self.seen, Promise(()), ended=self._ended)
        return replace(coverage, duration_s=self._length_s())

    def _length_s(self) -> float | None:
        return None if self.seen.still else round(self._duration_s, 6)

    def facts(self) -> MediaFacts:
        """Tell what the picture is, once there is a frame."""
        assert self._first is not None  # noqa: S101 - called once there is a frame
        kind: Literal["video", "image"] = "image" if self.seen.still else "video"
        codec = "apng" if self._kind == "png" and not self.seen.still else self._kind
        first = self._first
        return MediaFacts(kind, first.width, first.height, self._length_s(), codec, 0)

    def frames(self) -> Iterator[Frame]:
        """Yield the samples, then the last frame; raise SourceError if there is none."""
        clock = Clock(DEFAULT_INTERVAL_S)
        held: Frame | None = None
        self._log.forget()
        try:
            for still in read_stills(self._file, self._kind):
                time_s = clock.tell(self.ends_s)
                if still.beside and held is not None:
                    self.seen.note_scored(held.time_s, held.shown_until_s)
                    yield held
                self._note(still, time_s)
                until_s = self.ends_s if self.ends_s > time_s else None
                held = frame = Frame(time_s, still.image, until_s)
                due = self._grid.wants(time_s) or still.beside
                if due:
                    self._grid.take(time_s)
                if due or self._grid.would_miss(time_s, self.ends_s):
                    held = None
                    self.seen.note_scored(time_s, self.ends_s)
                    yield frame
        except IncompleteError as missing:
            self.seen.errors += int(missing.args[0])
        if held is not None:
            self.seen.note_scored(held.time_s, held.shown_until_s)
            yield held
        self._log.read()
        self.seen.errors += self._log.image_errors
        self._ended = True

    def _note(self, still: Still, time_s: float) -> None:
        self._first = self._first or still
        self.seen.decoded += 1
        # Pictures beside each other are stills, and one frame is no animation.
        self.seen.still = self.seen.still and (self.seen.decoded == 1 or still.beside)
        self.seen.last_s = time_s
        lasts_s = _BESIDE_SAMPLES * self._grid.every_s if still.beside else still.shown_s or 0.0
        self.ends_s = round(self.ends_s + lasts_s, 6)
        if not still.beside:
            self._duration_s = self.ends_s
        self._go_on()
