"""One video from its packets to its samples: a first pass, and a refinement of parts of it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from guardian_cli.errors import SourceError
from guardian_cli.media.frames import Frame
from guardian_cli.media.worker.coverage import DecodeStatistics, assess, end_of, tolerance_s
from guardian_cli.media.worker.probe import nothing_decoded
from guardian_cli.media.worker.reader import FrameReader, MediaFile, OpenError
from guardian_cli.media.worker.sampling import (
    TOLERANCE_S,
    FrameClock,
    SampleGrid,
    WindowCursor,
    rounded,
)
from guardian_cli.media.worker.tracks import media_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from guardian_cli.media.frames import Coverage, DecodeSettings, MediaFacts, Window
    from guardian_cli.media.worker.logs import Log
    from guardian_cli.media.worker.probe import VideoProbe

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
    ideal_s: float | None


class VideoDecoding:
    """Decodes one probed video. `go_on` is called now and then and may raise to stop."""

    def __init__(
        self,
        probe: VideoProbe,
        settings: DecodeSettings,
        log: Log,
        go_on: Callable[[], None],
    ) -> None:
        self.probe = probe
        self.seen = DecodeStatistics(
            settings.mode, settings.max_gap_s, probe.interval_s, still=probe.still
        )
        self._settings = settings
        self._log = log
        self._go_on = go_on
        self._declared = probe.declared
        self._track, self._rotation = probe.track, 0
        self._grid = SampleGrid(settings.every_s)
        self._clock = FrameClock(probe.interval_s, probe.max_pause_s)
        packets = probe.packets
        pixels = packets.count * probe.track.width * probe.track.height
        self._skip = (
            settings.mode == "fast"
            and packets.steady
            and not packets.by_order
            and pixels >= settings.skip_over_px
        )
        self._first_stamp_s: float | None = None
        self._conversion_errors = 0
        self._ended = False

    def coverage(self) -> Coverage:
        """Return what was seen so far; final once `frames` has ended."""
        return assess(self.seen, self._declared, ended=self._ended)

    def facts(self) -> MediaFacts:
        """Tell what the video is; final once `frames` has ended."""
        duration_s = self.coverage().duration_s
        return media_facts(self._track, self._rotation, duration_s, still=self.probe.still)

    def frames(self) -> Iterator[Frame]:
        """Yield the samples; raise SourceError when there is not one frame."""
        try:
            yield from self._pass()
        except _RestartError:
            self._skip = False
            self.seen.decode = "full"
            yield from self._pass()
        self._ended = True
        if not self.seen.scored:
            codec = self.probe.track.codec
            why = nothing_decoded(codec, self.probe.packets.count)
            if self.seen.decoded:
                why = f"{codec} frames are decoded, but no picture can be made of them"
            raise SourceError(why, kind="no-frames")

    def _pass(self) -> Iterator[Frame]:
        """Decode from the start; yield each sample once the next frame says how long it lasts."""
        seen, grid = self.seen, self._grid
        held: _Held | None = None
        with closing(self._open(skip=self._skip)) as reader:
            self._log.forget()
            self._clock = FrameClock(self.probe.interval_s, self.probe.max_pause_s)
            self._conversion_errors = 0
            seen.decoded, seen.last_s, seen.errors = 0, None, self.probe.errors
            while reader.grab():
                time_s = self._note_frame(reader)
                if held is not None:
                    until_s = self._shown_until(held, time_s)
                    if held.due or grid.would_miss(held.frame.time_s, until_s):
                        yield self._scored(held, until_s)
                    held = None
                # After a restart: it was passed on already.
                if seen.last_scored_s is not None and time_s <= seen.last_scored_s:
                    continue
                due = grid.wants(time_s)
                if due or self._may_become_sample(reader.stamp_s, time_s):
                    held = self._hold(reader, time_s, due=due)
            if held is not None and held.due:
                yield self._scored(held, end_of(seen, self._declared))
            self._note_errors(reader)
        yield from self._last(held)

    def _note_frame(self, reader: FrameReader) -> float:
        """Return a frame's time; the first one fixes zero, and moves what was declared there."""
        time_s, stamp_s = self._clock.advance(reader.stamp_s), reader.stamp_s
        self.seen.discontinuities = self._clock.discontinuities
        self.seen.last_s = time_s
        self.seen.decoded += 1
        if self.seen.decoded > 1:
            return time_s
        self._track, self._rotation = reader.track, reader.rotation or 0
        self._first_stamp_s = stamp_s
        packets, declared = self.probe.packets, self.probe.declared
        if stamp_s is not None and packets.steady:
            length_s = declared.length_s
            self._declared = replace(
                declared,
                length_s=None if length_s is None else length_s - max(0.0, stamp_s),
                packets_end_s=packets.last_s - stamp_s,
                lost_start_s=max(0.0, stamp_s - packets.first_s),
            )
            # Whether a sample was moved by leaving out frames can only be told from the packets.
            if self._skip and not packets.matches(stamp_s):
                raise _RestartError
        return time_s

    def _may_become_sample(self, stamp_s: float | None, time_s: float) -> bool:
        """Say whether a frame for which nothing is due is to be held until the next one comes.

        It may be the last one, or what people see for long; where the packets tell nothing, any
        frame may be.
        """
        packets = self.probe.packets
        if stamp_s is None or not packets.steady:
            return True
        ahead_s = self.seen.interval_s * 4 if self._skip else TOLERANCE_S
        if stamp_s >= packets.last_s - ahead_s:
            return True
        until_s = packets.shown_until(stamp_s) if packets.matches(self._first_stamp_s) else None
        return until_s is not None and self._grid.would_miss(time_s, time_s + until_s - stamp_s)

    def _hold(self, reader: FrameReader, time_s: float, *, due: bool) -> _Held | None:
        """Take the picture of the frame grabbed; a pass that moved it too far is given up."""
        picture = reader.picture(self._settings.short_side_px)
        if picture is None:
            self._conversion_errors += 1
            return None
        packets, ideal_s = self.probe.packets, None
        if due:
            if packets.matches(self._first_stamp_s):
                ideal_s = packets.ideal(self._grid.due)
            max_shift_s = self._settings.every_s / 4 + TOLERANCE_S
            if self._skip and ideal_s is not None and time_s - ideal_s > max_shift_s:
                raise _RestartError
            self._grid.take(time_s)
        return _Held(Frame(time_s, picture), reader.stamp_s, due, ideal_s)

    def _shown_until(self, held: _Held, next_s: float) -> float:
        """Return until when a frame is shown, given the time of the next one decoded."""
        if not self._skip or held.stamp_s is None:
            return next_s
        # Where frames are left out that is not the next one shown: only pauses are known then.
        pause_end_s = self.probe.packets.shown_until(held.stamp_s)
        if pause_end_s is None:
            return min(next_s, held.frame.time_s + self.seen.interval_s)
        return min(next_s, rounded(pause_end_s - (self._first_stamp_s or 0.0)))

    def _scored(self, held: _Held, until_s: float | None) -> Frame:
        self.seen.note_scored(held.frame.time_s, until_s, held.ideal_s)
        return replace(held.frame, shown_until_s=until_s)

    def _note_errors(self, reader: FrameReader) -> None:
        """Count damage: what the decoder said, packets it refused, frames it swallowed."""
        seen, packets = self.seen, self.probe.packets
        self._log.read()
        # The demuxer's errors are those of the probe; the scaler's are counted as conversions.
        ignored = {"swscaler", self.probe.format}
        said = sum(count for who, count in self._log.errors.items() if who not in ignored)
        refused = reader.failed - packets.empty
        lost = 0
        if self._declared.frames is not None and not self._skip:
            lost = self._declared.frames - seen.decoded
        seen.errors = self.probe.errors + max(said, refused, lost, 0) + self._conversion_errors
        if packets.by_order:
            # Frames are stamped later than their packets there: only their number tells.
            missing = max(0, packets.count - packets.empty - seen.decoded)
            lost_s = min(self._declared.lost_start_s, missing * seen.interval_s)
            self._declared = replace(self._declared, lost_start_s=lost_s)

    def _last(self, held: _Held | None) -> Iterator[Frame]:
        """Yield the last decoded frame, unless it was a sample anyway."""
        last_s, scored_s = self.seen.last_s, self.seen.last_scored_s
        if last_s is None:
            return
        packets_s = self._declared.packets_end_s
        short_s = 0.0 if packets_s is None else packets_s - last_s
        if self._skip and short_s > tolerance_s(self.seen.interval_s) / 2:
            raise _RestartError
        if scored_s is not None and scored_s >= last_s:
            return
        frame = held.frame if held is not None else None
        if held is None:
            # No frame looked like the last one before there was no other: go there once more.
            for time_s, reader in self._walk(lambda: last_s):
                if time_s >= last_s:
                    picture = reader.picture(self._settings.short_side_px)
                    if picture is not None and time_s == last_s:
                        frame = Frame(time_s, picture)
                    break
        if frame is not None:
            end_s = end_of(self.seen, self._declared)
            self.seen.note_scored(frame.time_s, end_s)
            yield replace(frame, shown_until_s=end_s)

    def refine(self, windows: Sequence[Window], step_s: float) -> Iterator[Frame]:
        """Yield frames at least `step_s` apart inside the windows, in order, all frames decoded."""
        cursor = WindowCursor(windows, step_s)
        held: Frame | None = None
        for time_s, reader in self._walk(lambda: cursor.start_s):
            if held is not None:
                yield replace(held, shown_until_s=time_s)
                held = None
            if cursor.wants(time_s):
                picture = reader.picture(self._settings.short_side_px)
                held = None if picture is None else Frame(time_s, picture)
            if cursor.start_s is None:
                return
        if held is not None:
            yield replace(held, shown_until_s=end_of(self.seen, self._declared))

    def _walk(self, wanted: Callable[[], float | None]) -> Iterator[tuple[float, FrameReader]]:
        """Decode all frames from near the wanted time on, jumping ahead where it is far away."""
        zero_s, clock = self._first_stamp_s, self._clock
        # Only where the stamps are steady is a frame's time the same however it was reached.
        steady = self.probe.packets.steady and not clock.stepped_back and not clock.discontinuities
        clock = FrameClock(self.probe.interval_s, self.probe.max_pause_s)
        time_s = aimed_s = 0.0
        reader = self._open(skip=False)
        try:
            while (start_s := wanted()) is not None:
                jumped = False
                if steady and zero_s is not None and start_s > max(time_s + _SEEK_OVER_S, aimed_s):
                    aimed_s = start_s
                    jumped = _jump(reader, zero_s, start_s)
                    if not jumped:
                        # The container has no index that helps: decode from the start instead.
                        reader.close()
                        reader = self._open(skip=False)
                if not jumped and not reader.grab():
                    return
                if steady and zero_s is not None and reader.stamp_s is not None:
                    time_s = rounded(reader.stamp_s - zero_s)
                else:
                    time_s = clock.advance(reader.stamp_s)
                yield time_s, reader
        finally:
            reader.close()

    def _open(self, *, skip: bool) -> FrameReader:
        threads, go_on = self._settings.threads, self._go_on
        try:
            media = MediaFile(self.probe.file, with_hidden=self.probe.with_hidden)
            return FrameReader(media, self.probe.track, threads=threads, skip=skip, go_on=go_on)
        except OpenError:
            why = nothing_decoded(self.probe.track.codec, self.probe.packets.count)
            raise SourceError(why, kind="no-frames") from None


def _jump(reader: FrameReader, zero_s: float, start_s: float) -> bool:
    """Seek to before `start_s` and grab; True when a frame at or before it was reached."""
    for margin_s in _SEEK_MARGINS_S:
        if not reader.seek(zero_s + start_s - margin_s) or not reader.grab():
            continue
        if reader.stamp_s is not None and reader.stamp_s - zero_s <= start_s:
            return True
    return False
