"""What containers say and hide: encryption, lengths, turns, damage at the end, transparency."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from guardian_cli.errors import SourceError
from guardian_cli.media.decoder import Decoder
from guardian_cli.media.frames import DecodeSettings
from guardian_cli.media.worker.truncation import encrypted_tracks, is_cut_off
from tests.media.drawing import draw, steady

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from guardian_cli.media.decoder import SourceDecoding

FULL = DecodeSettings(mode="full")


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as one:
        yield one


def decoded(
    decoder: Decoder, path: Path, settings: DecodeSettings = FULL
) -> tuple[list[float], SourceDecoding]:
    decoding = decoder.open(str(path), settings)
    return [frame.time_s for frame in decoding.frames()], decoding


def reader(data: bytes) -> Callable[[int, int], bytes]:
    return lambda at, count: data[at : at + count]


def box(kind: bytes, *contents: bytes) -> bytes:
    body = b"".join(contents)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def track(number: int, entry: bytes, *, version: int = 0) -> bytes:
    times = bytes(8 * (version + 1))
    header = box(b"tkhd", bytes([version, 0, 0, 3]), times, struct.pack(">I", number), bytes(60))
    entries = box(b"stsd", struct.pack(">II", 0, 1), box(entry, bytes(78)))
    return box(b"trak", header, box(b"mdia", box(b"minf", box(b"stbl", entries))))


def test_the_tracks_whose_samples_are_encrypted_are_known() -> None:
    tracks = track(1, b"avc1"), track(2, b"encv"), track(9, b"encv", version=1), track(3, b"enca")
    data = box(b"ftyp", b"isom") + box(b"mdat", bytes(99)) + box(b"moov", *tracks)
    assert encrypted_tracks(reader(data), len(data)) == {2, 9}
    assert encrypted_tracks(reader(data), len(data) - 250) <= {2, 9}
    assert encrypted_tracks(reader(b"RIFF" + data), len(data)) == set()


def test_an_encrypted_video_is_refused(decoder: Decoder, tmp_path: Path) -> None:
    path = draw(tmp_path / "drm.mp4", steady(1))
    path.write_bytes(path.read_bytes().replace(b"avc1\0\0\0\0", b"encv\0\0\0\0"))
    with pytest.raises(SourceError) as caught:
        decoded(decoder, path)
    assert caught.value.kind == "encrypted"


def test_an_avi_that_breaks_off_is_incomplete(decoder: Decoder, tmp_path: Path) -> None:
    path = draw(tmp_path / "whole.avi", steady(3), codec="mpeg4")
    data = path.read_bytes()
    assert is_cut_off(reader(data + b"garbage behind it"), len(data) + 17) is False
    assert decoded(decoder, path)[1].coverage.complete
    path.write_bytes(data[: len(data) // 2])
    _, decoding = decoded(decoder, path)
    assert not decoding.coverage.reached_end
    assert "the file is cut off" in decoding.coverage.notes


def test_a_recorder_that_was_stopped_leaves_lengths_open() -> None:
    data = b"RIFF" + bytes(4) + b"AVI LIST" + bytes(200)
    assert is_cut_off(reader(data), len(data)) is None


def test_an_flv_says_once_for_all_tracks_how_long_it_is(decoder: Decoder, tmp_path: Path) -> None:
    path = draw(tmp_path / "whole.flv", steady(3), codec="flv")
    assert decoded(decoder, path)[1].coverage.complete
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    _, decoding = decoded(decoder, path)
    assert not decoding.coverage.reached_end
    assert decoding.coverage.notes[0].startswith("the track says")


def test_sound_that_goes_on_makes_no_video_incomplete(decoder: Decoder, tmp_path: Path) -> None:
    path = tmp_path / "sound.flv"
    with av.open(str(path), "w") as file:
        pictures = file.add_stream("flv", rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        sound = file.add_stream("pcm_s16le", rate=44100, layout="mono")
        for _ in range(25):
            still = np.full((48, 64, 3), 90, np.uint8)
            file.mux(pictures.encode(av.VideoFrame.from_ndarray(still, format="bgr24")))
        file.mux(pictures.encode(None))
        for at in range(3):
            silence = np.zeros((1, 44100), np.int16)
            part = av.AudioFrame.from_ndarray(silence, format="s16", layout="mono")
            part.sample_rate, part.pts = 44100, at * 44100
            file.mux(sound.encode(part))
        file.mux(sound.encode(None))
    _, decoding = decoded(decoder, path)
    assert decoding.coverage.complete, decoding.coverage.notes
    assert decoding.coverage.duration_s == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("damaged", [1, 4])
def test_damage_at_the_end_costs_no_frame_in_several_threads(
    decoder: Decoder, tmp_path: Path, damaged: int
) -> None:
    options = {"x264-params": "bframes=3:b-adapt=0:b-pyramid=none:keyint=100:scenecut=0"}
    path = draw(tmp_path / "end.mp4", steady(2), options=options)
    with av.open(str(path)) as file:
        packets = [(p.pos, p.size) for p in file.demux(video=0) if p.pos is not None and p.size]
    data = bytearray(path.read_bytes())
    for at, size in packets[-damaged:]:
        data[at + 4 : at + size] = b"\xff" * (size - 4)
    path.write_bytes(bytes(data))
    alone_times, alone = decoded(decoder, path, replace(FULL, threads=1))
    several_times, several = decoded(decoder, path, replace(FULL, threads=3))
    assert alone.coverage.frames_decoded == several.coverage.frames_decoded >= 50 - damaged
    assert alone_times == several_times
    assert several.coverage.decode_errors
    assert not several.coverage.complete


def test_a_matrix_that_turns_nothing_is_no_turn(decoder: Decoder, tmp_path: Path) -> None:
    path = draw(tmp_path / "flat.mp4", steady(0.4))
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = bytes(36)
    path.write_bytes(bytes(data))
    _, decoding = decoded(decoder, path)
    assert decoding.facts is not None
    assert (decoding.facts.width, decoding.facts.height, decoding.facts.rotation) == (160, 96, 0)


@pytest.mark.parametrize("matrix", ["YCgCo", "ICtCp", "smpte2085", "chroma-derived-c", "bt2020c"])
def test_a_colour_matrix_that_is_not_known_hides_no_picture(
    decoder: Decoder, tmp_path: Path, matrix: str
) -> None:
    grey = np.full((96, 160, 3), 200, np.uint8)
    options = {"x264-params": f"colormatrix={matrix}"}
    path = draw(tmp_path / "odd.mp4", steady(0.4), pictures=[grey] * 10, options=options)
    decoding = decoder.open(str(path), FULL)
    levels = [float(frame.image.mean()) for frame in decoding.frames()]
    assert levels == pytest.approx([200.0] * 2, abs=12)
    assert decoding.coverage.complete, decoding.coverage.notes
