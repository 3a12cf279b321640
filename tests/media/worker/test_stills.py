"""Picture files: every picture that some viewer shows, upright, and damage told from warnings."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from guardian_cli.errors import SourceError
from guardian_cli.media.decoder import Decoder
from guardian_cli.media.frames import DecodeSettings
from guardian_cli.media.worker.stills import jpeg_parts, png_chunks, video_behind
from tests.media.drawing import draw, steady

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from guardian_cli.media.decoder import SourceDecoding
    from guardian_cli.media.frames import Frame

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
# Where the corners of an upright picture (from left to right, from top to bottom) are stored.
STORED = {
    1: (0, 1, 2, 3), 2: (1, 0, 3, 2), 3: (3, 2, 1, 0), 4: (2, 3, 0, 1),
    5: (0, 2, 1, 3), 6: (1, 3, 0, 2), 7: (3, 1, 2, 0), 8: (2, 0, 3, 1),
}  # fmt: skip


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as one:
        yield one


def look(decoder: Decoder, path: Path) -> tuple[list[Frame], SourceDecoding]:
    decoding = decoder.open(str(path), DecodeSettings())
    return list(decoding.frames()), decoding


def harm(decoder: Decoder, path: Path) -> tuple[str, int]:
    """The error's kind or "", and how many decode errors there are, of a file that is damaged."""
    decoding = decoder.open(str(path), DecodeSettings())
    kind = ""
    try:
        list(decoding.frames())
    except SourceError as error:
        kind = error.kind
    assert not decoding.coverage.complete
    return kind, decoding.coverage.decode_errors


def colours(frames: list[Frame]) -> list[str]:
    """Which of blue, green and red is strongest in each frame."""
    return ["bgr"[int(frame.image.mean((0, 1)).argmax())] for frame in frames]


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.new("RGB", size, colour)


def corners(orientation: int, mode: str) -> Image.Image:
    """A picture of four colours that is 64 x 96 once it is turned upright."""
    size = (64, 96) if orientation < 5 else (96, 64)
    image = Image.new("RGB", size)
    half = (size[0] // 2, size[1] // 2)
    for place, corner in enumerate(STORED[orientation]):
        colour = (RED, GREEN, BLUE, WHITE)[corner]
        image.paste(colour, (half[0] * (place % 2), half[1] * (place // 2), *size))
    return image.convert(mode)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def with_chunk(png: bytes, extra: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    return png[:33] + extra + png[33:]


def test_stored_corners_are_those_of_exif() -> None:
    from PIL import ImageOps

    for orientation in STORED:
        image = corners(orientation, "RGB")
        image.getexif()[0x112] = orientation
        upright = ImageOps.exif_transpose(image)
        assert upright.size == (64, 96)
        assert [upright.getpixel(at) for at in ((9, 9), (50, 9), (9, 80), (50, 80))] == [
            RED, GREEN, BLUE, WHITE,
        ]  # fmt: skip


KINDS = [
    ("a.jpg", "RGB"), ("a.jpg", "CMYK"), ("a.png", "RGB"), ("a.png", "RGBA"), ("long.png", "RGB"),
    ("late.png", "RGB"), ("moving.png", "RGB"), ("a.webp", "RGB"), ("a.webp", "RGBA"),
    ("moving.webp", "RGB"), ("a.tiff", "RGB"), ("a.tiff", "RGBA"), ("pages.tiff", "RGB"),
    ("a.avif", "RGB"), ("a.avif", "RGBA"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "mode"), KINDS)
def test_every_format_is_turned_upright(
    decoder: Decoder, tmp_path: Path, name: str, mode: str
) -> None:
    for orientation in STORED:
        path, exif = tmp_path / name, Image.Exif()
        exif[0x112] = orientation
        image = corners(orientation, mode)
        several = {"save_all": True, "append_images": [image.transpose(Image.Transpose.ROTATE_180)]}
        more: dict[str, Any] = several if name.startswith(("moving", "pages")) else {}
        lossless: dict[str, Any] = {"lossless": True} if name.endswith("webp") else {}
        image.save(path, exif=exif, quality=100, **lossless, **more)
        if name == "long.png":
            path.write_bytes(with_chunk(path.read_bytes(), chunk(b"tEXt", b"a\0" + b"b" * 70_000)))
        if name == "late.png":
            image.save(path)
            path.write_bytes(path.read_bytes()[:-12] + chunk(b"eXIf", exif.tobytes()[6:]) + END)
        frames, decoding = look(decoder, path)
        assert decoding.facts is not None
        assert (decoding.facts.width, decoding.facts.height) == (64, 96), orientation
        assert decoding.coverage.complete, decoding.coverage.notes
        shown = frames[0].image[:, :, ::-1].astype(int)
        found = [shown[at] for at in ((9, 9), (9, 50), (80, 9), (80, 50))]
        assert np.abs(np.array(found) - [RED, GREEN, BLUE, WHITE]).max() < 40, orientation


END = chunk(b"IEND", b"")


def test_the_default_picture_beside_an_animation_is_scored(
    decoder: Decoder, tmp_path: Path
) -> None:
    path = tmp_path / "beside.png"
    plain(RED).save(
        path,
        save_all=True,
        append_images=[plain(BLUE), plain(GREEN)],
        duration=500,
        default_image=True,
    )
    frames, decoding = look(decoder, path)
    assert [frame.time_s for frame in frames] == [0.0, 0.5, 1.0]
    assert colours(frames) == ["b", "g", "r"]
    assert decoding.facts is not None
    assert (decoding.facts.kind, decoding.facts.codec, decoding.facts.duration_s) == (
        "video", "apng", 1.0,
    )  # fmt: skip
    assert decoding.coverage.complete, decoding.coverage.notes
    cut = tmp_path / "cut.png"
    cut.write_bytes(path.read_bytes()[:-40])
    frames, decoding = look(decoder, cut)
    assert colours(frames)[0] == "b"
    assert not decoding.coverage.complete


def jpeg(colour: tuple[int, int, int], **more: Any) -> bytes:
    buffer = io.BytesIO()
    plain(colour).save(buffer, "JPEG", **more)
    return buffer.getvalue()


def test_pictures_that_follow_the_first_are_scored(decoder: Decoder, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    mpo, behind, pages = tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "c.tif"
    plain(BLUE).save(mpo, "MPO", save_all=True, append_images=[plain(RED)])
    behind.write_bytes(jpeg(BLUE, exif=exif) + bytes(99) + jpeg(RED))
    plain(BLUE).save(pages, save_all=True, append_images=[plain(RED)])
    for path in (mpo, behind, pages):
        frames, decoding = look(decoder, path)
        assert colours(frames) == ["b", "r"], path
        # Each is shown for long enough to bear itself out.
        assert [(f.time_s, f.shown_until_s) for f in frames] == [(0.0, 4.0), (4.0, 8.0)]
        assert decoding.facts is not None
        assert (decoding.facts.kind, decoding.facts.duration_s) == ("image", None)
        assert decoding.coverage.complete, decoding.coverage.notes
        assert decoding.coverage.frames_scored == 2
    behind.write_bytes(jpeg(BLUE) + jpeg(RED)[:-300])
    frames, decoding = look(decoder, behind)
    assert frames
    assert not decoding.coverage.complete


def test_every_size_of_an_icon_is_scored(decoder: Decoder, tmp_path: Path) -> None:
    path = tmp_path / "a.ico"
    small = plain(RED, (16, 16)).convert("RGBA")
    plain(BLUE, (32, 32)).save(path, sizes=[(16, 16), (32, 32)], append_images=[small])
    frames, decoding = look(decoder, path)
    assert sorted(colours(frames)) == ["b", "r"]
    assert decoding.coverage.complete


def test_the_video_behind_a_photo_is_scored(decoder: Decoder, tmp_path: Path) -> None:
    red = np.full((96, 160, 3), (0, 0, 255), np.uint8)
    video = draw(tmp_path / "a.mp4", steady(2, 5), pictures=[red] * 10).read_bytes()
    path = tmp_path / "motion.jpg"
    path.write_bytes(jpeg(BLUE) + b"MotionPhoto_Data" + video)
    frames, decoding = look(decoder, path)
    assert colours(frames) == ["b", "r", "r", "r"]
    assert decoding.facts is not None
    assert (decoding.facts.kind, decoding.facts.codec) == ("image", "jpeg")
    assert (decoding.coverage.complete, decoding.coverage.frames_decoded) == (True, 11)
    path.write_bytes(jpeg(BLUE) + video[:200])
    frames, decoding = look(decoder, path)
    assert colours(frames) == ["b"]
    assert not decoding.coverage.complete
    assert any("the video behind the picture" in note for note in decoding.coverage.notes)


def test_the_picture_that_stands_for_a_sequence_is_scored(decoder: Decoder, tmp_path: Path) -> None:
    path = tmp_path / "a.avif"
    plain(BLUE).save(path, save_all=True, append_images=[plain(RED), plain(GREEN)], duration=100)
    frames, decoding = look(decoder, path)
    assert colours(frames) == ["b", "g", "b"]
    assert decoding.facts is not None
    assert decoding.facts.kind == "video"
    assert decoding.coverage.complete, decoding.coverage.notes


def test_a_warning_is_no_damage_and_damage_is_told_once(decoder: Decoder, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (90, 160, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    png = buffer.getvalue()
    odd = tmp_path / "odd.png"
    odd.write_bytes(with_chunk(png, chunk(b"iCCP", b"odd\0\0" + zlib.compress(bytes(200)))))
    _, decoding = look(decoder, odd)
    assert (decoding.coverage.complete, decoding.coverage.decode_errors) == (True, 0)
    for at in range(60, len(png), len(png) // 9):
        hurt = tmp_path / "hurt.png"
        hurt.write_bytes(png[:at] + bytes([png[at] ^ 0x55]) + png[at + 1 :])
        kind, errors = harm(decoder, hurt)
        assert (kind, errors) in (("unreadable", 0), ("unreadable", 1), ("", 1)), at
    damaged = tmp_path / "damaged.jpg"
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG")
    data = buffer.getvalue()
    damaged.write_bytes(data[: len(data) // 2] + bytes(100) + data[len(data) // 2 + 100 :])
    assert look(decoder, damaged)[1].coverage.decode_errors == 1


def test_heic_pictures_are_read(decoder: Decoder, tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif", reason="the extra `heif` is not installed")
    path = tmp_path / "a.heic"
    file = heif.from_pillow(plain(BLUE, (96, 64)))
    file.add_from_pillow(plain(RED, (96, 64)))
    file.save(path, quality=90)
    frames, decoding = look(decoder, path)
    assert colours(frames) == ["b", "r"]
    assert decoding.facts is not None
    assert (decoding.facts.codec, decoding.facts.width, decoding.facts.height) == ("heif", 96, 64)
    assert decoding.coverage.complete, decoding.coverage.notes
    path.write_bytes(path.read_bytes()[:-60])
    assert harm(decoder, path)[0] == "unreadable"


def test_without_its_package_a_heic_picture_is_an_error_that_says_what_to_install(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x1cftypheic\0\0\0\0mif1heic" + bytes(100))
    body = "import sys; sys.modules['pillow_heif'] = None"
    with (
        Decoder(
            [
                sys.executable,
                "-P",
                "-c",
                f"{body}; from guardian_cli.media.worker import main as w; w.main()",
            ]
        ) as decoder,
        pytest.raises(SourceError, match=r"pip install .guardian-cli\[heif\].") as caught,
    ):
        look(decoder, path)
    assert caught.value.kind == "unsupported"


def test_parts_are_found_by_walking() -> None:
    first, second = jpeg(BLUE), jpeg(RED)
    video = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"
    assert jpeg_parts(first) == ([slice(0, len(first))], None)
    whole = first + second + b"xx" + video + second
    ends = (len(first), len(first + second) + 2)
    assert jpeg_parts(whole) == ([slice(0, ends[0]), slice(*ends)], ends[1])
    # A thumbnail in a header is no picture of its own, nor is what looks like a video there.
    header = b"\xff\xe1" + struct.pack(">H", len(second + video) + 2) + second + video
    with_thumbnail = first[:2] + header + first[2:]
    assert jpeg_parts(with_thumbnail) == ([slice(0, len(with_thumbnail))], None)
    # Where the end of the first is missing, the second is found all the same.
    assert len(jpeg_parts(first[:-2] + second)[0]) == 2
    assert video_behind(b"an ftyp that is none", 0) is None
    assert png_chunks(b"\x89PNG\r\n\x1a\n" + END + END) == [b"IEND"]
    assert png_chunks(b"\x89PNG\r\n\x1a\n" + END[:-1]) == []
