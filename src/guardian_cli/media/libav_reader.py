"""Reading a video with the FFmpeg libraries inside OpenCV's wheel, for what VideoCapture can't do.

Only the worker process imports this module.
"""

from __future__ import annotations

import ctypes as c
from typing import TYPE_CHECKING

import numpy as np  # noqa: TID253 - only the worker process imports this module

from guardian_cli.media import libav as av
from guardian_cli.media.libav_file import LibavFile, OpenError, has_alpha, stamp_s
from guardian_cli.media.picture import blend_fields, flatten, rotate
from guardian_cli.media.readers import ConversionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from guardian_cli.media.libav_file import Track
    from guardian_cli.media.readers import ReaderOptions

_LINE_ALIGNMENT = 64
_CORRUPT = 1
_ALPHA_DECODERS = {"vp8": b"libvpx", "vp9": b"libvpx-vp9"}
_MOST_ERRORS_AT_END = 64


class LibavReader:
    """One stream of a file: demuxed, decoded, and converted with sws_scale."""

    name = "FFmpeg"

    def __init__(self, libav: av.Libav, options: ReaderOptions, track: Track) -> None:
        self.failed = 0
        self.stamp_s: float | None = None
        self._libav = libav
        self._track = track
        self._draining = False
        self._scaler: int | None = None
        self._decoder = c.c_void_p()
        self._picture = libav.av_frame_alloc()
        self._file = LibavFile(libav, options.url, dict(options.options)).probe()
        self._stream = self._file.stream(track.index)
        self._open_decoder(options)

    def _open_decoder(self, options: ReaderOptions) -> None:
        libav, parameters = self._libav, self._stream.parameters
        decoder = self._find_decoder(parameters.contents.codec_id)
        if not decoder:
            self.close()
            raise OpenError
        self._decoder = c.c_void_p(libav.avcodec_alloc_context3(decoder))
        libav.avcodec_parameters_to_context(self._decoder, parameters)
        libav.av_opt_set(self._decoder, b"threads", str(options.threads).encode(), 0)
        if options.skip:
            libav.av_opt_set(self._decoder, b"skip_frame", b"nonref", 0)
        if libav.avcodec_open2(self._decoder, decoder, None) < 0:
            self.close()
            raise OpenError

    def _find_decoder(self, codec_id: int) -> int | None:
        """Prefer the decoder that also decodes transparency where there is some."""
        name = _ALPHA_DECODERS.get(self._track.codec) if self._track.alpha else None
        found = self._libav.avcodec_find_decoder_by_name(name) if name is not None else None
        decoder: int | None = found or self._libav.avcodec_find_decoder(codec_id)
        return decoder

    def grab(self) -> bool:
        """Decode the next frame, past packets that the decoder refuses."""
        errors_at_end = 0
        while errors_at_end < _MOST_ERRORS_AT_END:
            code = self._libav.avcodec_receive_frame(self._decoder, self._picture)
            if code >= 0:
                frame = self._picture.contents
                self.failed += bool(frame.flags & _CORRUPT)
                shown = frame.pts if frame.pts != av.NO_STAMP else frame.packet_dts
                self.stamp_s = stamp_s(self._stream, shown)
                return True
            if code not in (av.ERROR_AGAIN, av.ERROR_END):
                self.failed += 1
            if not self._draining:
                self._feed()
            elif code == av.ERROR_END:
                return False
            else:
                errors_at_end += 1
        return False

    def _feed(self) -> None:
        """Give the decoder its next packet; empty ones mean "as before" and would end it."""
        while (packet := self._file.read()) is not None:
            if packet.stream_index == self._track.index and packet.size > 0:
                self.failed += self._libav.avcodec_send_packet(self._decoder, packet) < 0
                return
        self._draining = True
        self._libav.avcodec_send_packet(self._decoder, None)

    def retrieve(self) -> NDArray[np.uint8]:
        """Convert the grabbed frame; fields are blended, transparency is flattened."""
        frame = self._picture.contents
        alpha = has_alpha(self._libav, frame.format)
        image = self._convert(frame, 4 if alpha else 3)
        if frame.flags & av.FRAME_INTERLACED:
            image = blend_fields(image)
        return rotate(flatten(image) if alpha else image, self._track.rotation)

    def _convert(self, frame: av.Picture, channels: int) -> NDArray[np.uint8]:
        width, height = frame.width, frame.height
        if width <= 0 or height <= 0 or not frame.data[0]:
            raise ConversionError
        layout = av.PIXELS_BGRA if channels == 4 else av.PIXELS_BGR24
        size = (width, height, frame.format, width, height, layout)
        self._scaler = self._libav.sws_getCachedContext(
            self._scaler, *size, av.SCALE_BICUBIC, None, None, None
        )
        if not self._scaler:
            raise ConversionError
        self._set_colors(frame)
        line = -(-width * channels // _LINE_ALIGNMENT) * _LINE_ALIGNMENT
        target = np.empty(height * line + _LINE_ALIGNMENT, np.uint8)
        planes = (c.c_void_p * 4)(target.ctypes.data)
        lines = (c.c_int * 4)(line)
        done = self._libav.sws_scale(
            self._scaler, frame.data, frame.line_size, 0, height, planes, lines
        )
        if done != height:
            raise ConversionError
        rows = target[: height * line].reshape(height, line)
        return np.ascontiguousarray(rows[:, : width * channels].reshape(height, width, channels))

    def _set_colors(self, frame: av.Picture) -> None:
        """Tell the scaler the frame's own matrix and range; it would take any for BT.601."""
        if frame.color_space == av.SPACE_UNKNOWN:
            return
        tables, ranges, levels = (
            [c.c_void_p() for _ in "io"],
            [c.c_int() for _ in "io"],
            ([c.c_int() for _ in "bcs"]),
        )
        places = [c.byref(x) for x in (tables[0], ranges[0], tables[1], ranges[1], *levels)]
        if self._libav.sws_getColorspaceDetails(self._scaler, *places) < 0:
            return
        table = self._libav.sws_getCoefficients(frame.color_space)
        full = int(frame.color_range == av.RANGE_FULL or ranges[0].value)
        rest = (tables[1], ranges[1], *levels)
        self._libav.sws_setColorspaceDetails(self._scaler, table, full, *rest)

    def seek(self, stamp_s: float) -> bool:
        """Go to the key frame at or before a stamp."""
        scale = self._stream.time_base.value
        start = 0 if self._stream.start_time == av.NO_STAMP else self._stream.start_time
        if not scale or not self._file.seek(self._track.index, start + int(stamp_s / scale)):
            return False
        self._libav.avcodec_flush_buffers(self._decoder)
        self._draining = False
        return True

    def close(self) -> None:
        """Free decoder, picture, scaler and file."""
        libav = self._libav
        if self._decoder:
            libav.avcodec_free_context(c.byref(self._decoder))
        if self._picture:
            libav.av_frame_free(c.byref(self._picture))
        if self._scaler:
            libav.sws_freeContext(self._scaler)
            self._scaler = None
        self._file.close()
