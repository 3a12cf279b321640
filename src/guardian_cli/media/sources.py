"""What the user named: files, folders, globs, URLs, streams, a list on stdin."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from guardian_cli.errors import UsageError
from guardian_cli.media.urls import mask_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# One line each would be fifty lines; a string splits in a glance.
_VIDEO = """
    3g2 3gp asf avi divx dv f4v flv h264 h265 hevc ivf m1v m2t m2ts m2v m4v mjpeg mjpg mk3d mkv mov
    mp2v mp4 mpe mpeg mpg mpv mts mxf nut ogm ogv ogx qt rm rmvb swf ts vob webm wmv y4m
"""
_IMAGE = """
    apng avif bmp dib gif jfif jp2 jpe jpeg jpg jxl pbm pgm png pnm ppm tif tiff webp
"""
VIDEO_ENDINGS = frozenset(_VIDEO.split())
IMAGE_ENDINGS = frozenset(_IMAGE.split())
_SCHEME = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]+)://")

SourceKind = Literal["file", "url", "stream", "missing", "unsupported", "closed"]


@dataclass(frozen=True, slots=True)
class Source:
    """One thing to scan. `shown` is safe to print: no password, no query string, valid Unicode."""

    kind: SourceKind
    location: str
    shown: str

    @property
    def identity(self) -> str | None:
        """What tells apart addresses that look the same once masked; None where `shown` is enough.

        A digest that is slow to compute: whoever reads a report can't try out tokens with it.
        """
        if self.kind not in {"url", "stream"} or self.shown == self.location:
            return None
        salt = self.shown.encode()
        return hashlib.scrypt(
            self.location.encode(), salt=salt, n=1 << 14, r=8, p=1, dklen=16
        ).hex()


def expand_sources(named: Iterable[str], stdin: Iterable[str] = ()) -> list[Source]:
    """Turn what was named into sources, each once, in order.

    A path that is not there becomes a source of kind `missing`. Raises UsageError for a folder or
    glob with nothing in it, and when nothing at all was named.
    """
    seen: set[str] = set()
    sources: list[Source] = []
    for name in _with_stdin(named, stdin):
        for source in _expand(name):
            identity = _identity(source)
            if identity not in seen:
                seen.add(identity)
                sources.append(source)
    if not sources:
        raise UsageError("no source was named", hint="guardian scan VIDEO, or a folder, or a URL")
    return sources


def _with_stdin(named: Iterable[str], stdin: Iterable[str]) -> Iterator[str]:
    for name in named:
        if name == "-":
            yield from (line for raw in stdin if (line := raw.strip("\r\n")).strip())
        else:
            yield name


def _expand(name: str) -> list[Source]:
    scheme = _SCHEME.match(name)
    if scheme and not os.path.lexists(name):
        return [_remote(name, scheme.group(1).lower())]
    if os.path.isdir(name):  # noqa: PTH112 - a name from outside may be no valid Path
        return _in_folder(name)
    if not os.path.lexists(name) and glob.has_magic(name):
        return _in_glob(name)
    return [_local(name)]


def _remote(name: str, scheme: str) -> Source:
    shown = mask_url(name)
    if scheme in {"http", "https"}:
        return Source("url", name, shown)
    if scheme in {"rtsp", "rtsps"}:
        return Source("stream", name, shown)
    return Source("unsupported", name, shown)


def _local(name: str) -> Source:
    try:
        there = os.path.exists(name)  # noqa: PTH110
    except ValueError:
        there = False
    return Source("file" if there else "missing", name, show_path(name))


def _in_folder(name: str) -> list[Source]:
    closed: list[OSError] = []
    found = [
        _local(os.path.join(folder, file))  # noqa: PTH118 - keeps the name as the user wrote it
        for folder, _, files in _walk(name, closed)
        for file in sorted(files)
        if has_known_ending(file)
    ]
    # What may not be looked into is not skipped in silence: it ends as an error.
    found += [Source("closed", error.filename, show_path(error.filename)) for error in closed]
    if not found:
        raise UsageError(
            f"{show_path(name)}: no video or image in this folder",
            hint="a file that is named itself is always tried, whatever its ending",
        )
    return found


def _walk(name: str, closed: list[OSError]) -> Iterator[tuple[str, list[str], list[str]]]:
    for folder, folders, files in os.walk(name, onerror=closed.append):
        folders.sort()
        yield folder, folders, files


def _in_glob(pattern: str) -> list[Source]:
    found: list[Source] = []
    matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - keeps the written form
    for match in matches:
        if not os.path.isdir(match):  # noqa: PTH112
            found.append(_local(match))
        elif "**" not in pattern:
            found.extend(_folder_or_nothing(match))
    if not found:
        raise UsageError(f"{show_path(pattern)}: nothing matches")
    return found


def _folder_or_nothing(name: str) -> list[Source]:
    try:
        return _in_folder(name)
    except UsageError:
        return []


def has_known_ending(name: str) -> bool:
    """Whether a file in a folder is taken for a video or an image."""
    ending = Path(name).suffix.lower().removeprefix(".")
    return ending in VIDEO_ENDINGS or ending in IMAGE_ENDINGS


def show_path(name: str) -> str:
    """A path as text that can be printed and put into JSON, whatever bytes are in it."""
    return os.fsencode(name).decode("utf-8", "backslashreplace") if "\0" not in name else repr(name)


def _identity(source: Source) -> str:
    if source.kind == "file":
        return os.path.realpath(source.location)
    return source.location
