"""A picture file from its bytes to its samples: photos, pages, icons, animations, all upright.

OpenCV decodes still pictures, because it says which are damaged; Pillow reads their orientation,
and decodes animations, whose frames it gives one by one with their durations.
"""

from __future__ import annotations

import io
import mmap
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import cv2  # noqa: TID253 - only the worker process imports this module
import numpy as np  # noqa: TID253 - as above

from guardian_cli.errors import SourceError
from guardian_cli.media.frames import Frame, MediaFacts
from guardian_cli.media.sniff import is_animated_webp
from guardian_cli.media.worker.coverage import DeclaredExtent, DecodeStatistics, assess
from guardian_cli.media.worker.picture import eight_bit, fit, flatten, turn
from guardian_cli.media.worker.sampling import DEFAULT_INTERVAL_S, FrameClock, SampleGrid
from guardian_cli.media.worker.truncation import boxes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

    from guardian_cli.media.frames import Coverage, DecodeSettings
    from guardian_cli.media.sniff import Sniffed
    from guardian_cli.media.worker.local_file import LocalFile
    from guardian_cli.media.worker.logs import Log

    Buffer = bytes | mmap.mmap

# Nobody knows how long a viewer looks at one picture of several, so it is given enough samples to
# confirm itself.
_BESIDE_SAMPLES = 4
_DEFAULT_SHOWN_S = 0.1
_ORIENTATION_TAG = 0x0112
_DAMAGED = "the picture is damaged, cut off or too large"
_JPEG_START = re.compile(rb"\xff\xd8\xff[\xc0-\xc4\xdb\xe0-\xef\xfe]")
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_MAX_FTYP_BYTES = 4096


class IncompleteError(Exception):
    """Pictures of a file, as many as the argument says, could not be decoded."""


@dataclass(frozen=True, slots=True, eq=False)
class Still:
    """One picture of an image file; `image` is 8-bit BGR, `width` and `height` are as shown.

    `shown_s` is how long a frame of an animation lasts, None for a picture that stands for itself;
    `beside` says that it does so beside others of its file, of which viewers show one or another.
    """

    image: NDArray[np.uint8]
    width: int
    height: int
    shown_s: float | None = None
    beside: bool = False


class StillDecoding:
    """A picture file: one frame, several, or an animation whose frames have their own durations.

    `ends_s` is where the last picture so far ends on the file's clock.
    """

    def __init__(
        self,
        file: LocalFile,
        kind: Sniffed,
        settings: DecodeSettings,
        log: Log,
        go_on: Callable[[], None],
    ) -> None:
        self.seen = DecodeStatistics("full", settings.max_gap_s, DEFAULT_INTERVAL_S, still=True)
        self.ends_s = 0.0
        self._file, self._kind, self._log, self._go_on = file, kind, log, go_on
        self._short_side_px = settings.short_side_px
        self._grid = SampleGrid(settings.every_s)
        self._size = (0, 0)
        self._duration_s = 0.0
        self._ended = False

    def coverage(self) -> Coverage:
        """Return what was seen so far."""
        coverage = assess(self.seen, DeclaredExtent(), ended=self._ended)
        return replace(coverage, duration_s=None if self.seen.still else self._duration_s)

    def facts(self) -> MediaFacts:
        """Tell what the picture is, once there is a frame; final once `frames` has ended."""
        if self.seen.still:
            return MediaFacts("image", *self._size, None, self._kind, 0)
        codec = "apng" if self._kind == "png" else self._kind
        return MediaFacts("video", *self._size, self._duration_s, codec, 0)

    def frames(self) -> Iterator[Frame]:
        """Yield the samples, then the last frame; raise SourceError if there is none."""
        seen, clock = self.seen, FrameClock(DEFAULT_INTERVAL_S)
        held: Frame | None = None
        self._log.forget()
        try:
            for still in read_stills(self._file, self._kind):
                time_s = clock.advance(self.ends_s)
                if still.beside and held is not None:
                    yield self._scored(held)
                if not seen.decoded:
                    self._size = still.width, still.height
                seen.decoded += 1
                seen.last_s = time_s
                # Pictures beside each other are stills, and one frame is no animation.
                seen.still = seen.still and (seen.decoded == 1 or still.beside)
                beside_s = _BESIDE_SAMPLES * self._grid.every_s
                self.ends_s += beside_s if still.beside else still.shown_s or 0.0
                self.ends_s = round(self.ends_s, 6)
                if not still.beside:
                    self._duration_s = self.ends_s
                self._go_on()
                until_s = self.ends_s if self.ends_s > time_s else None
                held = Frame(time_s, fit(still.image, 1.0, self._short_side_px), until_s)
                due = self._grid.wants(time_s) or still.beside
                if due:
                    self._grid.take(time_s)
                if due or self._grid.would_miss(time_s, self.ends_s):
                    sample, held = held, None
                    yield self._scored(sample)
        except IncompleteError as missing:
            self.seen.errors += int(missing.args[0])
        if held is not None:
            yield self._scored(held)
        self._log.read()
        self.seen.errors += self._log.image_errors
        self._ended = True

    def _scored(self, frame: Frame) -> Frame:
        self.seen.note_scored(frame.time_s, frame.shown_until_s)
        return frame


def read_stills(file: LocalFile, kind: Sniffed) -> Iterator[Still]:
    """Decode all pictures of an image file; raise SourceError if there is not one."""
    data = mmap.mmap(file.fd, 0, prot=mmap.PROT_READ)
    chunks = png_chunks(data) if kind == "png" else ()
    pixels_at = chunks.index(b"IDAT") if b"IDAT" in chunks else len(chunks)
    if b"acTL" in chunks[:pixels_at]:
        # Pixels before the first frame's header are the picture for viewers without animation.
        frames = chunks.count(b"fcTL") + (b"fcTL" not in chunks[:pixels_at])
        yield from read_animation(data, frames + (b"IEND" not in chunks))
    elif kind == "webp" and is_animated_webp(data[:32]):
        yield from read_animation(data, 0)
    elif kind == "heif":
        yield from read_heif(data, beside=video_in(file, kind) is not None)
    elif kind == "ico":
        yield from read_icons(data)
    elif kind == "tiff" and (pages := int(cv2.imcount(f"/dev/fd/{file.fd}"))) > 1:
        yield from read_each([partial(decode_page, data, page) for page in range(pages)])
    else:
        parts = jpeg_parts(data)[0] if kind == "jpeg" else [slice(0, len(data))]
        has_exif = kind in ("jpeg", "webp", "avif") or b"eXIf" in chunks
        decoders = [partial(decode_picture, data, part, has_exif=has_exif) for part in parts]
        yield from read_each(decoders, beside=video_in(file, kind) is not None)


def read_each(
    decoders: Sequence[Callable[[], Still | None]], *, beside: bool = False
) -> Iterator[Still]:
    """Yield the pictures that can be decoded; the first of them has to be."""
    missing = 0
    for number, decode in enumerate(decoders):
        try:
            still = decode()
        except MemoryError:
            raise
        except Exception as error:  # Pillow raises whatever a damaged file runs it into
            if isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem:
                raise MemoryError from error
            still = None
        if still is None and not number:
            raise SourceError(_DAMAGED, kind="unreadable")
        missing += still is None
        if still is not None:
            yield replace(still, beside=beside or len(decoders) > 1)
    if missing:
        raise IncompleteError(missing)


def decode_picture(buffer: mmap.mmap, part: slice, *, has_exif: bool) -> Still | None:
    """Decode a picture once, so that what is wrong with it is told once."""
    data = buffer[part]
    if data[4:12] == b"ftypavis":
        # The picture that stands for an image sequence, instead of the sequence's first frame.
        data = data[:8] + b"avif" + data[12:]
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        return None
    orientation = 1
    if has_exif:
        # A header that Pillow can't read turns nothing.
        with suppress(Exception):
            orientation = orientation_of(open_with_pillow(data))
    return upright_still(image, orientation)


def decode_page(data: mmap.mmap, page: int) -> Still | None:
    """Decode one page of a TIFF file, which OpenCV turns upright itself."""
    buffer, flags = np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED
    done, images = cv2.imdecodemulti(buffer, flags, range=(page, page + 1))
    return upright_still(images[0], 1) if done and len(images) else None


def upright_still(image: NDArray[Any], orientation: int, shown_s: float | None = None) -> Still:
    """Make a decoded picture (BGR, BGRA or grey) one to look at."""
    upright = turn(eight_bit(image), orientation)
    height, width = upright.shape[:2]
    pixels = flatten(upright) if upright.shape[2] == 4 else upright
    return Still(pixels, width, height, shown_s)


def read_animation(data: mmap.mmap, declared: int) -> Iterator[Still]:
    """Yield an animation's frames, then the picture that stands beside it, if there is one."""
    shown = 0
    default: Still | None = None
    try:
        image = open_with_pillow(data)
        frames = int(getattr(image, "n_frames", 1))
        orientation, declared = orientation_of(image), max(declared, frames)
        for number in range(frames):
            image.seek(number)
            pixels = bgra(image)  # and only then is its duration known
            if number == 0 and getattr(image, "default_image", False):
                default = upright_still(pixels, orientation)
                continue
            shown_s = float(image.info.get("duration") or 0) / 1000
            yield upright_still(pixels, orientation, shown_s if shown_s > 0 else _DEFAULT_SHOWN_S)
            shown += 1
    except (GeneratorExit, MemoryError):
        raise
    except Exception as error:  # Pillow raises whatever a damaged file runs it into
        if not shown and default is None:
            raise SourceError("the animation is damaged or cut off", kind="unreadable") from error
    if default is not None:
        yield replace(default, beside=True)
        shown += 1
    if shown < declared:
        raise IncompleteError(declared - shown)


def read_icons(data: mmap.mmap) -> Iterator[Still]:
    """Yield all sizes of an icon: each may be a picture of its own."""
    from PIL import IcoImagePlugin

    try:
        file = IcoImagePlugin.IcoFile(io.BytesIO(data))
    except Exception as error:
        raise SourceError(_DAMAGED, kind="unreadable") from error

    def icon(number: int) -> Still:
        return upright_still(bgra(file.frame(number)), 1)

    yield from read_each([partial(icon, number) for number in range(len(file.entry))])


def read_heif(data: mmap.mmap, *, beside: bool) -> Iterator[Still]:
    """Yield all pictures of a HEIF file but thumbnails; libheif turns them upright itself."""
    try:
        from pillow_heif import open_heif
    except ImportError:
        why = 'HEIC pictures need an extra: pip install "guardian-cli[heif]"'
        raise SourceError(why, kind="unsupported") from None
    try:
        images = list(open_heif(data[:], bgr_mode=True))
    except Exception as error:
        raise SourceError(_DAMAGED, kind="unreadable") from error

    def picture(image: Any) -> Still:
        return upright_still(np.asarray(image), 1)

    yield from read_each([partial(picture, image) for image in images], beside=beside)


def open_with_pillow(data: bytes | mmap.mmap) -> ImageFile:
    """Open a picture of any size, of which only the header is read now."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # memory is limited for the whole process
    return Image.open(io.BytesIO(data))


def bgra(image: Image) -> NDArray[np.uint8]:
    """Return the pixels of a Pillow image, H x W x 4, in OpenCV's order."""
    return np.asarray(image.convert("RGBA"))[:, :, [2, 1, 0, 3]]


def orientation_of(image: Image) -> int:
    """Return EXIF's orientation, 1 to 8; Pillow puts AVIF's own `irot` and `imir` there too."""
    found = image.getexif().get(_ORIENTATION_TAG, 1)
    return found if found in range(1, 9) else 1


# What else a picture file holds: phones append pictures and videos to a photo, and only some
# viewers show them.


def video_in(file: LocalFile, kind: Sniffed) -> int | None:
    """Return where in a picture file a video begins (0: the file is one too), None without one."""
    if kind in ("heif", "avif") and any(boxes(file.read_at, 0, file.size, b"moov")):
        return 0
    if kind not in ("jpeg", "heif"):
        return None
    data = mmap.mmap(file.fd, 0, prot=mmap.PROT_READ)
    return jpeg_parts(data)[1] if kind == "jpeg" else video_behind(data, 4)


def png_chunks(data: Buffer) -> Sequence[bytes]:
    """Return the names of a PNG's chunks in order, as far as they lie inside the file."""
    at, found = 8, list[bytes]()
    while at + 12 <= len(data) and (not found or found[-1] != b"IEND"):
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        at += 12 + size
        if at <= len(data):
            found.append(name)
    return found


def jpeg_parts(data: Buffer) -> tuple[Sequence[slice], int | None]:
    """Return where each JPEG of a file lies, and where a video behind them begins, if any.

    Thumbnails inside a header are no pictures of their own.
    """
    end = jpeg_end(data, 0)
    video = video_behind(data, end)
    stop = len(data) if video is None else video
    starts = [0]
    while (following := _JPEG_START.search(data, end)) and following.start() < stop:
        starts.append(following.start())
        end = jpeg_end(data, following.start())
    return [slice(*ends) for ends in zip(starts, [*starts[1:], stop], strict=True)], video


def jpeg_end(data: Buffer, start: int) -> int:
    """Walk a JPEG's segments as decoders do, over garbage too; return where it ends."""
    at = start + 2
    while found := _JPEG_MARKER.search(data, at):
        marker, at = data[found.start() + 1], found.end()
        if marker == 0xD8:
            return found.start()  # another picture, where the end of this one is missing
        if marker == 0xD9:
            return at
        if marker != 0x01:
            at += int.from_bytes(data[at : at + 2], "big")
    return len(data)


def video_behind(data: Buffer, after: int) -> int | None:
    """Return where a video (MP4, QuickTime) begins that follows somewhere behind `after`."""
    at = data.find(b"ftyp", after + 4)
    while at >= 0:
        size, brand = int.from_bytes(data[at - 4 : at], "big"), data[at + 4 : at + 8]
        if (
            16 <= size <= _MAX_FTYP_BYTES
            and brand.isascii()
            and brand.decode("ascii").isprintable()
        ):
            return at - 4
        at = data.find(b"ftyp", at + 4)
    return None
