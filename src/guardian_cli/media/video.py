"""One video from its packets to its samples: survey, the pass, a second look.

Only the worker process imports this module.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from guardian_cli.errors import SourceError
from guardian_cli.media.coverage import Seen, judge, tolerance_s
from guardian_cli.media.logs import SCALER
from guardian_cli.media.pyav_file import OpenError
from guardian_cli.media.pyav_reader import PyAvReader
from guardian_cli.media.readers import ConversionError
from guardian_cli.media.sampling import TOLERANCE_S, Clock, Grid, WindowCursor, rounded
from guardian_cli.media.survey import nothing_decoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.media.frames import DecodeSettings, DecodeTally, Window
    from guardian_cli.media.logs import Log
    from guardian_cli.media.survey import Survey

    Picture = NDArray[np.uint8]
    Shot = tuple[float, Picture]

_SEEK_OVER_S = 10.0
_SEEK_MARGINS_S = (0.5, 5.0, 30.0)


class _RestartError(Exception):
    """Leaving out frames does not go well here: decode every one."""


class VideoDecoding:
    """Decodes one surveyed video. `go_on` is called now and then and may raise to stop."""

    def __init__(
        self,
        survey: Survey,
        fd: int,
        settings: DecodeSettings,
        log: Log,
        go_on: Callable[[], None],
    ) -> None:
        self.survey = survey
        self.seen = Seen(settings.mode, settings.max_gap_s, survey.interval_s, still=survey.still)
        self.promise = survey.promise
        self._fd = fd
        self._settings = settings
        self._log = log
        self._go_on = go_on
        self._grid = Grid(settings.every_s)
        self._clock = Clock(survey.interval_s)
        self._skip = self._worth_skipping()
        self._first_stamp_s: float | None = None
        self._conversions = 0
        self._ended = False

    def _worth_skipping(self) -> bool:
        outline = self.survey.outline
        if self._settings.mode != "fast" or outline is None or not outline.steady:
            return False
        pixels = outline.packets * self.survey.width * self.survey.height
        return pixels >= self._settings.skip_over_px

    def tally(self) -> DecodeTally:
        """Return what was seen so far; final once `frames` has ended."""
        return judge(self.seen, self.promise, ended=self._ended)

    def frames(self) -> Iterator[Shot]:
        """Yield (time, picture) of the samples; raise SourceError when there is not one frame."""
        while True:
            try:
                yield from self._pass()
                break
            except _RestartError:
                self._skip = False
                self.seen.decode = "full"
        self._ended = True
        if not self.seen.scored:
            raise SourceError(self._why_nothing(), kind="no-frames")

    def _why_nothing(self) -> str:
        codec, outline = self.survey.codec or "video", self.survey.outline
        if self.seen.decoded:
            return f"{codec} frames are decoded, but no picture can be made of them"
        if outline is None:
            return f"opens as {codec}, but no frame comes out of it"
        return nothing_decoded(codec, outline.packets)

    def _pass(self) -> Iterator[Shot]:
        reader = self._open(skip=self._skip)
        try:
            yield from self._read(reader)
        finally:
            reader.close()

    def _read(self, reader: PyAvReader) -> Iterator[Shot]:
        self._start_over()
        held: Shot | None = None
        while reader.grab():
            time_s = self._note_frame(reader)
            if self.seen.last_scored_s is not None and time_s <= self.seen.last_scored_s:
                continue
            due = self._grid.wants(time_s)
            lasting = not due and self._is_shown_long(reader.stamp_s, time_s)
            if not due and not lasting and not self._may_be_last(reader.stamp_s):
                continue
            picture = self._retrieve(reader)
            if picture is None:
                continue
            held = None if due or lasting else (time_s, picture)
            if due:
                self._take(time_s)
            elif lasting:
                self.seen.note_scored(time_s)
            if due or lasting:
                yield time_s, picture
        self._note_errors(reader)
        self._check_end()
        yield from self._last(held)

    def _start_over(self) -> None:
        self._log.forget()
        self._clock = Clock(self.survey.interval_s)
        self._conversions = 0
        self.seen.decoded, self.seen.last_s, self.seen.errors = 0, None, self.survey.errors

    def _note_frame(self, reader: PyAvReader) -> float:
        time_s = self._clock.tell(reader.stamp_s)
        if self.seen.decoded == 0:
            self.survey.rotation = reader.rotation or 0
            self._note_first(reader.stamp_s)
        self.seen.decoded += 1
        self.seen.before_last_s, self.seen.last_s = self.seen.last_s, time_s
        if self.seen.decoded % 16 == 0:
            self._go_on()
        return time_s

    def _note_first(self, stamp_s: float | None) -> None:
        """Fix zero, and move what was promised there."""
        self._first_stamp_s = stamp_s
        outline = self.survey.outline
        if outline is None or stamp_s is None or not outline.steady:
            return
        self.promise = replace(
            self.survey.promise,
            claims_s=tuple(claim_s - max(0.0, stamp_s) for claim_s in self.survey.promise.claims_s),
            packets_end_s=outline.last_s - stamp_s,
            lost_start_s=max(0.0, stamp_s - outline.first_s),
        )
        if self._skip and not outline.matches(stamp_s):
            raise _RestartError

    def _is_shown_long(self, stamp_s: float | None, time_s: float) -> bool:
        """Say whether a frame between two samples fills a gap that is too wide without it."""
        outline = self.survey.outline
        if outline is None or stamp_s is None or not outline.matches(self._first_stamp_s):
            return False
        until_s = outline.shown_until(stamp_s)
        scored_s = self.seen.last_scored_s or 0.0
        lasts_s = 0.0 if until_s is None else until_s - stamp_s
        return time_s + lasts_s - scored_s > self.seen.max_gap_s + TOLERANCE_S and lasts_s > 0

    def _may_be_last(self, stamp_s: float | None) -> bool:
        """Say whether this frame may be the last; where the packets tell nothing, each may be."""
        outline = self.survey.outline
        if outline is None or not outline.steady or stamp_s is None:
            return True
        ahead_s = self.seen.interval_s * 4 if self._skip else TOLERANCE_S
        return stamp_s >= outline.last_s - ahead_s

    def _retrieve(self, reader: PyAvReader) -> Picture | None:
        try:
            return reader.retrieve()
        except ConversionError:
            self._conversions += 1
            return None

    def _take(self, time_s: float) -> None:
        """Note a sample that is due; a skipping pass that moves one too far is given up."""
        ideal_s = self._ideal()
        most_s = self._settings.every_s / 4 + TOLERANCE_S
        if self._skip and ideal_s is not None and time_s - ideal_s > most_s:
            raise _RestartError
        self.seen.note_scored(time_s, ideal_s)
        self._grid.take(time_s)

    def _ideal(self) -> float | None:
        outline = self.survey.outline
        if outline is None or not outline.matches(self._first_stamp_s):
            return None
        return outline.ideal(self._grid.due)

    def _note_errors(self, reader: PyAvReader) -> None:
        """Count damage: what the decoder said, packets it refused, frames it swallowed."""
        self._log.read()
        ignored = {SCALER, self.survey.format}
        said = sum(n for who, n in self._log.errors.items() if who not in ignored)
        empty = self.survey.outline.empty_packets if self.survey.outline else 0
        refused = max(0, reader.failed - empty)
        promised = None if self._skip else self.promise.frames
        lost = 0 if promised is None else max(0, promised - self.seen.decoded)
        self.seen.errors = self.survey.errors + max(said, refused, lost) + self._conversions

    def _check_end(self) -> None:
        """Try again with all frames where the pass ended too early by skipping."""
        if not self._skip or self.seen.last_s is None:
            return
        end_s = self.promise.packets_end_s
        if end_s is not None and end_s - self.seen.last_s > tolerance_s(self.seen.interval_s) / 2:
            raise _RestartError

    def _last(self, held: Shot | None) -> Iterator[Shot]:
        """Yield the last decoded frame, unless it was a sample anyway."""
        last_s, scored_s = self.seen.last_s, self.seen.last_scored_s
        if last_s is None or (scored_s is not None and scored_s >= last_s):
            return
        if held is None or held[0] != last_s:
            held = next(self._pick([last_s]), held)
        if held is not None:
            self.seen.note_scored(held[0])
            yield held

    def _pick(self, times_s: Sequence[float]) -> Iterator[Shot]:
        for time_s, reader in self._walk(lambda: times_s[0]):
            if time_s in times_s:
                try:
                    yield time_s, reader.retrieve()
                except ConversionError:
                    self._conversions += 1
            if time_s >= times_s[-1]:
                return

    def look_again(self, windows: Sequence[Window], step_s: float) -> Iterator[Shot]:
        """Yield frames at least `step_s` apart inside the windows, in order, all frames decoded."""
        cursor = WindowCursor(windows, step_s)
        for time_s, reader in self._walk(lambda: cursor.start_s):
            if cursor.wants(time_s):
                try:
                    yield time_s, reader.retrieve()
                except ConversionError:
                    continue
            if cursor.start_s is None:
                return

    def _walk(self, wanted: Callable[[], float | None]) -> Iterator[tuple[float, PyAvReader]]:
        """Decode all frames from near the wanted time on, jumping ahead where it is far away.

        Jumps are made only where the stamps are steady: then a time is the same however reached.
        """
        steady = not self._clock.stepped_back and self._first_stamp_s is not None
        outline = self.survey.outline
        jumps = steady and outline is not None and outline.steady
        reader = self._open(skip=False)
        clock, time_s, aimed_s = Clock(self.survey.interval_s), 0.0, 0.0
        try:
            while (start_s := wanted()) is not None:
                jumped = False
                if jumps and start_s > max(time_s + _SEEK_OVER_S, aimed_s):
                    aimed_s = start_s
                    jumped = self._jump(reader, start_s)
                    if not jumped:
                        reader.close()
                        reader = self._open(skip=False)
                if not jumped and not reader.grab():
                    return
                time_s = self._time(reader, clock) if jumps else clock.tell(reader.stamp_s)
                self._go_on()
                yield time_s, reader
        finally:
            reader.close()

    def _time(self, reader: PyAvReader, clock: Clock) -> float:
        stamp_s = reader.stamp_s
        if stamp_s is None or self._first_stamp_s is None:
            return clock.tell(stamp_s)
        return rounded(stamp_s - self._first_stamp_s)

    def _jump(self, reader: PyAvReader, start_s: float) -> bool:
        """Seek to before `start_s` and grab; True when a frame at or before it was reached."""
        first_s = self._first_stamp_s or 0.0
        for margin_s in _SEEK_MARGINS_S:
            if not reader.seek(first_s + start_s - margin_s) or not reader.grab():
                continue
            if reader.stamp_s is not None and reader.stamp_s - first_s <= start_s:
                return True
        return False

    def _open(self, *, skip: bool) -> PyAvReader:
        assert self.survey.track is not None  # noqa: S101 - a file's survey has one
        try:
            return PyAvReader(
                self._fd, self.survey.track, threads=self._settings.threads, skip=skip
            )
        except OpenError:
            raise SourceError(self._why_nothing(), kind="no-frames") from None
