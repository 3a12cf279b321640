"""What is known of a video before it is decoded: its track, its packets, and what is declared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from guardian_cli.errors import SourceError
from guardian_cli.media.worker.coverage import DeclaredExtent, tolerance_s
from guardian_cli.media.worker.reader import MediaFile, OpenError
from guardian_cli.media.worker.sampling import PacketIndex, frame_interval
from guardian_cli.media.worker.tracks import choose_track
from guardian_cli.media.worker.truncation import encrypted_tracks, is_cut_off

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardian_cli.media.worker.local_file import LocalFile
    from guardian_cli.media.worker.logs import Log
    from guardian_cli.media.worker.tracks import Track

# Tracks of one recording end together only to within some frames or packets of sound.
_SAME_END_S = 0.5
_PICTURE_FORMATS = ("gif", "apng")


@dataclass(frozen=True, slots=True)
class Continuation:
    """Another track on which the video goes on, after a pause."""

    index: int
    pause_s: float


@dataclass(slots=True)
class VideoProbe:
    """One video track of a file.

    With `with_hidden` the file is to be read past its edit list. `format` is the demuxer's name,
    `errors` how often it met damage. More than `max_pause_s` between two frames is no pause but a
    jump of the time stamps.
    """

    file: LocalFile
    with_hidden: bool
    track: Track
    packets: PacketIndex
    declared: DeclaredExtent
    interval_s: float
    format: str
    errors: int
    still: bool
    max_pause_s: float
    continuation: Continuation | None = None


def probe_video(
    file: LocalFile,
    every_s: float,
    log: Log,
    go_on: Callable[[], None],
    index: int | None = None,
) -> VideoProbe:
    """Probe a file's video, or the track `index` of it on which another goes on.

    Raise SourceError where it holds no video that can be decoded.
    """
    found = _probe(file, every_s, log, go_on, index, with_hidden=False)
    # What an edit list hides has no packets, or such as are discarded: the list of frames has more.
    # One that shows a part twice may hide another of the same length.
    shown = found.packets.count - found.packets.repeated
    missing = max(found.track.frame_count - shown, found.packets.discarded)
    if "mov" not in found.format.split(",") or not missing:
        return found
    whole = _probe(file, every_s, log, go_on, index, with_hidden=True)
    total = whole.packets.count
    hidden = total - shown
    # Pictures that stand are few frames and much time.
    hidden_s = max(hidden * found.interval_s, whole.packets.length_s - found.packets.length_s)
    if hidden <= 0 or hidden_s <= tolerance_s(found.interval_s):
        listed = found.declared.frames
        frames = None if listed is None else listed - max(0, hidden - found.packets.discarded)
        found.declared = replace(found.declared, frames=frames)
        return found
    # Not every player heeds edit lists, and an honest cut hides no more than an evil one could.
    what = f"an edit list hides {hidden} of {total} frames, which were looked at too"
    whole.declared = replace(whole.declared, remarks=(*whole.declared.remarks, what))
    return whole


def _probe(
    file: LocalFile,
    every_s: float,
    log: Log,
    go_on: Callable[[], None],
    index: int | None,
    *,
    with_hidden: bool,
) -> VideoProbe:
    cut_off = is_cut_off(file.read_at, file.size)
    try:
        media = MediaFile(file, with_hidden=with_hidden)
    except OpenError:
        message = "the file is damaged: its container can't be opened"
        if cut_off is None:
            message = "neither a video nor an image that can be read"
        elif cut_off:
            message = "the file is cut off before its pictures can be found"
        raise SourceError(message, kind="unreadable") from None
    try:
        log.forget()  # oddities of the header are no damage: the packets tell
        track = choose_track(media.tracks) if index is None else media.tracks[index]
        if track is None:
            kinds = {"video": "cover art", "subtitle": "subtitles"}
            names = dict.fromkeys(kinds.get(one.type, one.type).casefold() for one in media.tracks)
            what = f"no video in it, only {' and '.join(names)}" if names else "no track in it"
            raise SourceError(what, kind="no-video")
        if track.encrypted or track.number in encrypted_tracks(file.read_at, file.size):
            raise SourceError("the video track is encrypted", kind="encrypted")
        packets = index_packets(media, track, every_s, go_on)
        log.read()
        if not packets.count:
            raise SourceError(f"{track.codec} track without a single packet", kind="no-frames")
        if not track.decodable:
            raise SourceError(nothing_decoded(track.codec, packets.count), kind="no-frames")
        continuation, doubts = _other_tracks(packets, track, media.max_pause_s, first=index is None)
        doubts = [*(["the file is cut off"] if cut_off else []), *doubts]
        pictures = media.format in _PICTURE_FORMATS or media.format.endswith("_pipe")
        return VideoProbe(
            file=file,
            with_hidden=with_hidden,
            track=track,
            packets=packets,
            declared=_declared_extent(media, track, packets, tuple(doubts)),
            interval_s=frame_interval(track.frames_per_s),
            format=media.format,
            errors=log.errors[media.format],
            still=pictures and packets.count == 1,
            max_pause_s=media.max_pause_s,
            continuation=continuation,
        )
    finally:
        media.close()


def index_packets(
    media: MediaFile, track: Track, every_s: float, go_on: Callable[[], None]
) -> PacketIndex:
    """Read all packets of a track without decoding; `go_on` is called every so often.

    Where only the whole file says how long it is, the other tracks' packets tell whether it is the
    track's length. Those of other videos tell whether one of them goes on where this one ends.
    """
    found = PacketIndex(every_s, media.max_pause_s)
    stream = media.container.streams[track.index]
    scale, start = float(stream.time_base), stream.start_time or 0
    others = [
        other.index
        for other in media.tracks
        if other.index != track.index and (other.is_moving or media.end_s is not None)
    ]
    videos = {other.index for other in media.tracks if other.is_moving}
    latest_at = -1
    for packet in media.packets(track.index, *others):
        pts, dts, duration = packet.pts, packet.dts, max(0, packet.duration or 0)
        begins = dts if pts is None else pts
        if packet.stream_index in videos and begins is not None and not packet.is_discard:
            begins_s = begins * float(packet.time_base)
            ends_s = begins_s + duration * float(packet.time_base)
            first_s, last_s = found.spans.get(packet.stream_index, (begins_s, ends_s))
            found.spans[packet.stream_index] = min(first_s, begins_s), max(last_s, ends_s)
        if packet.stream_index != track.index:
            ends_s = ((pts or 0) + (packet.duration or 0)) * float(packet.time_base)
            found.others_end_s = max(found.others_end_s, ends_s)
            continue
        if packet.is_discard:
            found.discarded += 1
            continue
        at = -1 if packet.pos is None else packet.pos
        found.repeated += at < latest_at
        latest_at = max(latest_at, at)
        stamp_s = None if pts is None else (pts - start) * scale
        order_s = None if dts is None else (dts - start) * scale
        found.add(stamp_s, order_s, duration * scale, empty=not packet.size)
        if found.count % 1000 == 0:
            go_on()
    return found


def _other_tracks(
    packets: PacketIndex, track: Track, max_pause_s: float, *, first: bool
) -> tuple[Continuation | None, list[str]]:
    """Find where the video goes on in another track, and say what of others can't be seen."""
    if track.index not in packets.spans:
        return None, []
    starts_s, ends_s = packets.spans[track.index]
    others = {index: span for index, span in packets.spans.items() if index != track.index}
    doubts = []
    if first and any(end_s < starts_s + _SAME_END_S for _, end_s in others.values()):
        doubts.append("another video track ends before the one that counts starts")
    elif first and any(start_s < starts_s - _SAME_END_S for start_s, _ in others.values()):
        doubts.append("another video track starts before the one that counts")
    later = [(span, index) for index, span in others.items() if span[1] > ends_s + _SAME_END_S]
    following = [pair for pair in later if pair[0][0] > ends_s - _SAME_END_S]
    if following:
        (begins_s, _), index = min(following)
        pause_s = begins_s - ends_s
        pause_s = pause_s if 0 < pause_s <= max_pause_s else 0.0
        return Continuation(index, pause_s), doubts
    if later:
        length_s = max(span[1] for span, _ in later) - ends_s
        doubts.append(f"another video track goes on for {length_s:.2f} s")
    return None, doubts


def _declared_extent(
    media: MediaFile, track: Track, packets: PacketIndex, doubts: tuple[str, ...]
) -> DeclaredExtent:
    length_s = track.duration_s
    if media.end_s is not None and media.end_s - packets.others_end_s > _SAME_END_S:
        # The whole file's length is this track's too, unless another track is as long.
        stream = media.container.streams[track.index]
        length_s = media.end_s - (stream.start_time or 0) * float(stream.time_base)
    if packets.jumps or (media.runs_on and (packets.steady or packets.restarts)):
        # FFmpeg reckons it from the same stamps, and guesses how long the last lasts.
        length_s = None
    videos = sum(other.is_moving for other in media.tracks)
    # Each packet is one frame in MP4, and in most of Matroska: VP8 and VP9 may have hidden frames
    # as packets of their own there, and fields may come one by one.
    one_each = "mov" in media.format.split(",") or (
        "matroska" in media.format and track.codec not in ("vp8", "vp9") and not track.interlaced
    )
    listed = max(track.frame_count, packets.count + packets.discarded) - packets.discarded
    return DeclaredExtent(
        length_s=length_s,
        packets_end_s=packets.last_s if packets.steady else None,
        last_duration_s=packets.last_duration_s if packets.steady else 0.0,
        frames=max(0, listed - packets.empty - packets.leading) if one_each else None,
        doubts=doubts,
        remarks=(f"one of {videos} video tracks, the default one",) if videos > 1 else (),
    )


def nothing_decoded(codec: str, packets: int) -> str:
    """Say that a stream has packets of which none becomes a frame."""
    count = "1 packet" if packets == 1 else f"{packets} packets"
    return f"{codec} stream has {count} but none can be decoded"
