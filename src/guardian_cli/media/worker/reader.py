"""Reading a video with PyAV: every frame decoded in order, pictures only of those that are wanted.

Only the worker process imports this module.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import av  # noqa: TID253 - only the worker process imports this module
import av.logging  # noqa: TID253 - as above
import numpy as np  # noqa: TID253 - as above
from av.video.reformatter import Interpolation, VideoReformatter  # noqa: TID253 - as above

from guardian_cli.media.worker.container import MediaFile, OpenError, has_alpha, stamp_s
from guardian_cli.media.worker.picture import blend_fields, flatten, rotate
from guardian_cli.media.worker.readers import ConversionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from guardian_cli.media.worker.container import FileSource, Track

# FFmpeg's own decoders of these leave transparency out.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
# Matrices that FFmpeg does not convert by, and what comes closest; for the others, its default.
_OTHER_SPACES = {10: 9}
_SPACE_UNKNOWN = 2
_RANGES = (1, 2)
_SLANT_DEGREES = 1


class PyAvReader:
    """One track of a file or a stream (see `MediaFile`).

    `threads` is how many the decoder may use, 0 for as many as it likes.

    `skip` leaves out frames that no other depends on, where the codec has such.
    """

    def __init__(
        self,
        source: FileSource | str,
        track: Track,
        options: Mapping[str, str] | None = None,
        *,
        threads: int,
        skip: bool = False,
    ) -> None:
        self.failed = 0
        self.stamp_s: float | None = None
        self.rotation: int | None = None
        self._source = source
        self._options = options
        self._track = track
        self._skip = skip
        self._scaler = VideoReformatter()
        self._frames: deque[av.VideoFrame] = deque()
        self._frame: av.VideoFrame | None = None
        self._sent: int | None = None
        self._got: int | None = None
        self._again = False
        self._open(threads)

    def _open(self, threads: int) -> None:
        self._threads = threads
        self._file = MediaFile(self._source, self._options)
        self._stream = self._file.container.streams[self._track.index]
        self._packets: Iterator[av.Packet] | None = self._file.packets(self._track.index)
        self._drop_until: int | None = None
        decoder = self._stream.codec_context
        if decoder is None:
            raise OpenError
        name = _ALPHA_DECODERS.get(self._track.codec) if self._track.alpha else None
        if name is not None and name in av.codecs_available:
            extradata = decoder.extradata
            decoder = av.CodecContext.create(name, "r")
            decoder.extradata = extradata
        decoder.thread_count = threads
        decoder.thread_type = "AUTO"
        if self._skip:
            decoder.skip_frame = "NONREF"
        # Turned as the container says, which is what players heed, not as a codec's message says.
        decoder.options = {"side_data_prefer_packet": "displaymatrix"}
        try:
            decoder.open()
        except av.FFmpegError:
            self.close()
            raise OpenError from None
        self._decoder = decoder

    def grab(self) -> bool:
        """Decode the next frame, past packets that the decoder refuses; False at the end."""
        while not self._frames:
            if self._packets is None:
                return False
            self._feed()
        self._frame = frame = self._frames.popleft()
        if self.rotation is None:
            self.rotation = _clockwise(frame)
        self.failed += bool(frame.is_corrupt)
        self.stamp_s = stamp_s(self._stream, frame.dts if frame.pts is None else frame.pts)
        return True

    def _feed(self) -> None:
        """Give the decoder its next packet; empty ones mean "as before" and would end it."""
        packet = next(self._packets, None) if self._packets is not None else None
        if packet is None:
            self._packets = None
            self._drain()
        elif packet.size:
            stamp = packet.pts
            if stamp is not None and not packet.is_discard:
                self._sent = stamp if self._sent is None else max(stamp, self._sent)
            self._decode(packet)

    def _decode(self, packet: av.Packet | None) -> bool:
        try:
            frames = self._decoder.decode(packet)
        except av.FFmpegError:
            self.failed += not self._again
            return False
        for frame in frames:
            stamp = frame.pts
            if stamp is not None and self._drop_until is not None and stamp <= self._drop_until:
                continue
            if stamp is not None and (self._got is None or stamp > self._got):
                self._got = stamp
            self._frames.append(frame)
        return True

    def _drain(self) -> None:
        """Take what the decoder still holds.

        PyAV gives nothing of what comes after an error here, and in several threads an error in the
        last packets comes here. They are then decoded again in one thread, from a key frame on,
        without telling of the same errors again.
        """
        whole = self._decode(None)
        got, sent = self._got, self._sent
        missing = sent is not None and (got is None or got < sent)
        fine = whole and (self._skip or not missing)
        if fine or self._again or self._threads == 1 or isinstance(self._source, str):
            return
        self._again = True
        av.logging.set_libav_level(av.logging.PANIC)
        self._file.close()
        self._open(threads=1)
        if got is not None:
            self._file.seek(self._track.index, got)
            self._drop_until = got

    def retrieve(self) -> NDArray[np.uint8]:
        """Convert the grabbed frame; fields are blended, transparency is flattened."""
        frame = self._frame
        if frame is None:
            raise ConversionError
        alpha = has_alpha(frame.format.name)
        image = np.asarray(self._convert(frame, "bgra" if alpha else "bgr24").to_ndarray())
        if frame.interlaced_frame:
            image = blend_fields(image)
        return rotate(flatten(image) if alpha else image, self.rotation or 0)

    def _convert(self, frame: av.VideoFrame, pixel_format: str) -> av.VideoFrame:
        """Convert by the frame's own matrix and range, by the usual ones where those are unknown:
        whoever uploads can write what FFmpeg refuses, and players show a picture.
        """
        for _ in range(2):
            try:
                return self._scaler.reformat(
                    frame, format=pixel_format, interpolation=Interpolation.BICUBIC, threads=1
                )
            except av.FFmpegError:
                frame.colorspace = _OTHER_SPACES.get(frame.colorspace, _SPACE_UNKNOWN)
                frame.color_range = frame.color_range if frame.color_range in _RANGES else 0
        raise ConversionError

    def seek(self, stamp_s: float) -> bool:
        """Go to the key frame at or before a stamp."""
        start, scale = self._stream.start_time or 0, float(self._stream.time_base or 0)
        if not scale or not self._file.seek(self._track.index, start + int(stamp_s / scale)):
            return False
        self._decoder.flush_buffers()
        self._packets = self._file.packets(self._track.index)
        self._frames.clear()
        self._got = self._sent = self._drop_until = None
        return True

    def close(self) -> None:
        """Free decoder and file; idempotent."""
        av.logging.set_libav_level(av.logging.ERROR)
        self._frames.clear()
        self._frame = None
        self._file.close()


def _clockwise(frame: av.VideoFrame) -> int:
    """Degrees to turn a frame by; PyAV cuts off what is behind the decimal point."""
    turned = -frame.rotation % 360 if abs(frame.rotation) <= 180 else 0
    quarters = round(turned / 90)
    return quarters % 4 * 90 if abs(turned - quarters * 90) <= _SLANT_DEGREES else turned
