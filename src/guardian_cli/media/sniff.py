"""What a file is by its first bytes: a still picture, a playlist, plain text, or perhaps a video.

Pure. The name is looked at only where bytes can't tell (a stream of JPEGs starts like a photo).
"""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Literal

Sniffed = Literal[
    "jpeg", "png", "webp", "avif", "heif", "bmp", "ico", "tiff", "jpeg2000",
    "playlist", "text", "media",
]  # fmt: skip
HEAD_BYTES = 65536

# One line each would be fifty lines; a string splits in a glance.
_VIDEO = """
    3g2 3gp asf avi divx dv f4v flv h264 h265 hevc ivf m1v m2t m2ts m2v m4v mjpeg mjpg mk3d mkv mov
    mp2v mp4 mpe mpeg mpg mpv mts mxf nut ogm ogv ogx qt rm rmvb swf ts vob webm wmv y4m
"""
_IMAGE = """
    apng avif bmp dib gif heic heif hif ico jfif jp2 jpe jpeg jpg jxl mpo pbm pgm png pnm ppm tif
    tiff webp
"""
MEDIA_ENDINGS = frozenset(f"{_VIDEO} {_IMAGE}".split())

_PLAYLIST = re.compile(
    rb"\s*(?:#EXTM3U|#EXT-X-|ffconcat\s+version|v=0\s|\[playlist\]|\[reference\]|<asx\b|<smil\b|<mpd\b"
    rb"|<\?wpl\b|rtsptext|\[internetshortcut\]|<playlist\b|<smoothstreamingmedia\b|<assetmap\b"
    rb"|<manifest\b|<compositionplaylist\b)",
    re.IGNORECASE,
)
_CONCAT_LINE = re.compile(rb"^\s*file\s+['\"]?\S", re.IGNORECASE)
_ADDRESS_LINE = re.compile(rb"^\s*(?:https?|rtsp|rtmp|mms|ftp)://\S+\s*$", re.MULTILINE)
_XML_LIST = re.compile(
    rb"<(?:mpd|asx|smil|playlist|smoothstreamingmedia|manifest)\b", re.IGNORECASE
)
_TEXT_BYTES = frozenset(b"\t\n\r\f\x1b") | frozenset(range(0x20, 0x7F))
_HEIF_BRANDS = (b"avif", b"avis", b"mif1", b"msf1", b"heic", b"heix", b"heim", b"heis", b"hevc")
_JPEG_STREAM_ENDINGS = (".mjpeg", ".mjpg")
_VIDEO_STARTS = (
    b"GIF87a", b"GIF89a", b"FLV\x01", b"DKIF", b"YUV4MPEG2 ", b".RMF", b"nut/multimedia", b"FWS",
    b"CWS", b"\x1f\x07\x00", b"\x06\x0e\x2b\x34\x02\x05\x01\x01",
    *(b"\x00\x00\x01" + code for code in (b"\xb0", b"\xb3", b"\xb5", b"\xba")),
    *(b"\x00\x00\x00\x01" + nal for nal in (b"\x09", b"\x27", b"\x47", b"\x67", b"\x40", b"\x46")),
)  # fmt: skip
_EBML, _EBML_VIDEO, _EBML_AUDIO = b"\x1a\x45\xdf\xa3", b"\x83\x81\x01", b"\x83\x81\x02"
_ASF = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"
_ASF_VIDEO = b"\xc0\xef\x19\xbc\x4d\x5b\xcf\x11"
_OGG_VIDEO = re.compile(rb"\x80theora|\x01video|OVP80|BBCD|fishead")
_BOXES = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"wide", b"jP  ", b"JXL ", b"sidx", b"skip")
_BMP_HEADER_SIZES = frozenset(bytes([size, 0, 0, 0]) for size in (12, 40, 52, 56, 108, 124))
_AUDIO_BRANDS = (b"M4A ", b"M4B ", b"M4P ")
_TRANSPORT_PACKETS = ((0, 188), (4, 192), (0, 204))


def sniff(head: bytes, name: str = "") -> Sniffed:
    """Say what the first bytes of a file are; `name` is the file's name."""
    picture = _picture(head)
    if picture == "jpeg" and name.casefold().endswith(_JPEG_STREAM_ENDINGS):
        return "media"
    if picture is not None:
        return picture
    start = head[3:] if head.startswith(b"\xef\xbb\xbf") else head
    if _PLAYLIST.match(start) or _CONCAT_LINE.match(start):
        return "playlist"
    if not _is_text(head):
        return "media"
    return "playlist" if _XML_LIST.search(head) or _ADDRESS_LINE.search(head) else "text"


def has_known_ending(name: str) -> bool:
    """Whether a file in a folder is taken for a video or an image."""
    return PurePath(name).suffix.lower().removeprefix(".") in MEDIA_ENDINGS


def shows_media(head: bytes) -> bool:
    """Say whether first bytes are those of a video or an image, whatever the file is called.

    Unlike `sniff`, which takes all that it does not know for a video, and leaves it to the decoder.
    """
    if _is_text(head):
        return False
    if _picture(head) is not None or head.startswith(_VIDEO_STARTS):
        return True
    if head[4:8] in _BOXES:
        return head[8:12] not in _AUDIO_BRANDS
    if head.startswith(_EBML):
        # A video's entry may lie behind these bytes: what shows sound and no video is left out.
        return _EBML_VIDEO in head or _EBML_AUDIO not in head
    if head.startswith(_ASF):
        return _ASF_VIDEO in head
    if head.startswith(b"OggS"):
        return _OGG_VIDEO.search(head) is not None
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    return any(
        len(head) > first + 4 * length and head[first : first + 5 * length : length] == b"G" * 5
        for first, length in _TRANSPORT_PACKETS
    )


def _picture(head: bytes) -> Sniffed | None:
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if is_heif(head):
        brands = head[8 : min(len(head), max(16, int.from_bytes(head[:4], "big")))]
        if b"avis" in brands:
            return "media"  # a sequence is a video
        return "avif" if b"avif" in brands else "heif"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if head.startswith((b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")):
        return "jpeg2000"
    # MPEG-4's start codes begin as icons and cursors do: their first entry tells them apart.
    icons, reserved, size = head[4:6], head[9:10], head[14:18]
    if (
        head[:4] in (b"\0\0\1\0", b"\0\0\2\0")
        and icons not in (b"", b"\0\0")
        and reserved == b"\0"
        and size > b"\0\0\0\0"
        and int.from_bytes(head[18:22], "little") >= 6 + 16 * int.from_bytes(icons, "little")
    ):
        return "ico"
    # "BM" alone may begin anything: the size of the header that follows is one of a few.
    if head[:2] == b"BM" and head[14:18] in _BMP_HEADER_SIZES:
        return "bmp"
    return None


def is_heif(head: bytes) -> bool:
    """Say whether a file is of the family of HEIC and AVIF, sequences included."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS


def is_animated_webp(head: bytes) -> bool:
    """Say whether the extended header of a WebP file has the animation bit."""
    return head[12:16] == b"VP8X" and len(head) > 20 and bool(head[20] & 0x02)


def _is_text(head: bytes) -> bool:
    """Plain ASCII, or UTF-8/UTF-16 with a mark at its start: no video begins like that."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        return True
    return bool(head) and not frozenset(head[:4096]) - _TEXT_BYTES
