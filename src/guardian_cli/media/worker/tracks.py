"""The tracks of a container, as its header describes them, and which video counts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import av  # noqa: TID253 - only the worker process imports this module
from av.stream import Disposition  # noqa: TID253 - as above

from guardian_cli.media.frames import MediaFacts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardian_cli.media.worker.picture import Transfer

_TRANSFERS: dict[int, Transfer] = {16: "pq", 18: "hlg"}
_INTERLACED = range(2, 6)
_NO_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.dependent


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
    encrypted: bool
    transfer: Transfer | None

    @property
    def is_video(self) -> bool:
        """True for moving pictures; covers, thumbnails and dependent layers are none."""
        return self.type == "video" and not self.disposition & _NO_VIDEO

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


def describe_track(stream: av.stream.Stream) -> Track:
    """Read what a container's header says of one stream."""
    decoder, scale = stream.codec_context, float(stream.time_base or 0)
    video = decoder if stream.type == "video" else None
    rate = aspect = None
    if stream.type == "video":
        rate, aspect = stream.average_rate, stream.sample_aspect_ratio
    try:
        tag = str(decoder.codec_tag) if decoder is not None else ""
    except UnicodeDecodeError:
        tag = ""  # the container's four letters for the codec, not always ASCII
    return Track(
        index=stream.index,
        number=stream.id,
        type=stream.type,
        codec=str(decoder.codec.canonical_name) if decoder is not None else "unknown",
        decodable=decoder is not None,
        width=video.width if video else 0,
        height=video.height if video else 0,
        aspect=float(aspect or 1),
        frames_per_s=float(rate or (video and video.framerate) or 0),
        duration_s=_duration_s(stream, scale),
        frame_count=max(0, stream.frames),
        disposition=int(stream.disposition),
        interlaced=video is not None and video.field_order in _INTERLACED,
        alpha=video is not None
        and (has_alpha(video.pix_fmt) or stream.metadata.get("alpha_mode") == "1"),
        # MP4's sample entry; Matroska's identifier of the key.
        encrypted=tag == "encv" or "enc_key_id" in stream.metadata,
        transfer=_TRANSFERS.get(video.color_trc) if video else None,
    )


def _duration_s(stream: av.stream.Stream, scale: float) -> float | None:
    if (stream.duration or 0) > 0 and scale > 0:
        return float(stream.duration) * scale
    # Matroska's tag says when a track ends, "00:00:02.700000000", not how long it is.
    found = re.fullmatch(r"(\d+):(\d\d):(\d\d\.\d+)", stream.metadata.get("DURATION", ""))
    if found is None:
        return None
    end_s = int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])
    return end_s - (stream.start_time or 0) * scale


def media_facts(
    track: Track, rotation: int, duration_s: float | None, *, still: bool = False
) -> MediaFacts:
    """Tell of a track what a report tells; its size as shown, which is after the rotation."""
    width, height = track.width, track.height
    if rotation % 180:
        width, height = height, width
    if still:
        return MediaFacts("image", width, height, None, track.codec, rotation)
    rate = track.frames_per_s or None
    return MediaFacts("video", width, height, duration_s, track.codec, rotation, rate)


@cache
def has_alpha(pixel_format: str | None) -> bool:
    """Say whether a pixel format carries transparency; a palette may."""
    if pixel_format is None:
        return False
    found = av.VideoFormat(pixel_format)
    return found.has_palette or any(component.is_alpha for component in found.components)
