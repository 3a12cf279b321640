"""A media file opened with PyAV: its streams, its packets, and which video counts.

Only the worker process imports this module.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import av  # noqa: TID253 - only the worker process imports this module
import av.logging  # noqa: TID253 - as above
from av.format import ContainerFormat, Flags  # noqa: TID253 - as above
from av.stream import Disposition  # noqa: TID253 - as above

from guardian_cli.media.worker.sampling import MAX_PAUSE_S, MAX_WRITTEN_PAUSE_S, Outline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from guardian_cli.media.worker.readers import Transfer

# FFmpeg's own way of reporting: on stderr, where `logs` counts it. PyAV's, which calls back into
# Python from the decoder's threads, would have to wait for them.
av.logging.restore_default_callback()
av.logging.set_libav_level(av.logging.ERROR)

# Demuxers that open other files or addresses, devices, or make pictures out of plain text.
REFUSED_FORMATS = {
    "concat", "hls", "dash", "imf", "sdp", "rtsp", "rtp", "sap", "image2", "image2pipe",
    "alias_pix", "brender_pix", "lavfi", "ffmetadata", "tty", "webm_dash_manifest", "bin",
    "xbin", "adf", "idf", "svg_pipe", "live_flv", "rawvideo", "v210", "v210x", "bitpacked",
    "data", "nistsphere", "simbiosis_imx", "vapoursynth", "avisynth",
}  # fmt: skip
MAX_READ_ERRORS = 64
_BUFFER_BYTES = 1 << 16
_FIELD_ORDERS = range(2, 6)
_TRANSFERS: dict[int, Transfer] = {16: "pq", 18: "hlg"}
_ASIDE = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.dependent


class OpenError(Exception):
    """The file can't be opened as media."""


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file by its descriptor; `with_hidden` gives what an edit list hides as well."""

    fd: int
    with_hidden: bool = False


@dataclass(frozen=True, slots=True)
class Track:
    """One stream as the demuxer sees it; pixels are as coded."""

    index: int
    number: int
    type: str
    codec: str
    decodable: bool
    width: int
    height: int
    aspect: float
    frames_per_s: float
    duration_s: float | None
    frame_count: int
    disposition: int
    interlaced: bool
    alpha: bool
    encrypted: bool = False
    transfer: Transfer | None = None

    @property
    def is_video(self) -> bool:
        """True for moving pictures; covers, thumbnails and dependent layers are none."""
        return self.type == "video" and not self.disposition & _ASIDE

    @property
    def is_moving(self) -> bool:
        """True for more than one picture; a preview or an image item is one."""
        return self.is_video and self.frame_count != 1


def choose_track(tracks: Sequence[Track]) -> Track | None:
    """Return the video that counts: the first marked as default, else the first one.

    A track of one frame (a preview, an image item) counts only where all have just one.
    """
    videos = [track for track in tracks if track.is_video]
    moving = [track for track in videos if track.is_moving] or videos
    marked = [track for track in moving if track.disposition & Disposition.default]
    return next(iter(marked + moving), None)


class MediaFile:
    """An open file or stream (its URL, with FFmpeg's options) and its tracks."""

    def __init__(self, source: FileSource | str, options: Mapping[str, str] | None = None) -> None:
        nothing_else = {"format_whitelist": formats_allowed(), "protocol_whitelist": "none"}
        if isinstance(source, FileSource):
            # A broadcast may move its video to another identifier; it stays one track then.
            nothing_else["merge_pmt_versions"] = "1"
            nothing_else["ignore_editlist"] = str(int(source.with_hidden))
        try:
            self.container = av.open(
                _Bytes(source.fd) if isinstance(source, FileSource) else source,
                container_options=options or nothing_else,
                metadata_errors="replace",
                buffer_size=_BUFFER_BYTES,
            )
        except (av.FFmpegError, OSError):
            raise OpenError from None
        # PyAV asks FFmpeg to make up missing time stamps, for which it may read to the end at once.
        self.container.flags &= ~av.container.Flags.gen_pts.value
        self.format = str(self.container.format.name)
        self.runs_on = Flags.ts_discont in Flags(self.container.format.flags)
        self.max_pause_s = MAX_PAUSE_S if self.runs_on else MAX_WRITTEN_PAUSE_S
        self.tracks = [_track(stream) for stream in self.container.streams]
        self.end_s: float | None = None
        """Where the file says that it ends; only what says it once for all tracks: WebM, FLV."""
        if all(track.duration_s is None for track in self.tracks) and self.container.duration:
            self.end_s = self.container.duration / av.time_base

    def packets(self, *indices: int) -> Iterator[av.Packet]:
        """Yield the packets of streams from where the file is, past errors of reading."""
        streams = [self.container.streams[index] for index in indices]
        latest: dict[int, tuple[int, int]] = {}
        for _ in range(MAX_READ_ERRORS):
            try:
                for packet in self.container.demux(streams):
                    if self.format == "mpegts":
                        here = packet.pos or 0, packet.dts or 0
                        before = latest.get(packet.stream_index, here)
                        latest[packet.stream_index] = max(here, before)
                        if here[0] < before[0] and here[1] < before[1]:
                            # The last picture before a broadcast moved to another identifier:
                            # FFmpeg gives it only when that one comes again, or at the end.
                            continue
                    if packet.size or packet.pts is not None or packet.dts is not None:
                        yield packet  # the others only tell a decoder of the end
            except (av.FFmpegError, OSError):
                continue
            return

    def seek(self, index: int, stamp: int) -> bool:
        """Go to the key frame at or before `stamp` (in the stream's units); False if impossible."""
        try:
            self.container.seek(stamp, stream=self.container.streams[index])
        except (av.FFmpegError, OSError):
            return False
        return True

    def start_s(self, track: Track) -> float:
        """Where a track starts on the file's clock."""
        stream = self.container.streams[track.index]
        return (stream.start_time or 0) * float(stream.time_base)

    def close(self) -> None:
        """Free everything; idempotent."""
        self.container.close()


class _Bytes:
    """A file for PyAV with a position of its own: descriptors of one file may share theirs."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._at = 0

    def read(self, count: int) -> bytes:
        found = os.pread(self._fd, count, self._at)
        self._at += len(found)
        return found

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_CUR:
            offset += self._at
        elif whence == os.SEEK_END:
            offset += os.fstat(self._fd).st_size
        self._at = offset
        return offset

    def tell(self) -> int:
        return self._at


@cache
def formats_allowed() -> str:
    """Names of the demuxers that are let in: those that read one file only."""
    allowed = []
    for name in av.formats_available:
        names = set(name.split(","))
        if not names & REFUSED_FORMATS and not ContainerFormat(name).no_file:
            allowed.append(name)
    return ",".join(allowed)


def stamp_s(stream: av.VideoStream, stamp: int | None) -> float | None:
    """Turn a stamp into seconds from the stream's declared start; None if there is none."""
    if stamp is None:
        return None
    return (stamp - (stream.start_time or 0)) * float(stream.time_base)


def outline(
    file: MediaFile, track: Track, every_s: float, go_on: Callable[[], None] = lambda: None
) -> Outline:
    """Read all packets of a track without decoding; `go_on` is called every so often.

    Where only the whole file says how long it is, the other tracks' packets tell whether it is the
    track's length. Those of other videos tell whether one of them goes on where this one ends.
    """
    found = Outline(every_s=every_s, max_pause_s=file.max_pause_s)
    stream = file.container.streams[track.index]
    scale, start = float(stream.time_base), stream.start_time or 0
    others = [
        other.index
        for other in file.tracks
        if other.index != track.index and (other.is_moving or file.end_s is not None)
    ]
    videos = {other.index for other in file.tracks if other.is_moving}
    for packet in file.packets(track.index, *others):
        begins = packet.dts if packet.pts is None else packet.pts
        if packet.stream_index in videos and begins is not None and not packet.is_discard:
            begins_s = begins * float(packet.time_base)
            ends_s = begins_s + max(0, packet.duration or 0) * float(packet.time_base)
            first_s, last_s = found.spans.get(packet.stream_index, (begins_s, ends_s))
            found.spans[packet.stream_index] = min(first_s, begins_s), max(last_s, ends_s)
        if packet.stream_index != track.index:
            until = (packet.pts or 0) + (packet.duration or 0)
            found.others_end_s = max(found.others_end_s, until * float(packet.time_base))
            continue
        if packet.is_discard:
            found.discarded += 1
            continue
        pts, dts = packet.pts, packet.dts
        found.add(
            None if pts is None else (pts - start) * scale,
            None if dts is None else (dts - start) * scale,
            max(0, packet.duration or 0) * scale,
            empty=not packet.size,
        )
        if found.packets % 1000 == 0:
            go_on()
    return found


@cache
def has_alpha(pixel_format: str | None) -> bool:
    """Say whether a pixel format carries transparency; a palette may."""
    if pixel_format is None:
        return False
    found = av.VideoFormat(pixel_format)
    return found.has_palette or any(component.is_alpha for component in found.components)


def _track(stream: av.stream.Stream) -> Track:
    decoder, scale = stream.codec_context, float(stream.time_base or 0)
    pictures = decoder if stream.type == "video" else None
    rate = stream.average_rate if stream.type == "video" else 0
    aspect = stream.sample_aspect_ratio if stream.type == "video" else 0
    return Track(
        index=stream.index,
        number=stream.id,
        type=stream.type,
        codec=_codec(decoder),
        decodable=decoder is not None,
        width=pictures.width if pictures else 0,
        height=pictures.height if pictures else 0,
        aspect=float(aspect or 1),
        frames_per_s=float(rate or (pictures and pictures.framerate) or 0),
        duration_s=_duration_s(stream, scale),
        frame_count=max(0, stream.frames),
        disposition=int(stream.disposition),
        interlaced=pictures is not None and pictures.field_order in _FIELD_ORDERS,
        alpha=pictures is not None
        and (has_alpha(pictures.pix_fmt) or stream.metadata.get("alpha_mode") == "1"),
        # MP4's sample entry; Matroska's identifier of the key.
        encrypted=_tag(decoder) == "encv" or "enc_key_id" in stream.metadata,
        transfer=_TRANSFERS.get(pictures.color_trc) if pictures else None,
    )


def _duration_s(stream: av.stream.Stream, scale: float) -> float | None:
    """How long a track says that it is; Matroska's tag says when it ends, "00:00:02.700000000"."""
    if (stream.duration or 0) > 0 and scale > 0:
        return float(stream.duration) * scale
    found = re.fullmatch(r"(\d+):(\d\d):(\d\d\.\d+)", stream.metadata.get("DURATION", ""))
    if found is None:
        return None
    end_s = int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])
    return end_s - (stream.start_time or 0) * scale


def _codec(decoder: av.CodecContext | None) -> str:
    return str(decoder.codec.canonical_name) if decoder is not None else "unknown"


def _tag(decoder: av.CodecContext | None) -> str:
    """The container's four letters for the codec; PyAV can't tell of any that are no ASCII."""
    try:
        return str(decoder.codec_tag) if decoder is not None else ""
    except UnicodeDecodeError:
        return ""
