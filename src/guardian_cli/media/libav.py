"""The FFmpeg libraries that lie inside OpenCV's own wheel, reached through ctypes.

OpenCV's VideoCapture shows one stream, hides packets, and can't convert interlaced pictures; the
libraries it brings along can. The structures below are prefixes of FFmpeg 8's public ones, so
`load` refuses any other major version: guardian then goes on with VideoCapture alone.
"""

from __future__ import annotations

import ctypes as c
from functools import cache
from pathlib import Path
from typing import Any

MAJORS = {"avutil": 60, "avcodec": 62, "avformat": 62, "swscale": 9}
NO_STAMP = -(2**63)
ERROR_END = -0x20464F45  # AVERROR_EOF: -MKTAG('E','O','F',' ')
ERROR_AGAIN = -11
TYPES = {0: "video", 1: "audio", 2: "data", 3: "subtitle", 4: "attachment"}
LOG_ERROR = 16
SEEK_BACKWARD = 1
PIXELS_BGR24, PIXELS_BGRA = 3, 28
PIXELS_HAVE_ALPHA = 1 << 7
SCALE_BICUBIC = 4
PACKET_DISCARD = 4
FRAME_INTERLACED = 8
PRIMARIES_BT2020 = 9
SPACE_UNKNOWN = 2
RANGE_FULL = 2
SIDE_DATA_DISPLAY_MATRIX = 5
DEFAULT, COVER, THUMBNAILS, DEPENDENT = 0x1, 0x400, 0x800, 0x80000

# Demuxers that open other files or addresses, devices, or make pictures out of plain text.
REFUSED_FORMATS = frozenset(
    {
        "concat",
        "hls",
        "dash",
        "imf",
        "sdp",
        "rtsp",
        "rtp",
        "image2",
        "image2pipe",
        "alias_pix",
        "brender_pix",
        "lavfi",
        "ffmetadata",
        "tty",
        "webm_dash_manifest",
        "bin",
        "xbin",
        "adf",
        "idf",
        "svg_pipe",
        "live_flv",
        "rawvideo",
        "v210",
        "v210x",
        "bitpacked",
        "data",
        "nistsphere",
        "simbiosis_imx",
        "vapoursynth",
        "avisynth",
    }
)


class Rational(c.Structure):
    """AVRational."""

    _fields_ = (("num", c.c_int), ("den", c.c_int))

    @property
    def value(self) -> float:
        """The fraction as a number; 0.0 where it is undefined."""
        return self.num / self.den if self.den else 0.0


class Entry(c.Structure):
    """AVDictionaryEntry."""

    _fields_ = (("key", c.c_char_p), ("value", c.c_char_p))


class SideData(c.Structure):
    """AVPacketSideData."""

    _fields_ = (("data", c.c_void_p), ("size", c.c_size_t), ("type", c.c_int))


class Parameters(c.Structure):
    """AVCodecParameters, up to color_space."""

    _fields_ = (
        ("codec_type", c.c_int),
        ("codec_id", c.c_int),
        ("codec_tag", c.c_uint32),
        ("extradata", c.c_void_p),
        ("extradata_size", c.c_int),
        ("side_data", c.POINTER(SideData)),
        ("side_data_count", c.c_int),
        ("format", c.c_int),
        ("bit_rate", c.c_int64),
        ("bits_per_coded_sample", c.c_int),
        ("bits_per_raw_sample", c.c_int),
        ("profile", c.c_int),
        ("level", c.c_int),
        ("width", c.c_int),
        ("height", c.c_int),
        ("sample_aspect_ratio", Rational),
        ("framerate", Rational),
        ("field_order", c.c_int),
        ("color_range", c.c_int),
        ("color_primaries", c.c_int),
        ("color_transfer", c.c_int),
        ("color_space", c.c_int),
    )


class Stream(c.Structure):
    """AVStream, up to avg_frame_rate."""

    _fields_ = (
        ("av_class", c.c_void_p),
        ("index", c.c_int),
        ("id", c.c_int),
        ("parameters", c.POINTER(Parameters)),
        ("priv_data", c.c_void_p),
        ("time_base", Rational),
        ("start_time", c.c_int64),
        ("duration", c.c_int64),
        ("frame_count", c.c_int64),
        ("disposition", c.c_int),
        ("discard", c.c_int),
        ("sample_aspect_ratio", Rational),
        ("metadata", c.c_void_p),
        ("avg_frame_rate", Rational),
    )


class FormatContext(c.Structure):
    """AVFormatContext, up to streams."""

    _fields_ = (
        ("av_class", c.c_void_p),
        ("input_format", c.POINTER(c.c_char_p)),
        ("output_format", c.c_void_p),
        ("priv_data", c.c_void_p),
        ("io", c.c_void_p),
        ("flags", c.c_int),
        ("stream_count", c.c_uint),
        ("streams", c.POINTER(c.POINTER(Stream))),
    )


class Packet(c.Structure):
    """AVPacket, up to pos."""

    _fields_ = (
        ("buffer", c.c_void_p),
        ("pts", c.c_int64),
        ("dts", c.c_int64),
        ("data", c.c_void_p),
        ("size", c.c_int),
        ("stream_index", c.c_int),
        ("flags", c.c_int),
        ("side_data", c.c_void_p),
        ("side_data_count", c.c_int),
        ("duration", c.c_int64),
        ("position", c.c_int64),
    )


class Picture(c.Structure):
    """AVFrame, up to best_effort_timestamp."""

    _fields_ = (
        ("data", c.c_void_p * 8),
        ("line_size", c.c_int * 8),
        ("extended_data", c.c_void_p),
        ("width", c.c_int),
        ("height", c.c_int),
        ("sample_count", c.c_int),
        ("format", c.c_int),
        ("picture_type", c.c_int),
        ("sample_aspect_ratio", Rational),
        ("pts", c.c_int64),
        ("packet_dts", c.c_int64),
        ("time_base", Rational),
        ("quality", c.c_int),
        ("opaque", c.c_void_p),
        ("repeat", c.c_int),
        ("sample_rate", c.c_int),
        ("buffers", c.c_void_p * 8),
        ("extended_buffers", c.c_void_p),
        ("extended_buffer_count", c.c_int),
        ("side_data", c.c_void_p),
        ("side_data_count", c.c_int),
        ("flags", c.c_int),
        ("color_range", c.c_int),
        ("color_primaries", c.c_int),
        ("color_transfer", c.c_int),
        ("color_space", c.c_int),
        ("chroma_location", c.c_int),
        ("best_effort_timestamp", c.c_int64),
    )


class PixelFormat(c.Structure):
    """AVPixFmtDescriptor, up to flags."""

    _fields_ = (
        ("name", c.c_char_p),
        ("component_count", c.c_uint8),
        ("log2_chroma_width", c.c_uint8),
        ("log2_chroma_height", c.c_uint8),
        ("flags", c.c_uint64),
    )


_P, _I, _L, _S = c.c_void_p, c.c_int, c.c_int64, c.c_char_p
_SIGNATURES: dict[str, dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "avutil": {
        "av_dict_set": (_I, (c.POINTER(_P), _S, _S, _I)),
        "av_dict_free": (None, (c.POINTER(_P),)),
        "av_dict_get": (c.POINTER(Entry), (_P, _S, _P, _I)),
        "av_opt_set": (_I, (_P, _S, _S, _I)),
        "av_log_set_level": (None, (_I,)),
        "av_frame_alloc": (c.POINTER(Picture), ()),
        "av_frame_free": (None, (c.POINTER(c.POINTER(Picture)),)),
        "av_pix_fmt_desc_get": (c.POINTER(PixelFormat), (_I,)),
        "av_display_rotation_get": (c.c_double, (_P,)),
    },
    "avcodec": {
        "avcodec_get_name": (_S, (_I,)),
        "avcodec_find_decoder": (_P, (_I,)),
        "avcodec_find_decoder_by_name": (_P, (_S,)),
        "avcodec_alloc_context3": (_P, (_P,)),
        "avcodec_free_context": (None, (c.POINTER(_P),)),
        "avcodec_parameters_to_context": (_I, (_P, c.POINTER(Parameters))),
        "avcodec_open2": (_I, (_P, _P, _P)),
        "avcodec_send_packet": (_I, (_P, c.POINTER(Packet))),
        "avcodec_receive_frame": (_I, (_P, c.POINTER(Picture))),
        "avcodec_flush_buffers": (None, (_P,)),
        "av_packet_alloc": (c.POINTER(Packet), ()),
        "av_packet_unref": (None, (c.POINTER(Packet),)),
        "av_packet_free": (None, (c.POINTER(c.POINTER(Packet)),)),
    },
    "avformat": {
        "av_demuxer_iterate": (c.POINTER(_S), (c.POINTER(_P),)),
        "avformat_open_input": (
            _I,
            (c.POINTER(c.POINTER(FormatContext)), _S, _P, c.POINTER(_P)),
        ),
        "avformat_find_stream_info": (_I, (c.POINTER(FormatContext), _P)),
        "avformat_close_input": (None, (c.POINTER(c.POINTER(FormatContext)),)),
        "av_read_frame": (_I, (c.POINTER(FormatContext), c.POINTER(Packet))),
        "av_seek_frame": (_I, (c.POINTER(FormatContext), _I, _L, _I)),
    },
    "swscale": {
        "sws_getCachedContext": (_P, (_P, _I, _I, _I, _I, _I, _I, _I, _P, _P, _P)),
        "sws_scale": (_I, (_P, _P, _P, _I, _I, _P, _P)),
        "sws_freeContext": (None, (_P,)),
        "sws_getCoefficients": (_P, (_I,)),
        "sws_getColorspaceDetails": (
            _I,
            (_P, *[c.POINTER(_P), c.POINTER(_I)] * 2, *[c.POINTER(_I)] * 3),
        ),
        "sws_setColorspaceDetails": (_I, (_P, _P, _I, _P, _I, _I, _I, _I)),
    },
}


class Libav:
    """FFmpeg's functions under their own names, with argument types declared."""

    def __init__(self, libraries: dict[str, c.CDLL]) -> None:
        self._functions: dict[str, Any] = {}
        for library, functions in _SIGNATURES.items():
            for name, (result, arguments) in functions.items():
                function = getattr(libraries[library], name)
                function.restype, function.argtypes = result, arguments
                self._functions[name] = function
        self.av_log_set_level(LOG_ERROR)

    def __getattr__(self, name: str) -> Any:
        try:
            return self._functions[name]
        except KeyError:
            raise AttributeError(name) from None

    def formats(self) -> list[str]:
        """Return the names of the demuxers that guardian lets in: those that read one file only."""
        state, names = c.c_void_p(), []
        while found := self.av_demuxer_iterate(c.byref(state)):
            names.append(found[0].decode("ascii", "replace"))
        return [name for name in names if not set(name.split(",")) & REFUSED_FORMATS]


def _find(name: str) -> Path | None:
    import cv2

    package = Path(cv2.__file__).resolve().parent
    folders = [*package.parent.glob("opencv_python*.libs"), package / ".dylibs"]
    found = [file for folder in folders for file in sorted(folder.glob(f"lib{name}[-.]*"))]
    return found[0] if found else None


@cache
def load() -> Libav | None:
    """Return the libraries, or None where the wheel has none or has other major versions."""
    libraries = {}
    for name, major in MAJORS.items():
        path = _find(name)
        if path is None:
            return None
        try:
            libraries[name] = c.CDLL(str(path))
            version = getattr(libraries[name], f"{name}_version")
        except (OSError, AttributeError):
            return None
        version.restype = c.c_uint
        if version() >> 16 != major:
            return None
    return Libav(libraries)
