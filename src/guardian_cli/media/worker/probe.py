"""What is known of a video before it is decoded: its track, packets and promises.

Only the worker process imports this module.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from guardian_cli.errors import SourceError
from guardian_cli.media.worker.container import (
    FileSource,
    MediaFile,
    OpenError,
    choose_track,
    outline,
)
from guardian_cli.media.worker.coverage import Promise, tolerance_s
from guardian_cli.media.worker.sampling import frame_interval
from guardian_cli.media.worker.truncation import encrypted_tracks, is_cut_off

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardian_cli.media.worker.container import Track
    from guardian_cli.media.worker.local_file import LocalFile
    from guardian_cli.media.worker.logs import Log
    from guardian_cli.media.worker.readers import Transfer
    from guardian_cli.media.worker.sampling import Outline

_SAME_END_S = 0.5
_PICTURE_FORMATS = ("gif", "apng")


@dataclass(frozen=True, slots=True)
class Continuation:
    """Another track on which the video goes on, after a pause."""

    index: int
    pause_s: float


@dataclass(slots=True)
class Survey:
    """One video track; of a live stream there is neither `source`, `track` nor `outline`.

    `format` is the demuxer's name, `errors` how often it met damage; pixels are as coded, and how
    far to turn them clockwise (`rotation`) only the first frame tells. More than `max_pause_s`
    between two frames is no pause but a jump of the time stamps.
    """

    codec: str | None
    width: int
    height: int
    aspect: float
    interval_s: float
    promise: Promise
    rotation: int = 0
    transfer: Transfer | None = None
    format: str = ""
    errors: int = 0
    still: bool = False
    max_pause_s: float = math.inf
    source: FileSource | None = None
    track: Track | None = None
    outline: Outline | None = None
    goes_on: Continuation | None = None


def survey_file(
    file: LocalFile,
    every_s: float,
    log: Log,
    go_on: Callable[[], None],
    index: int | None = None,
) -> Survey:
    """Survey a local file's video, or the track `index` of it on which another goes on.

    Raise SourceError where it holds no video that can be looked at.
    """
    seen = _survey(FileSource(file.fd), file, every_s, log, go_on, index)
    assert seen.track is not None  # noqa: S101 - a file's survey has both
    assert seen.outline is not None  # noqa: S101
    # What an edit list hides has no packets, or such as are discarded: the list of frames has more.
    missing = max(seen.track.frame_count - seen.outline.packets, seen.outline.discarded)
    if "mov" not in seen.format.split(",") or not missing:
        return seen
    whole = _survey(FileSource(file.fd, with_hidden=True), file, every_s, log, go_on, index)
    assert whole.outline is not None  # noqa: S101 - as above
    total = whole.outline.packets
    hidden = total - seen.outline.packets
    if hidden * seen.interval_s <= tolerance_s(seen.interval_s):
        listed = seen.promise.frames
        frames = None if listed is None else listed - max(0, hidden - seen.outline.discarded)
        seen.promise = replace(seen.promise, frames=frames)
        return seen
    # Not every player heeds edit lists, and an honest cut hides no more than an evil one could.
    what = f"an edit list hides {hidden} of {total} frames, which were looked at too"
    whole.promise = replace(whole.promise, remarks=(*whole.promise.remarks, what))
    return whole


def _survey(
    source: FileSource,
    file: LocalFile,
    every_s: float,
    log: Log,
    go_on: Callable[[], None],
    index: int | None,
) -> Survey:
    cut_off = is_cut_off(file.read_at, file.size)
    try:
        media = MediaFile(source)
    except OpenError:
        raise SourceError(_unreadable(cut_off), kind="unreadable") from None
    try:
        log.forget()  # oddities of the header are no damage: the packets tell
        track = choose_track(media.tracks) if index is None else media.tracks[index]
        if track is None:
            raise SourceError(_no_video(media.tracks), kind="no-video")
        if track.encrypted or track.number in encrypted_tracks(file.read_at, file.size):
            raise SourceError("the video track is encrypted", kind="encrypted")
        found = outline(media, track, every_s, go_on)
        log.read()
        seen = _describe(media, track, found, log.errors[media.format], cut_off=bool(cut_off))
        seen.source = source
        _look_for_the_rest(seen, track, found, is_first=index is None)
        return seen
    finally:
        media.close()


def _look_for_the_rest(seen: Survey, track: Track, found: Outline, *, is_first: bool) -> None:
    """Find where the video goes on in another track, or what of it can't be looked at."""
    if track.index not in found.spans:
        return
    starts_s, ends_s = found.spans[track.index]
    others = {index: span for index, span in found.spans.items() if index != track.index}
    doubts = []
    if is_first and any(end_s < starts_s + _SAME_END_S for _, end_s in others.values()):
        doubts.append("another video track ends before the one that counts starts")
    later = [(span, i) for i, span in others.items() if span[1] > ends_s + _SAME_END_S]
    following = sorted(pair for pair in later if pair[0][0] > ends_s - _SAME_END_S)
    if following:
        pause_s = following[0][0][0] - ends_s
        pause_s = pause_s if 0 < pause_s <= seen.max_pause_s else 0.0
        seen.goes_on = Continuation(following[0][1], pause_s)
    elif later:
        length_s = max(span[1] for span, _ in later) - ends_s
        doubts.append(f"another video track goes on for {length_s:.2f} s")
    seen.promise = replace(seen.promise, doubts=(*seen.promise.doubts, *doubts))


def _describe(
    media: MediaFile,
    track: Track,
    found: Outline,
    errors: int,
    *,
    cut_off: bool,
) -> Survey:
    if not found.packets:
        raise SourceError(f"{track.codec} track without a single packet", kind="no-frames")
    if not track.decodable:
        what = nothing_decoded(track.codec, found.packets)
        raise SourceError(what, kind="no-frames")
    pictures = media.format in _PICTURE_FORMATS or media.format.endswith("_pipe")
    return Survey(
        codec=track.codec,
        width=track.width,
        height=track.height,
        aspect=track.aspect,
        interval_s=frame_interval(track.frames_per_s),
        promise=_promise(media, track, found, cut_off=cut_off),
        transfer=track.transfer,
        format=media.format,
        errors=errors,
        still=pictures and found.packets == 1,
        max_pause_s=media.max_pause_s,
        track=track,
        outline=found,
    )


def _promise(media: MediaFile, track: Track, found: Outline, *, cut_off: bool) -> Promise:
    """Gather what the container says of this track.

    The whole file's length is its too, unless another track is as long.
    """
    claim_s = track.duration_s
    if media.end_s is not None and media.end_s - found.others_end_s > _SAME_END_S:
        claim_s = media.end_s - media.start_s(track)
    if found.jumps or (media.runs_on and (found.steady or found.restarts)):
        claim_s = (
            None  # FFmpeg reckons it from the same stamps, and guesses how long the last lasts
        )
    videos = sum(other.is_moving for other in media.tracks)
    return Promise(
        claims_s=() if claim_s is None else (claim_s,),
        packets_end_s=found.last_s if found.steady else None,
        last_duration_s=found.last_duration_s if found.steady else 0.0,
        frames=_promised_frames(media.format, track, found),
        doubts=("the file is cut off",) if cut_off else (),
        remarks=(f"one of {videos} video tracks, the default one",) if videos > 1 else (),
    )


def _promised_frames(media_format: str, track: Track, found: Outline) -> int | None:
    """Return how many frames must come out, where each packet is one: MP4, and most of Matroska.

    VP8 and VP9 may have hidden frames as packets of their own there; fields may come one by one.
    """
    one_each = "mov" in media_format.split(",") or (
        "matroska" in media_format and track.codec not in ("vp8", "vp9") and not track.interlaced
    )
    if not one_each:
        return None
    listed = max(track.frame_count, found.packets + found.discarded) - found.discarded
    return max(0, listed - found.empty_packets - found.leading)


def _unreadable(cut_off: bool | None) -> str:
    if cut_off is None:
        return "neither a video nor an image that can be read"
    if cut_off:
        return "the file is cut off before its pictures can be found"
    return "the file is damaged: its container can't be opened"


def nothing_decoded(codec: str, packets: int) -> str:
    """Say that a stream has packets of which none becomes a frame."""
    count = "1 packet" if packets == 1 else f"{packets} packets"
    return f"{codec} stream has {count} but none can be decoded"


def _no_video(tracks: list[Track]) -> str:
    kinds = {"video": "cover art", "subtitle": "subtitles"}
    names = [kinds.get(track.type, track.type) for track in tracks]
    return f"no video in it, only {_listed(names)}" if names else "no track in it"


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return " and ".join(dict.fromkeys(name.casefold() for name in names))
