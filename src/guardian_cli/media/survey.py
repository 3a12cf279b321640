"""What is known of a video before it is decoded: its track, packets and promises.

Only the worker process imports this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardian_cli.errors import SourceError
from guardian_cli.media.coverage import Promise
from guardian_cli.media.extent import encrypted_tracks, is_cut_off
from guardian_cli.media.pyav_file import MediaFile, OpenError, choose_track, outline
from guardian_cli.media.sampling import frame_interval

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardian_cli.media.local_file import LocalFile
    from guardian_cli.media.logs import Log
    from guardian_cli.media.pyav_file import Track
    from guardian_cli.media.readers import Transfer
    from guardian_cli.media.sampling import Outline

_SAME_END_S = 0.5
_PICTURE_FORMATS = ("gif", "apng")


@dataclass(slots=True)
class Survey:
    """One video track; of a live stream there is neither `track` nor `outline`.

    `format` is the demuxer's name, `errors` how often it met damage; pixels are as coded, and how
    far to turn them clockwise (`rotation`) only the first frame tells.
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
    track: Track | None = None
    outline: Outline | None = None


def survey_file(
    file: LocalFile,
    every_s: float,
    log: Log,
    go_on: Callable[[], None],
) -> Survey:
    """Survey a local file; raise SourceError where it holds no video that can be looked at."""
    cut_off = is_cut_off(file.read_at, file.size)
    try:
        media = MediaFile(file.fd)
    except OpenError:
        raise SourceError(_unreadable(cut_off), kind="unreadable") from None
    try:
        log.forget()  # oddities of the header are no damage: the packets tell
        track = choose_track(media.tracks)
        if track is None:
            raise SourceError(_no_video(media.tracks), kind="no-video")
        if track.encrypted or track.number in encrypted_tracks(file.read_at, file.size):
            raise SourceError("the video track is encrypted", kind="encrypted")
        found = outline(media, track, every_s, go_on)
        log.read()
        return _survey(media, track, found, log.errors[media.format], cut_off=bool(cut_off))
    finally:
        media.close()


def _survey(
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
    videos = sum(other.is_video for other in media.tracks)
    return Promise(
        claims_s=() if claim_s is None else (claim_s,),
        packets_end_s=found.last_s if found.steady else None,
        last_duration_s=found.last_duration_s if found.steady else 0.0,
        frames=_promised_frames(media.format, track, found),
        doubts=_doubts(found, cut_off=cut_off),
        notes=(f"one of {videos} video tracks, the default one",) if videos > 1 else (),
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


def _doubts(found: Outline, *, cut_off: bool) -> tuple[str, ...]:
    """What speaks against having the whole video, in words."""
    doubts = []
    if cut_off:
        doubts.append("the file is cut off")
    if found.discarded > found.packets:
        total = found.discarded + found.packets
        doubts.append(f"an edit list hides {found.discarded} of {total} frames")
    return tuple(doubts)


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
