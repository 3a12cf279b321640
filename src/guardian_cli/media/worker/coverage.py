"""Was all of it seen? Pure judgement over what was declared, demuxed, decoded and scored.

Two parties declare a length: the container (track duration, sample table, tags) and the packets
that are really there. Neither is believed alone: what was decoded must reach both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from guardian_cli.media.frames import Coverage
from guardian_cli.media.worker.sampling import TOLERANCE_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardian_cli.media.frames import DecodeMode

_MAX_MISSING_S = 0.9
# A length is often rounded up by a frame, and the last frame's own is seldom written.
_FRAMES_MISSING = 2.5
_MIN_TOLERANCE_S = 0.1


@dataclass(slots=True)
class DecodeStatistics:
    """What one pass has decoded and scored so far; times in seconds, 0 = the first frame."""

    decode: DecodeMode
    max_gap_s: float
    interval_s: float
    decoded: int = 0
    scored: int = 0
    last_s: float | None = None
    last_scored_s: float | None = None
    scored_until_s: float = 0.0
    largest_gap_s: float = 0.0
    unseen_gaps: int = 0
    errors: int = 0
    discontinuities: int = 0
    still: bool = False

    def note_scored(
        self, time_s: float, until_s: float | None = None, ideal_s: float | None = None
    ) -> None:
        """Note that a frame is scored; `ideal_s` is where the one that was due should have been.

        `until_s` is when the next frame comes, None where that is not known.
        """
        gap_s = time_s - (self.last_scored_s or 0.0)
        lost = ideal_s is not None and ideal_s < time_s - 2 * self.interval_s
        # One frame is enough: before a pause it is what people see for all of that time.
        passed_over = time_s > self.scored_until_s + TOLERANCE_S
        if gap_s > self.max_gap_s + TOLERANCE_S and (lost or passed_over):
            self.unseen_gaps += 1
        self.largest_gap_s = max(self.largest_gap_s, gap_s)
        self.last_scored_s = time_s
        self.scored_until_s = time_s if until_s is None else until_s
        self.scored += 1


@dataclass(frozen=True, slots=True)
class DeclaredExtent:
    """What the file says of its video: seconds from the first frame, None where it says nothing.

    `length_s` is what the container claims. `packets_end_s` is the last packet's presentation time,
    `last_duration_s` how long it is shown; `lost_start_s` is how long the packets before the first
    decodable frame last, `frames` how many frames must come out where that is known for sure;
    `doubts` alone mean that the end is not sure.
    """

    length_s: float | None = None
    packets_end_s: float | None = None
    last_duration_s: float = 0.0
    lost_start_s: float = 0.0
    frames: int | None = None
    doubts: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def tolerance_s(interval_s: float) -> float:
    """Return how much may be missing at the end: two frames or so, never a whole second."""
    return min(_MAX_MISSING_S, max(_FRAMES_MISSING * interval_s, _MIN_TOLERANCE_S))


def end_of(seen: DecodeStatistics, declared: DeclaredExtent) -> float | None:
    """Where what was decoded ends: the last frame lasts as long as its packet, or an interval."""
    if seen.last_s is None:
        return None
    packets_s = declared.packets_end_s
    at_end = packets_s is not None and seen.last_s >= packets_s - TOLERANCE_S
    lasts_s = declared.last_duration_s if at_end and declared.last_duration_s else seen.interval_s
    return round(seen.last_s + lasts_s, 6)


def assess(seen: DecodeStatistics, declared: DeclaredExtent, *, ended: bool = True) -> Coverage:
    """Sum up a pass; `ended` is False while it runs or where it was cut short."""
    end_s = end_of(seen, declared)
    shortfalls = _shortfalls(seen, declared, end_s) if seen.decoded else ["nothing decoded"]
    reached_end = ended and not shortfalls
    notes = shortfalls if ended else []
    if seen.errors:
        notes.append(f"{seen.errors} decode {'error' if seen.errors == 1 else 'errors'}")
    if seen.unseen_gaps:
        gaps = "1 gap" if seen.unseen_gaps == 1 else f"{seen.unseen_gaps} gaps"
        notes.append(f"frames were not looked at in {gaps} over {seen.max_gap_s:g} s")
    duration_s = max((s for s in (declared.length_s, end_s) if s is not None), default=None)
    gap_s = None
    if not seen.still and seen.scored and end_s is not None:
        gap_s = max(seen.largest_gap_s, (seen.last_s or 0.0) - (seen.last_scored_s or 0.0))
    return Coverage(
        duration_s=None if seen.still else _rounded(duration_s),
        decode=seen.decode,
        frames_decoded=seen.decoded,
        frames_scored=seen.scored,
        largest_gap_s=_rounded(gap_s),
        reached_end=reached_end,
        decode_errors=seen.errors,
        complete=reached_end and not seen.errors and not seen.unseen_gaps,
        notes=tuple(notes),
        remarks=declared.remarks,
        discontinuities=seen.discontinuities,
    )


def combine(
    parts: Sequence[Coverage], unseen: Sequence[str] = (), length_s: float | None = None
) -> Coverage:
    """Sum up the parts of one file, such as a photo and its video; the first sets the length.

    `length_s` is the length where parts follow each other. `unseen` says what else the file holds
    that could not be seen.
    """
    whole = parts[0]
    if length_s is not None:
        gaps_s = [part.largest_gap_s for part in parts if part.largest_gap_s is not None]
        gap_s = max(gaps_s, default=None)
        whole = replace(whole, duration_s=_rounded(length_s), largest_gap_s=gap_s)
    return replace(
        whole,
        frames_decoded=sum(part.frames_decoded for part in parts),
        frames_scored=sum(part.frames_scored for part in parts),
        reached_end=all(part.reached_end for part in parts),
        decode_errors=sum(part.decode_errors for part in parts),
        complete=all(part.complete for part in parts) and not unseen,
        notes=(*(note for part in parts for note in part.notes), *unseen),
        remarks=tuple(remark for part in parts for remark in part.remarks),
        discontinuities=sum(part.discontinuities for part in parts),
    )


def _shortfalls(seen: DecodeStatistics, declared: DeclaredExtent, end_s: float | None) -> list[str]:
    if seen.still or end_s is None or seen.last_s is None:
        return [*declared.doubts]
    allowed_s = tolerance_s(seen.interval_s)
    found = []
    if declared.length_s is not None and declared.length_s - end_s > allowed_s:
        found.append(f"the track says {declared.length_s:.2f} s, frames end at {end_s:.2f} s")
    packets_s = declared.packets_end_s
    if packets_s is not None and packets_s - seen.last_s > allowed_s:
        found.append(f"packets go on to {packets_s:.2f} s, frames end at {seen.last_s:.2f} s")
    if declared.lost_start_s > allowed_s:
        found.append(f"the first {declared.lost_start_s:.2f} s can't be decoded")
    return [*found, *declared.doubts]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
