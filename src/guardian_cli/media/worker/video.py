"""One video from its packets to its samples: survey, the pass, a second look.

Only the worker process imports this module.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from guardian_cli.errors import SourceError
from guardian_cli.media.frames import Frame
from guardian_cli.media.worker.container import OpenError
from guardian_cli.media.worker.coverage import Seen, end_of, judge, tolerance_s
from guardian_cli.media.worker.logs import SCALER
from guardian_cli.media.worker.probe import nothing_decoded
from guardian_cli.media.worker.reader import PyAvReader
from guardian_cli.media.worker.readers import ConversionError
from guardian_cli.media.worker.sampling import TOLERANCE_S, Clock, Grid, WindowCursor, rounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.media.frames import Coverage, DecodeSettings, Window
    from guardian_cli.media.worker.logs import Log
    from guardian_cli.media.worker.probe import Survey

_SEEK_OVER_S = 10.0
_SEEK_MARGINS_S = (0.5, 5.0, 30.0)


class _RestartError(Exception):
    """Leaving out frames does not go well here: decode every one."""


@dataclass(slots=True)
class _Held:
    """The frame decoded last, if its picture was taken; it is passed on once its end is known.

    `due` means that it is a sample, whenever the next frame comes.
    """

    frame: Frame
    stamp_s: float | None
    due: bool
    ideal_s: float | None = None


class VideoDecoding:
    """Decodes one surveyed video. `go_on` is called now and then and may raise to stop."""

    def __init__(
        self,
        survey: Survey,
        settings: DecodeSettings,
        log: Log,
        go_on: Callable[[], None],
    ) -> None:
        self.survey = survey
        self.seen = Seen(settings.mode, settings.max_gap_s, survey.interval_s, still=survey.still)
        self.promise = survey.promise
        self._settings = settings
        self._log = log
        self._go_on = go_on
        self._grid = Grid(settings.every_s)
        self._clock = Clock(survey.interval_s, survey.max_pause_s)
        self._skip = self._worth_skipping()
        self._first_stamp_s: float | None = None
        self._conversions = 0
        self._ended = False

    def _worth_skipping(self) -> bool:
        outline = self.survey.outline
        if self._settings.mode != "fast" or outline is None or not outline.steady:
            return False
        if outline.by_order:
            return False
        pixels = outline.packets * self.survey.width * self.survey.height
        return pixels >= self._settings.skip_over_px

    def coverage(self) -> Coverage:
        """Return what was seen so far; final once `frames` has ended."""
        return judge(self.seen, self.promise, ended=self._ended)

    def frames(self) -> Iterator[Frame]:
        """Yield the samples; raise SourceError when there is not one frame."""
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

    def _pass(self) -> Iterator[Frame]:
        reader = self._open(skip=self._skip)
        try:
            yield from self._read(reader)
        finally:
            reader.close()

    def _read(self, reader: PyAvReader) -> Iterator[Frame]:
        self._start_over()
        held: _Held | None = None
        while reader.grab():
            time_s = self._note_frame(reader)
            if held is not None:
                until_s = self._until(held, time_s)
                if held.due or self._grid.would_miss(held.frame.time_s, until_s):
                    yield self._scored(held, until_s)
                held = None
            if self.seen.last_scored_s is not None and time_s <= self.seen.last_scored_s:
                continue
            due, stamp_s = self._grid.wants(time_s), reader.stamp_s
            if due or self._is_shown_long(stamp_s, time_s) or self._may_be_last(stamp_s):
                held = self._hold(reader, time_s, due=due)
        if held is not None and held.due:
            yield self._scored(held, end_of(self.seen, self.promise))
        self._note_errors(reader)
        self._check_end()
        yield from self._last(held)

    def _hold(self, reader: PyAvReader, time_s: float, *, due: bool) -> _Held | None:
        """Take the picture of the frame grabbed; a pass that moved it too far is given up."""
        picture = self._retrieve(reader)
        if picture is None:
            return None
        ideal_s = self._ideal() if due else None
        most_s = self._settings.every_s / 4 + TOLERANCE_S
        if self._skip and ideal_s is not None and time_s - ideal_s > most_s:
            raise _RestartError
        if due:
            self._grid.take(time_s)
        return _Held(Frame(time_s, picture), reader.stamp_s, due, ideal_s)

    def _until(self, held: _Held, next_s: float) -> float:
        """Return until when a frame is shown, given the time of the next one decoded.

        Where frames are left out that is not the next one shown: only pauses are known then.
        """
        if not self._skip or held.stamp_s is None or self.survey.outline is None:
            return next_s
        pause_end_s = self.survey.outline.shown_until(held.stamp_s)
        if pause_end_s is None:
            return min(next_s, held.frame.time_s + self.seen.interval_s)
        return min(next_s, rounded(pause_end_s - (self._first_stamp_s or 0.0)))

    def _scored(self, held: _Held, until_s: float | None) -> Frame:
        self.seen.note_scored(held.frame.time_s, until_s, held.ideal_s)
        return replace(held.frame, shown_until_s=until_s)

    def _start_over(self) -> None:
        self._log.forget()
        self._clock = Clock(self.survey.interval_s, self.survey.max_pause_s)
        self._conversions = 0
        self.seen.decoded, self.seen.last_s, self.seen.errors = 0, None, self.survey.errors

    def _note_frame(self, reader: PyAvReader) -> float:
        time_s = self._clock.tell(reader.stamp_s)
        self.seen.discontinuities = self._clock.discontinuities
        if self.seen.decoded == 0:
            self.survey.rotation = reader.rotation or 0
            self._note_first(reader.stamp_s)
        self.seen.decoded += 1
        self.seen.last_s = time_s
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
        """Say whether a frame between two samples is what people see at the time that is due."""
        outline = self.survey.outline
        if outline is None or stamp_s is None or not outline.matches(self._first_stamp_s):
            return False
        until_s = outline.shown_until(stamp_s)
        return until_s is not None and self._grid.would_miss(time_s, time_s + until_s - stamp_s)

    def _may_be_last(self, stamp_s: float | None) -> bool:
        """Say whether this frame may be the last; where the packets tell nothing, each may be."""
        outline = self.survey.outline
        if outline is None or not outline.steady or stamp_s is None:
            return True
        ahead_s = self.seen.interval_s * 4 if self._skip else TOLERANCE_S
        return stamp_s >= outline.last_s - ahead_s

    def _retrieve(self, reader: PyAvReader) -> NDArray[np.uint8] | None:
        try:
            return reader.retrieve()
        except ConversionError:
            self._conversions += 1
            return None

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
        outline = self.survey.outline
        if outline is not None and outline.by_order:
            # Frames are stamped later than their packets there: only their number tells.
            missing = max(0, outline.packets - empty - self.seen.decoded)
            lost_s = min(self.promise.lost_start_s, missing * self.seen.interval_s)
            self.promise = replace(self.promise, lost_start_s=lost_s)

    def _check_end(self) -> None:
        """Try again with all frames where the pass ended too early by skipping."""
        if not self._skip or self.seen.last_s is None:
            return
        end_s = self.promise.packets_end_s
        if end_s is not None and end_s - self.seen.last_s > tolerance_s(self.seen.interval_s) / 2:
            raise _RestartError

    def _last(self, held: _Held | None) -> Iterator[Frame]:
        """Yield the last decoded frame, unless it was a sample anyway."""
        last_s, scored_s = self.seen.last_s, self.seen.last_scored_s
        if last_s is None or (scored_s is not None and scored_s >= last_s):
            return
        frame = held.frame if held is not None else self._frame_at(last_s)
        if frame is not None:
            end_s = end_of(self.seen, self.promise)
            self.seen.note_scored(frame.time_s, end_s)
            yield replace(frame, shown_until_s=end_s)

    def _frame_at(self, wanted_s: float) -> Frame | None:
        for time_s, reader in self._walk(lambda: wanted_s):
            if time_s >= wanted_s:
                try:
                    return Frame(time_s, reader.retrieve()) if time_s == wanted_s else None
                except ConversionError:
                    self._conversions += 1
                    return None
        return None

    def refine(self, windows: Sequence[Window], step_s: float) -> Iterator[Frame]:
        """Yield frames at least `step_s` apart inside the windows, in order, all frames decoded."""
        cursor = WindowCursor(windows, step_s)
        held: Frame | None = None
        for time_s, reader in self._walk(lambda: cursor.start_s):
            if held is not None:
                yield replace(held, shown_until_s=time_s)
                held = None
            if cursor.wants(time_s):
                with suppress(ConversionError):
                    held = Frame(time_s, reader.retrieve())
            if cursor.start_s is None:
                return
        if held is not None:
            yield replace(held, shown_until_s=end_of(self.seen, self.promise))

    def _walk(self, wanted: Callable[[], float | None]) -> Iterator[tuple[float, PyAvReader]]:
        """Decode all frames from near the wanted time on, jumping ahead where it is far away.

        Jumps are made only where the stamps are steady: then a time is the same however reached.
        """
        on_stamps = not self._clock.stepped_back and not self._clock.discontinuities
        steady = on_stamps and self._first_stamp_s is not None
        outline = self.survey.outline
        jumps = steady and outline is not None and outline.steady
        reader = self._open(skip=False)
        clock, time_s, aimed_s = Clock(self.survey.interval_s, self.survey.max_pause_s), 0.0, 0.0
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
        source, track = self.survey.source, self.survey.track
        assert source is not None  # noqa: S101 - a file's survey has both
        assert track is not None  # noqa: S101
        try:
            return PyAvReader(source, track, threads=self._settings.threads, skip=skip)
        except OpenError:
            raise SourceError(self._why_nothing(), kind="no-frames") from None
