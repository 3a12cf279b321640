"""Every picture of an image file, upright: photos, pages, animations. Only the worker imports this.

OpenCV decodes still pictures, because it says which are damaged; Pillow reads their orientation,
and decodes animations, whose frames it gives one by one with their durations.
"""

from __future__ import annotations

import io
import mmap
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2  # noqa: TID253 - only the worker process imports this module
import numpy as np  # noqa: TID253 - as above

from guardian_cli.errors import SourceError
from guardian_cli.media.sniff import is_animated_webp
from guardian_cli.media.worker.embedded import has_box, jpeg_parts, png_chunks, video_behind
from guardian_cli.media.worker.picture import eight_bit, flatten, turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

    from guardian_cli.media.sniff import Sniffed
    from guardian_cli.media.worker.local_file import LocalFile

_DEFAULT_SHOWN_S = 0.1
_ORIENTATION_TAG = 0x0112
_DAMAGED = "the picture is damaged, cut off or too large"


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


def video_in(file: LocalFile, kind: Sniffed) -> int | None:
    """Return where in a picture file a video begins (0: the file is one too), None without one."""
    data = mmap.mmap(file.fd, 0, prot=mmap.PROT_READ)
    if kind in ("heif", "avif") and has_box(data, b"moov"):
        return 0
    if kind == "jpeg":
        return jpeg_parts(data)[1]
    return video_behind(data, 4) if kind == "heif" else None


def read_stills(file: LocalFile, kind: Sniffed) -> Iterator[Still]:
    """Decode all pictures of an image file; raise SourceError if there is not one."""
    data = mmap.mmap(file.fd, 0, prot=mmap.PROT_READ)
    chunks = png_chunks(data) if kind == "png" else ()
    pixels_at = chunks.index(b"IDAT") if b"IDAT" in chunks else len(chunks)
    if b"acTL" in chunks[:pixels_at]:
        # Pixels before the first frame's header are the picture for viewers without animation.
        frames = chunks.count(b"fcTL") + (b"fcTL" not in chunks[:pixels_at])
        yield from _animation(data, frames + (b"IEND" not in chunks))
    elif kind == "webp" and is_animated_webp(data[:32]):
        yield from _animation(data, 0)
    elif kind == "heif":
        yield from _heif(data, beside=video_in(file, kind) is not None)
    elif kind == "ico":
        yield from _icons(data)
    elif kind == "tiff" and (pages := int(cv2.imcount(file.path))) > 1:
        yield from _each((_page(data, page) for page in range(pages)), beside=True)
    else:
        parts = jpeg_parts(data)[0] if kind == "jpeg" else [slice(0, len(data))]
        has_exif = kind in ("jpeg", "webp", "avif") or b"eXIf" in chunks
        stills = (_still(data[part], has_exif=has_exif) for part in parts)
        yield from _each(stills, beside=len(parts) > 1 or video_in(file, kind) is not None)


def _each(stills: Iterator[Still | None], *, beside: bool) -> Iterator[Still]:
    """Yield the pictures that could be decoded; the first of them has to be."""
    missing = 0
    for number, still in enumerate(stills):
        if still is None and not number:
            raise SourceError(_DAMAGED, kind="unreadable")
        missing += still is None
        if still is not None:
            yield replace(still, beside=beside)
    if missing:
        raise IncompleteError(missing)


def _still(data: bytes, *, has_exif: bool) -> Still | None:
    """Decode a picture once, so that what is wrong with it is told once."""
    if data[4:12] == b"ftypavis":
        # The picture that stands for an image sequence, instead of the sequence's first frame.
        data = data[:8] + b"avif" + data[12:]
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        _raise_no_memory(error)
        return None
    if image is None:
        return None
    return _shown(image, _orientation(data) if has_exif else 1)


def _page(data: mmap.mmap, page: int) -> Still | None:
    """Decode one page of a TIFF file, which OpenCV turns upright itself."""
    buffer, flags = np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED
    try:
        done, images = cv2.imdecodemulti(buffer, flags, range=(page, page + 1))
    except cv2.error as error:
        _raise_no_memory(error)
        return None
    return _shown(images[0], 1) if done and len(images) else None


def _raise_no_memory(error: cv2.error) -> None:
    if error.code == cv2.Error.StsNoMem:
        raise MemoryError from error


def _shown(image: NDArray[Any], orientation: int, shown_s: float | None = None) -> Still:
    """Make a decoded picture (BGR, BGRA or grey) one to look at."""
    upright = turn(eight_bit(image), orientation)
    height, width = upright.shape[:2]
    pixels = flatten(upright) if upright.shape[2] == 4 else upright
    return Still(pixels, width, height, shown_s)


def _animation(data: mmap.mmap, promised: int) -> Iterator[Still]:
    """Yield an animation's frames, then the picture that stands beside it, if there is one."""
    shown = 0
    default: Still | None = None
    try:
        image = _open(data)
        frames = int(getattr(image, "n_frames", 1))
        orientation, promised = _tag(image), max(promised, frames)
        for number in range(frames):
            image.seek(number)
            if number == 0 and getattr(image, "default_image", False):
                default = _shown(_pixels(image), orientation)
                continue
            pixels = _pixels(image)  # and only then is its duration known
            shown_s = float(image.info.get("duration") or 0) / 1000
            yield _shown(pixels, orientation, shown_s if shown_s > 0 else _DEFAULT_SHOWN_S)
            shown += 1
    except (GeneratorExit, MemoryError):
        raise
    except Exception as error:  # Pillow raises whatever a damaged file runs it into
        if not shown and default is None:
            raise SourceError("the animation is damaged or cut off", kind="unreadable") from error
    if default is not None:
        yield replace(default, beside=True)
        shown += 1
    if shown < promised:
        raise IncompleteError(promised - shown)


def _open(data: bytes | mmap.mmap) -> ImageFile:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # memory is limited for the whole process
    return Image.open(io.BytesIO(data))


def _pixels(image: Image) -> NDArray[np.uint8]:
    return np.asarray(image.convert("RGBA"))[:, :, [2, 1, 0, 3]]


def _icons(data: mmap.mmap) -> Iterator[Still]:
    """Yield all sizes of an icon: each may be a picture of its own."""
    from PIL import IcoImagePlugin

    def icon(file: IcoImagePlugin.IcoFile, number: int) -> Still | None:
        try:
            return _shown(_pixels(file.frame(number)), 1)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - as above
            return None

    try:
        file = IcoImagePlugin.IcoFile(io.BytesIO(data))
    except Exception as error:
        raise SourceError(_DAMAGED, kind="unreadable") from error
    stills = (icon(file, number) for number in range(len(file.entry)))
    yield from _each(stills, beside=len(file.entry) > 1)


def _heif(data: mmap.mmap, *, beside: bool) -> Iterator[Still]:
    """Yield all pictures of a HEIF file but thumbnails; libheif turns them upright itself."""
    try:
        from pillow_heif import open_heif
    except ImportError:
        why = 'HEIC pictures need an extra: pip install "guardian-cli[heif]"'
        raise SourceError(why, kind="unsupported") from None

    def picture(image: Any) -> Still | None:
        try:
            return _shown(np.asarray(image), 1)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - as above
            return None

    try:
        images = list(open_heif(data[:], bgr_mode=True))
    except Exception as error:
        raise SourceError(_DAMAGED, kind="unreadable") from error
    yield from _each((picture(image) for image in images), beside=beside or len(images) > 1)


def _orientation(data: bytes) -> int:
    try:
        return _tag(_open(data))
    except Exception:  # noqa: BLE001 - a header that Pillow can't read turns nothing
        return 1


def _tag(image: Image) -> int:
    """Return EXIF's orientation, 1 to 8; Pillow puts AVIF's own `irot` and `imir` there too."""
    found = image.getexif().get(_ORIENTATION_TAG, 1)
    return found if found in range(1, 9) else 1
