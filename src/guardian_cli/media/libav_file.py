"""A media file opened with the bundled FFmpeg: its streams, its packets, and which video counts."""

from __future__ import annotations

import ctypes as c
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardian_cli.media import libav as av
from guardian_cli.media.sampling import Outline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from guardian_cli.media.readers import Transfer

MOST_READ_ERRORS = 64
_INTERLACED_ORDERS = range(2, 6)
TRANSFERS: dict[int, Transfer] = {16: "pq", 18: "hlg"}


class OpenError(Exception):
    """The file can't be opened as media."""


@dataclass(frozen=True, slots=True)
class Track:
    """One stream as the demuxer sees it. Pixels are as coded; rotation is clockwise degrees."""

    index: int
    type: str
    codec: str
    decodable: bool
    width: int
    height: int
    aspect: float
    rotation: int
    frames_per_s: float
    duration_s: float | None
    frame_count: int
    disposition: int
    interlaced: bool
    alpha: bool
    encrypted: bool = False
    transfer: Transfer | None = None
    wide_gamut: bool = False

    @property
    def is_video(self) -> bool:
        """True for moving pictures; covers, thumbnails and dependent layers are none."""
        aside = av.COVER | av.THUMBNAILS | av.DEPENDENT
        return self.type == "video" and not self.disposition & aside


def choose_track(tracks: Sequence[Track]) -> Track | None:
    """Return the video that counts: the first marked as default, else the first one.

    A track of one frame (a preview, an image item) counts only where all have just one.
    """
    videos = [track for track in tracks if track.is_video]
    moving = [track for track in videos if track.frame_count != 1] or videos
    marked = [track for track in moving if track.disposition & av.DEFAULT]
    return next(iter(marked + moving), None)


class LibavFile:
    """An open file; `tracks` are known after `probe`. `read` gives packets of all streams."""

    def __init__(self, libav: av.Libav, url: str, options: Mapping[str, str]) -> None:
        self.libav = libav
        self._context = c.POINTER(av.FormatContext)()
        self._packet = libav.av_packet_alloc()
        entries = c.c_void_p()
        for name, value in options.items():
            libav.av_dict_set(c.byref(entries), name.encode(), value.encode(), 0)
        code = libav.avformat_open_input(
            c.byref(self._context), url.encode(), None, c.byref(entries)
        )
        libav.av_dict_free(c.byref(entries))
        if code < 0:
            self.close()
            raise OpenError
        self.format = self._context.contents.input_format[0].decode("ascii", "replace")
        self.tracks: list[Track] = []

    def probe(self) -> LibavFile:
        """Read the first packets, until the tracks are known; returns itself."""
        self.libav.avformat_find_stream_info(self._context, None)
        self.tracks = [self._track(i) for i in range(self._context.contents.stream_count)]
        return self

    def stream(self, index: int) -> av.Stream:
        """Return FFmpeg's own structure of a stream; valid while the file is open."""
        found: av.Stream = self._context.contents.streams[index].contents
        return found

    def _track(self, index: int) -> Track:
        stream = self.stream(index)
        parameters = stream.parameters.contents
        scale = stream.time_base.value
        known = stream.duration > 0 and scale > 0
        return Track(
            index=index,
            type=av.TYPES.get(parameters.codec_type, "unknown"),
            codec=_codec_name(self.libav, parameters),
            decodable=bool(self.libav.avcodec_find_decoder(parameters.codec_id)),
            width=parameters.width,
            height=parameters.height,
            aspect=stream.sample_aspect_ratio.value or parameters.sample_aspect_ratio.value or 1.0,
            rotation=_rotation(self.libav, parameters),
            frames_per_s=stream.avg_frame_rate.value or parameters.framerate.value,
            duration_s=stream.duration * scale if known else None,
            frame_count=max(0, stream.frame_count),
            disposition=stream.disposition,
            interlaced=parameters.field_order in _INTERLACED_ORDERS,
            alpha=has_alpha(self.libav, parameters.format) or self._alpha_beside(stream),
            encrypted=_letters(parameters) == "encv",
            transfer=TRANSFERS.get(parameters.color_transfer),
            wide_gamut=parameters.color_primaries == av.PRIMARIES_BT2020,
        )

    def _alpha_beside(self, stream: av.Stream) -> bool:
        """Say whether transparency comes in blocks of its own, as in WebM."""
        entry = self.libav.av_dict_get(stream.metadata, b"alpha_mode", None, 0)
        return bool(entry) and entry.contents.value == b"1"

    def read(self) -> av.Packet | None:
        """Return the next packet, valid until the next call; None at the end of the file."""
        self.libav.av_packet_unref(self._packet)
        errors = 0
        while True:
            code = self.libav.av_read_frame(self._context, self._packet)
            if code >= 0:
                packet: av.Packet = self._packet.contents
                return packet
            errors += 1
            if code == av.ERROR_END or errors > MOST_READ_ERRORS:
                return None

    def seek(self, index: int, stamp: int) -> bool:
        """Go to the key frame at or before `stamp` (in the stream's units); False if impossible."""
        code = self.libav.av_seek_frame(self._context, index, stamp, av.SEEK_BACKWARD)
        return bool(code >= 0)

    def close(self) -> None:
        """Free everything; idempotent."""
        if self._context:
            self.libav.avformat_close_input(c.byref(self._context))
        if self._packet:
            self.libav.av_packet_free(c.byref(self._packet))


def stamp_s(stream: av.Stream, stamp: int) -> float | None:
    """Turn a stream's stamp into seconds from the stream's declared start; None if there is none.

    OpenCV's CAP_PROP_POS_MSEC counts from the same zero, so the two readers agree.
    """
    if stamp == av.NO_STAMP:
        return None
    start = 0 if stream.start_time == av.NO_STAMP else stream.start_time
    return (stamp - start) * float(stream.time_base.value)


def outline(
    file: LibavFile, track: Track, every_s: float, go_on: Callable[[], None] = lambda: None
) -> Outline:
    """Read all packets of a track without decoding; `go_on` is called every so often."""
    found = Outline(every_s=every_s)
    stream = file.stream(track.index)
    scale = stream.time_base.value
    while (packet := file.read()) is not None:
        if packet.stream_index != track.index:
            continue
        if packet.flags & av.PACKET_DISCARD:
            found.discarded += 1
            continue
        shown = packet.pts if packet.pts != av.NO_STAMP else packet.dts
        duration_s = packet.duration * scale if packet.duration > 0 else 0.0
        order_s = stamp_s(stream, packet.dts)
        found.add(stamp_s(stream, shown), order_s, duration_s, empty=packet.size <= 0)
        if found.packets % 1000 == 0:
            go_on()
    return found


def has_alpha(libav: av.Libav, pixel_format: int) -> bool:
    """Say whether a pixel format carries transparency."""
    if pixel_format < 0:
        return False
    found = libav.av_pix_fmt_desc_get(pixel_format)
    return bool(found) and bool(found.contents.flags & av.PIXELS_HAVE_ALPHA)


def _codec_name(libav: av.Libav, parameters: av.Parameters) -> str:
    """FFmpeg's name of the codec, or the four letters of the container where it knows none."""
    if parameters.codec_id:
        return str(libav.avcodec_get_name(parameters.codec_id).decode("ascii", "replace"))
    return _letters(parameters) or "unknown"


def _letters(parameters: av.Parameters) -> str:
    letters = bytes(parameters.codec_tag.to_bytes(4, "little")).strip(b"\0 ")
    return letters.decode("ascii") if letters.isalnum() else ""


def _rotation(libav: av.Libav, parameters: av.Parameters) -> int:
    """Clockwise degrees of the display matrix, as OpenCV's CAP_PROP_ORIENTATION_META counts."""
    for at in range(parameters.side_data_count):
        side = parameters.side_data[at]
        if side.type == av.SIDE_DATA_DISPLAY_MATRIX and side.data and side.size >= 36:
            degrees = libav.av_display_rotation_get(side.data)
            return 0 if math.isnan(degrees) else round(-degrees) % 360
    return 0
