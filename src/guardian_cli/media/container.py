"""MediaInfo's account of a file: a second opinion beside the decoder's, read in a few milliseconds.

`describe` reads from an open file, so nothing else is opened; `summarize` is pure.
"""

from __future__ import annotations

import math
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PLAYLIST_FORMATS = frozenset({"hls", "dash mpd", "ism", "dcp cpl", "dcp pkl", "dcp am", "hds f4m"})
_NOT_DEFAULT = "No"


@dataclass(frozen=True, slots=True)
class ContainerVideo:
    """One video track: its own length in seconds and frames, where the container says so."""

    codec: str | None
    width: int
    height: int
    duration_s: float | None
    frame_count: int | None
    default: bool
    encrypted: bool
    interlaced: bool


@dataclass(frozen=True, slots=True)
class Container:
    """A file as MediaInfo sees it; `others` are the kinds of its tracks that show no pictures.

    `late` means that MediaInfo had not made up its mind in time.
    """

    format: str | None
    truncated: bool
    videos: tuple[ContainerVideo, ...]
    others: tuple[str, ...]
    late: bool = False

    @property
    def is_playlist(self) -> bool:
        """True for lists that name other files or addresses."""
        return (self.format or "").casefold() in PLAYLIST_FORMATS

    @property
    def video(self) -> ContainerVideo | None:
        """The video that counts: the first marked as default, else the first one."""
        marked = [video for video in self.videos if video.default]
        return next(iter(marked + list(self.videos)), None)


NOTHING_KNOWN = Container(None, truncated=False, videos=(), others=())
THREAD_NAME = "mediainfo"


def describe(fd: int, limit_s: float) -> Container | None:
    """Ask MediaInfo about an open file; NOTHING_KNOWN without an answer, None without one in time.

    A forged index can keep MediaInfo busy for minutes. Its thread is left behind then, so the
    process should not live much longer (see `is_stuck`).
    """
    found: list[Container] = []
    thread = threading.Thread(
        target=lambda: found.append(_describe(os.dup(fd))), name=THREAD_NAME, daemon=True
    )
    thread.start()
    thread.join(limit_s)
    return found[0] if found else None if thread.is_alive() else NOTHING_KNOWN


def is_stuck() -> bool:
    """Say whether MediaInfo is still at work on a file that was given up."""
    return any(thread.name == THREAD_NAME for thread in threading.enumerate())


def _describe(fd: int) -> Container:
    from pymediainfo import MediaInfo

    with os.fdopen(fd, "rb") as file:
        file.seek(0)
        try:
            found = MediaInfo.parse(file, parse_speed=0)
        except (OSError, RuntimeError, ValueError, SyntaxError):
            return NOTHING_KNOWN
    return summarize([track.to_data() for track in found.tracks])


def summarize(tracks: Sequence[Mapping[str, Any]]) -> Container:
    """Turn MediaInfo's tracks into a Container. Durations come in milliseconds."""
    general = next((t for t in tracks if t.get("track_type") == "General"), {})
    others = [str(t.get("track_type")) for t in tracks if _kind(t) not in ("General", "Video")]
    return Container(
        format=_text(general, "format"),
        truncated=_text(general, "istruncated") == "Yes",
        videos=tuple(_video(track) for track in tracks if _kind(track) == "Video"),
        others=tuple(_unique(others)),
    )


def _kind(track: Mapping[str, Any]) -> str:
    return str(track.get("track_type"))


def _video(track: Mapping[str, Any]) -> ContainerVideo:
    duration_ms = _number(track, "duration")
    frames = _number(track, "frame_count")
    codec_id = _text(track, "codec_id") or ""
    return ContainerVideo(
        codec=_text(track, "format") or codec_id or None,
        width=int(_number(track, "width") or 0),
        height=int(_number(track, "height") or 0),
        duration_s=duration_ms / 1000 if duration_ms else None,
        frame_count=int(frames) if frames else None,
        default=_text(track, "default") not in (None, _NOT_DEFAULT),
        encrypted=_text(track, "encryption") is not None or "encv" in codec_id,
        interlaced=_text(track, "scan_type") in ("Interlaced", "MBAFF", "PAFF", "Mixed"),
    )


def _text(track: Mapping[str, Any], key: str) -> str | None:
    value = track.get(key)
    return None if value in (None, "") else str(value)


def _number(track: Mapping[str, Any], key: str) -> float | None:
    try:
        number = float(track.get(key) or "nan")
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
