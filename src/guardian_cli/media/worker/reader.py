"""Reading media with PyAV: packets without decoding, frames in order, pictures only on demand."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import av  # noqa: TID253 - only the worker process imports this module
import av.logging  # noqa: TID253 - as above
import numpy as np  # noqa: TID253 - as above
from av.format import ContainerFormat, Flags  # noqa: TID253 - as above
from av.video.reformatter import Interpolation, VideoReformatter  # noqa: TID253 - as above

from guardian_cli.media.worker.local_file import FileCursor, LocalFile
from guardian_cli.media.worker.picture import blend_fields, fit, flatten, rotate, to_sdr
from guardian_cli.media.worker.sampling import MAX_PAUSE_S, MAX_WRITTEN_PAUSE_S
from guardian_cli.media.worker.tracks import describe_track, has_alpha

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from guardian_cli.media.worker.tracks import Track

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
STREAM_TIMEOUT_S = 10.0
_STREAM_OPTIONS = {
    "protocol_whitelist": "rtsp,rtsps,rtp,srtp,udp,tcp,tls",
    "format_whitelist": "rtsp,rtp,mpegts,sdp",
    "rtsp_transport": "tcp",
    "timeout": str(int(STREAM_TIMEOUT_S * 1e6)),
}
_MAX_READ_ERRORS = 64
_BUFFER_BYTES = 1 << 16
# FFmpeg's own decoders of these leave transparency out.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
# Matrices that FFmpeg does not convert by, and what comes closest; for the others, its default.
_OTHER_SPACES = {10: 9}
_SPACE_UNKNOWN = 2
_RANGES = (1, 2)
_SLANT_DEGREES = 1


class OpenError(Exception):
    """The file or stream can't be opened as media."""


class MediaFile:
    """An open file, or a live stream by its URL, and its tracks.

    With `with_hidden` a file gives what an edit list hides as well.
    """

    def __init__(self, source: LocalFile | str, *, with_hidden: bool = False) -> None:
        self.source, self.with_hidden = source, with_hidden
        live = isinstance(source, str)
        file_options = {
            "format_whitelist": formats_allowed(),
            "protocol_whitelist": "none",
            # A broadcast may move its video to another identifier; it stays one track then.
            "merge_pmt_versions": "1",
            "ignore_editlist": str(int(with_hidden)),
        }
        try:
            self.container = av.open(
                source if isinstance(source, str) else FileCursor(source),
                container_options=_STREAM_OPTIONS if live else file_options,
                metadata_errors="replace",
                buffer_size=_BUFFER_BYTES,
                timeout=STREAM_TIMEOUT_S if live else None,
            )
        except (av.FFmpegError, OSError):
            raise OpenError from None
        # PyAV asks FFmpeg to make up missing time stamps, for which it may read to the end at once.
        self.container.flags &= ~av.container.Flags.gen_pts.value
        self.format = str(self.container.format.name)
        self.runs_on = Flags.ts_discont in Flags(self.container.format.flags)
        self.max_pause_s = MAX_PAUSE_S if self.runs_on else MAX_WRITTEN_PAUSE_S
        self.tracks = [describe_track(stream) for stream in self.container.streams]
        self.end_s: float | None = None
        """Where the file says that it ends; only what says it once for all tracks: WebM, FLV."""
        if all(track.duration_s is None for track in self.tracks) and self.container.duration:
            self.end_s = self.container.duration / av.time_base

    def packets(self, *indices: int) -> Iterator[av.Packet]:
        """Yield the packets of streams from where the file is, past errors of reading."""
        streams = [self.container.streams[index] for index in indices]
        latest: dict[int, tuple[int, int]] = {}
        for _ in range(_MAX_READ_ERRORS):
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
            except av.error.ExitError:
                return  # nothing came in time
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

    def close(self) -> None:
        """Free everything; idempotent."""
        self.container.close()


@cache
def formats_allowed() -> str:
    """Names of the demuxers that are let in: those that read one file only."""
    allowed = [
        name
        for name in av.formats_available
        if not REFUSED_FORMATS & set(name.split(",")) and not ContainerFormat(name).no_file
    ]
    return ",".join(allowed)


class FrameReader:
    """Decodes one track, frame by frame, and converts those that are asked for to pictures.

    `threads` is how many the decoder may use, 0 for as many as it likes; `skip` leaves out frames
    that no other depends on, where the codec has such. `go_on` is called for every packet, and may
    raise to stop. `stamp_s` is the frame's stamp, in seconds from the stream's declared start (None
    where it has none). The `rotation`, and the size of `track` where its header did not tell, are
    known once there was a frame.
    """

    def __init__(
        self,
        media: MediaFile,
        track: Track,
        *,
        threads: int,
        skip: bool = False,
        go_on: Callable[[], None] = lambda: None,
    ) -> None:
        self.failed = 0
        self.stamp_s: float | None = None
        self.rotation: int | None = None
        self._media = media
        self.track = track
        self._skip = skip
        self._go_on = go_on
        self._scaler = VideoReformatter()
        self._frames: deque[av.VideoFrame] = deque()
        self._sent: int | None = None
        self._got: int | None = None
        self._redone = False
        self._open(threads)

    def _open(self, threads: int) -> None:
        self._threads = threads
        self._stream = self._media.container.streams[self.track.index]
        self._packets: Iterator[av.Packet] | None = self._media.packets(self.track.index)
        self._drop_until: int | None = None
        decoder = self._stream.codec_context
        if decoder is None:
            self.close()
            raise OpenError
        name = _ALPHA_DECODERS.get(self.track.codec) if self.track.alpha else None
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
            packet = next(self._packets, None)
            if packet is None:
                self._packets = None
                self._drain()
            elif packet.size:  # an empty one means "as before", and would end the decoder
                if packet.pts is not None and not packet.is_discard:
                    self._sent = packet.pts if self._sent is None else max(packet.pts, self._sent)
                self._decode(packet)
            self._go_on()
        self._frame = frame = self._frames.popleft()
        if self.rotation is None:
            self.rotation = clockwise_degrees(frame)
            if not self.track.width:
                self.track = replace(self.track, width=frame.width, height=frame.height)
        self.failed += bool(frame.is_corrupt)
        stamp = frame.dts if frame.pts is None else frame.pts
        start, scale = self._stream.start_time or 0, float(self._stream.time_base)
        self.stamp_s = None if stamp is None else (stamp - start) * scale
        return True

    def _decode(self, packet: av.Packet | None) -> bool:
        try:
            frames = self._decoder.decode(packet)
        except av.FFmpegError:
            self.failed += not self._redone
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
        """Take what the decoder still holds at the end."""
        whole = self._decode(None)
        got, sent = self._got, self._sent
        missing = sent is not None and (got is None or got < sent)
        if whole and (self._skip or not missing):
            return
        if self._redone or self._threads == 1 or isinstance(self._media.source, str):
            return
        # PyAV gives nothing of what comes after an error here, and in several threads an error in
        # the last packets comes here. They are decoded again in one thread, from a key frame on,
        # without telling of the same errors again.
        self._redone = True
        av.logging.set_libav_level(av.logging.PANIC)
        self._media.close()
        self._media = MediaFile(self._media.source, with_hidden=self._media.with_hidden)
        self._open(threads=1)
        if got is not None:
            self._media.seek(self.track.index, got)
            self._drop_until = got

    def picture(self, short_side_px: int) -> NDArray[np.uint8] | None:
        """Convert the grabbed frame; None where that can't be done.

        H x W x 3, uint8, BGR: upright, pixels square, fields blended, transparency flattened, HDR
        brought to a usual screen's range, the shorter side at most `short_side_px`.
        """
        frame = self._frame
        alpha = has_alpha(frame.format.name)
        for attempt in (1, 2):
            try:
                converted = self._scaler.reformat(
                    frame,
                    format="bgra" if alpha else "bgr24",
                    interpolation=Interpolation.BICUBIC,
                    threads=1,
                )
                break
            except av.FFmpegError:
                if attempt == 2:
                    return None
                # Whoever uploads can write a matrix or a range that FFmpeg refuses, and players
                # show a picture all the same: by the usual ones.
                frame.colorspace = _OTHER_SPACES.get(frame.colorspace, _SPACE_UNKNOWN)
                frame.color_range = frame.color_range if frame.color_range in _RANGES else 0
        image = np.asarray(converted.to_ndarray(), np.uint8)
        if frame.interlaced_frame:
            image = blend_fields(image)
        rotation, aspect = self.rotation or 0, self.track.aspect
        upright = rotate(flatten(image) if alpha else image, rotation)
        small = fit(upright, 1 / aspect if rotation % 180 else aspect, short_side_px)
        return small if self.track.transfer is None else to_sdr(small, self.track.transfer)

    def seek(self, stamp_s: float) -> bool:
        """Go to the key frame at or before a stamp."""
        start, scale = self._stream.start_time or 0, float(self._stream.time_base or 0)
        if not scale or not self._media.seek(self.track.index, start + int(stamp_s / scale)):
            return False
        self._decoder.flush_buffers()
        self._packets = self._media.packets(self.track.index)
        self._frames.clear()
        self._got = self._sent = self._drop_until = None
        return True

    def close(self) -> None:
        """Free decoder and file; idempotent."""
        av.logging.set_libav_level(av.logging.ERROR)
        self._frames.clear()
        self._media.close()


def clockwise_degrees(frame: av.VideoFrame) -> int:
    """Return by how much to turn a frame to show it, 0 to 359 degrees."""
    # PyAV cuts off what is behind the decimal point: 89 degrees may be a quarter turn.
    turned = -frame.rotation % 360 if abs(frame.rotation) <= 180 else 0
    quarters = round(turned / 90)
    return quarters % 4 * 90 if abs(turned - quarters * 90) <= _SLANT_DEGREES else turned
