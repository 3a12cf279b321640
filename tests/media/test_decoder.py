"""The decoder from outside: drawn videos in, frames and coverage out, whatever the worker does."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from guardian_cli.errors import SourceError
from guardian_cli.media.decoder import Decoder
from guardian_cli.media.frames import DecodeSettings, MediaFacts, Window
from tests.media.drawing import draw, level, picture, steady
from tests.media.oracle import account
from tests.media.rtsp_server import Camera, split_units

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from guardian_cli.media.decoder import SourceDecoding
    from guardian_cli.media.frames import Frame

FULL = DecodeSettings(mode="full")
NO_PYRAMID = {"x264-params": "b-pyramid=none:b-adapt=0:bframes=3:keyint=100:scenecut=0"}
HOT = np.full((96, 160, 3), 255, np.uint8)
COLD = np.full((96, 160, 3), 40, np.uint8)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as one:
        yield one


def look(
    decoder: Decoder, path: Path | str, settings: DecodeSettings = FULL
) -> tuple[list[Frame], SourceDecoding]:
    decoding = decoder.open(str(path), settings)
    return list(decoding.frames()), decoding


def failure(
    decoder: Decoder, path: Path | str, settings: DecodeSettings = FULL
) -> tuple[SourceError, SourceDecoding]:
    decoding = decoder.open(str(path), settings)
    with pytest.raises(SourceError) as caught:
        list(decoding.frames())
    assert not decoding.coverage.complete
    return caught.value, decoding


def times(frames: Sequence[Frame]) -> list[float]:
    return [frame.time_s for frame in frames]


def test_samples_lie_on_the_grid_and_the_last_frame_is_among_them(
    decoder: Decoder, tmp_path: Path
) -> None:
    path = draw(tmp_path / "a.mp4", steady(4), options={"bf": "3", "g": "50"})
    frames, decoding = look(decoder, path)
    assert times(frames) == [0.0, 1.0, 2.0, 3.0, 3.96]
    assert [round(level(f.image) / 8) % 32 for f in frames] == pytest.approx(
        [at % 32 for at in (0, 25, 50, 75, 99)], abs=1
    )
    assert decoding.facts is not None
    assert (decoding.facts.kind, decoding.facts.codec) == ("video", "h264")
    assert (decoding.facts.width, decoding.facts.height) == (160, 96)
    coverage = decoding.coverage
    assert (coverage.frames_decoded, coverage.frames_scored, coverage.decode_errors) == (100, 5, 0)
    assert coverage.complete
    assert coverage.reached_end
    assert coverage.largest_gap_s == 1.0


def test_variable_frame_rate_is_sampled_by_time_stamp(decoder: Decoder, tmp_path: Path) -> None:
    stamps = [0.0, 0.1, 0.9, 1.3, 1.4, 1.5, 2.0, 2.05, 5.5, 5.6, 6.4]
    path = draw(tmp_path / "vfr.mkv", stamps)
    frames, decoding = look(decoder, path)
    # 2.05 is no sample of the grid, but it is what is shown until 5.5.
    assert times(frames) == [0.0, 1.3, 2.0, 2.05, 5.5, 6.4]
    assert decoding.coverage.complete, decoding.coverage.notes
    assert decoding.coverage.frames_scored == 6


def test_a_picture_that_hides_between_two_samples_and_stays_is_scored(
    decoder: Decoder, tmp_path: Path
) -> None:
    """Whoever uploads knows the grid: calm at every full second, and the rest of the time not."""
    stamps = [*steady(2), 2.0, 2.04, 32.0, 32.04, 33.0]
    path = draw(tmp_path / "pause.mkv", stamps, options={"bf": "3"})
    frames, decoding = look(decoder, path)
    assert times(frames) == [0.0, 1.0, 2.0, 2.04, 32.0, 33.0]
    assert decoding.coverage.complete, decoding.coverage.notes
    assert decoding.coverage.largest_gap_s == pytest.approx(29.96)


@pytest.mark.parametrize(("max_gap_s", "complete"), [(0.5, False), (1.0, True)])
def test_a_grid_wider_than_the_gap_allowed_is_incomplete(
    decoder: Decoder, tmp_path: Path, max_gap_s: float, complete: bool
) -> None:
    path = draw(tmp_path / "a.mp4", steady(4))
    _, decoding = look(decoder, path, DecodeSettings(mode="full", max_gap_s=max_gap_s))
    assert decoding.coverage.complete is complete
    said = () if complete else ("frames were not looked at in 4 gaps over 0.5 s",)
    assert decoding.coverage.notes == said


def test_zero_is_the_first_frame_where_the_track_starts_late(
    decoder: Decoder, tmp_path: Path
) -> None:
    path = draw(tmp_path / "late.mkv", [5.0 + t for t in steady(2)])
    frames, decoding = look(decoder, path)
    assert times(frames) == [0.0, 1.0, 1.96]
    assert decoding.coverage.complete, decoding.coverage.notes


@pytest.mark.slow
def test_a_second_look_gives_the_times_of_the_first(decoder: Decoder, tmp_path: Path) -> None:
    path = draw(tmp_path / "again.mp4", steady(40), options={"g": "50"})
    frames, decoding = look(decoder, path)
    windows = [Window(1.0, 1.4), Window(30.0, 30.2)]
    again = list(decoding.refine(windows, 0.1))
    assert times(again) == [1.0, 1.12, 1.24, 1.36, 30.0, 30.12]
    same = {frame.time_s: frame for frame in frames}
    for frame in again:
        if frame.time_s in same:
            assert level(frame.image) == pytest.approx(level(same[frame.time_s].image), abs=2)
    assert decoding.coverage.frames_scored == len(frames)


def test_pictures_are_shrunk_never_enlarged(decoder: Decoder, tmp_path: Path) -> None:
    path = draw(tmp_path / "wide.mp4", steady(0.2), size=(640, 480))
    frames, decoding = look(decoder, path, DecodeSettings(short_side_px=120))
    assert frames[0].image.shape == (120, 160, 3)
    assert decoding.facts is not None
    assert (decoding.facts.width, decoding.facts.height) == (640, 480)
    frames, _ = look(decoder, path, DecodeSettings(short_side_px=1000))
    assert frames[0].image.shape == (480, 640, 3)


def turned(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Write a rotation (a, b, c, d of the display matrix) into a drawn MP4."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(bytes(data))
    return path


def test_rotation_is_applied(decoder: Decoder, tmp_path: Path) -> None:
    top = np.full((96, 160, 3), 20, np.uint8)
    top[:32] = 230
    path = draw(tmp_path / "turned.mp4", steady(0.4), pictures=[top] * 10)
    frames, decoding = look(decoder, turned(path, (0, 1, -1, 0)))
    image = frames[0].image
    assert image.shape == (160, 96, 3)
    assert image[:, -24:].mean() > 180, "what was up is right after a quarter turn clockwise"
    assert image[:, :24].mean() < 60
    assert decoding.facts is not None
    assert (decoding.facts.width, decoding.facts.height) == (96, 160)
    assert decoding.facts.rotation == 90


def test_interlaced_frames_are_pictures_not_black(decoder: Decoder, tmp_path: Path) -> None:
    path = draw(
        tmp_path / "tff.ts", steady(2), options={"x264-params": "tff=1", "flags": "+ildct+ilme"}
    )
    frames, decoding = look(decoder, path)
    assert times(frames) == [0.0, 1.0, 1.96]
    assert [round(level(f.image) / 8) for f in frames] == pytest.approx([0, 25, 17], abs=1)
    assert decoding.coverage.complete, decoding.coverage.notes
    assert decoding.coverage.frames_decoded == 50


def test_nothing_hides_behind_a_reset_of_the_time_stamps(decoder: Decoder, tmp_path: Path) -> None:
    first = draw(tmp_path / "1.ts", steady(3), pictures=[COLD] * 75)
    second = draw(tmp_path / "2.ts", steady(3), pictures=[HOT] * 75)
    both = tmp_path / "both.ts"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    frames, decoding = look(decoder, both)
    assert all(a < b for a, b in pairwise(times(frames)))
    assert sum(level(frame.image) > 200 for frame in frames) >= 3
    assert decoding.coverage.frames_decoded == 150


def test_a_change_of_size_in_mid_stream_changes_the_picture(
    decoder: Decoder, tmp_path: Path
) -> None:
    first = draw(tmp_path / "1.ts", steady(2), pictures=[COLD] * 50)
    large = np.full((192, 320, 3), 255, np.uint8)
    second = draw(tmp_path / "2.ts", steady(2), pictures=[large] * 50, size=(320, 192))
    both = tmp_path / "both.ts"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    frames, decoding = look(decoder, both)
    assert level(frames[0].image) == pytest.approx(40, abs=5)
    assert level(frames[-1].image) > 250
    assert decoding.coverage.frames_decoded == 100


def test_a_false_frame_count_hides_nothing(decoder: Decoder, tmp_path: Path) -> None:
    path = draw(tmp_path / "count.avi", steady(3), codec="mpeg4", pictures=[COLD] * 40 + [HOT] * 35)
    data = bytearray(path.read_bytes())
    at = data.index(b"strh") + 40
    data[at : at + 4] = struct.pack("<I", 20)
    path.write_bytes(bytes(data))
    frames, decoding = look(decoder, path)
    assert decoding.coverage.frames_decoded == 75
    assert level(frames[-1].image) > 240


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_file_that_breaks_off_is_incomplete(
    decoder: Decoder, tmp_path: Path, ending: str
) -> None:
    path = draw(
        tmp_path / f"whole.{ending}",
        steady(6),
        options={"g": "10"},
        container_options={"movflags": "faststart"} if ending == "mp4" else None,
    )
    cut = tmp_path / f"cut.{ending}"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    frames, decoding = look(decoder, cut)
    coverage = decoding.coverage
    assert not coverage.complete
    assert not coverage.reached_end
    assert 0 < coverage.frames_decoded < 150
    assert times(frames)[-1] < 5
    assert coverage.notes


def test_damage_in_the_middle_is_a_decode_error(decoder: Decoder, tmp_path: Path) -> None:
    path = draw(tmp_path / "hurt.mkv", steady(4), options={"g": "100"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40] = bytes(range(40))
    path.write_bytes(bytes(data))
    _, decoding = look(decoder, path)
    assert not decoding.coverage.complete


def test_fast_mode_moves_no_sample_too_far(decoder: Decoder, tmp_path: Path) -> None:
    path = draw(tmp_path / "b.mp4", steady(20), options=NO_PYRAMID)
    fast = DecodeSettings(every_s=1.0, mode="fast", skip_over_px=0)
    frames, decoding = look(decoder, path, fast)
    coverage = decoding.coverage
    assert coverage.decode == "fast"
    assert coverage.frames_decoded < 300
    assert coverage.complete, coverage.notes
    for at, frame in enumerate(frames[:-1]):
        assert 0 <= frame.time_s - at <= 0.25 + 1e-6
    assert frames[-1].time_s >= 19.9


def test_fast_mode_gives_way_where_samples_would_move(decoder: Decoder, tmp_path: Path) -> None:
    path = draw(tmp_path / "slow.mp4", steady(20, 5), options=NO_PYRAMID)
    fast = DecodeSettings(every_s=0.4, mode="fast", skip_over_px=0)
    frames, decoding = look(decoder, path, fast)
    full, _ = look(decoder, path, DecodeSettings(every_s=0.4, mode="full"))
    assert decoding.coverage.decode == "full"
    assert times(frames) == times(full)
    assert decoding.coverage.frames_decoded == 100


NAMES = [
    "img_%02d.mp4",
    "a:b.mp4",
    "-i.mp4",
    "new\nline.mp4",
    "ü ñ.mp4",
    "noending",
    "x.m3u8",
    "a.txt",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_only_a_name(decoder: Decoder, tmp_path: Path, name: str) -> None:
    path = draw(tmp_path / "plain.mp4", steady(1)).rename(tmp_path / name)
    _, decoding = look(decoder, path)
    assert decoding.coverage.complete
    assert decoding.coverage.frames_decoded == 25


def test_what_is_no_plain_file_ends_at_once(decoder: Decoder, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "empty.mp4").touch()
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(tmp_path / "door"))
    paths: dict[str, Path | str] = {
        "nothing": tmp_path / "nothing.mp4",
        "folder": tmp_path,
        "fifo": tmp_path / "fifo",
        "socket": tmp_path / "door",
        "device": "/dev/zero",
        "empty": tmp_path / "empty.mp4",
    }
    found = {name: failure(decoder, path)[0].kind for name, path in paths.items()}
    door.close()
    expected = dict.fromkeys(("folder", "fifo", "socket", "device"), "unreadable")
    assert found == {"nothing": "missing", "empty": "empty", **expected}


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:{port}/a.ts\n",
        "ffconcat version 1.0\nfile 'other.mp4'\n",
        "file other.mp4\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video {port} RTP/AVP 96\n",
        '<?xml version="1.0"?><MPD><BaseURL>http://127.0.0.1:{port}/</BaseURL></MPD>',
    ],
)
def test_a_playlist_opens_nothing(decoder: Decoder, tmp_path: Path, text: str) -> None:
    draw(tmp_path / "other.mp4", steady(1))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        path = tmp_path / "list.mp4"
        path.write_text(text.format(port=listener.getsockname()[1]))
        error, _ = failure(decoder, path)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert error.kind == "playlist"


def test_a_still_picture_is_one_frame(decoder: Decoder, tmp_path: Path) -> None:
    path = tmp_path / "still.png"
    cv2.imwrite(str(path), picture(9, 400, 300))
    frames, decoding = look(decoder, path, DecodeSettings(short_side_px=150))
    assert [frame.image.shape for frame in frames] == [(150, 200, 3)]
    assert decoding.facts is not None
    assert (decoding.facts.kind, decoding.facts.width, decoding.facts.height) == ("image", 400, 300)
    assert decoding.coverage.complete
    assert list(decoding.refine([Window(0, 1)], 0.1)) == []


def test_a_damaged_picture_is_an_error_or_incomplete(decoder: Decoder, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (200, 300, 3), np.uint8)
    whole = cv2.imencode(".jpg", noise)[1].tobytes()
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole[: len(whole) // 2])
    assert failure(decoder, cut)[0].kind == "unreadable"
    hurt = tmp_path / "hurt.jpg"
    middle = len(whole) // 2
    hurt.write_bytes(whole[:middle] + bytes(200) + whole[middle + 200 :])
    _, decoding = look(decoder, hurt)
    assert decoding.coverage.decode_errors
    assert not decoding.coverage.complete


def test_transparency_is_shown_on_white_and_on_black(decoder: Decoder, tmp_path: Path) -> None:
    ghost = np.full((64, 64, 4), 255, np.uint8)
    ghost[:, :, 3] = 0
    ghost[16:48, 16:48, 3] = 255
    path = tmp_path / "ghost.png"
    cv2.imwrite(str(path), ghost)
    (frame,), decoding = look(decoder, path)
    assert frame.image.shape == (64, 128, 3)
    assert frame.image[:, :64].min() == 255, "white on white shows nothing"
    assert frame.image[32, 96].tolist() == [255, 255, 255]
    assert frame.image[2, 66].tolist() == [0, 0, 0]
    assert decoding.facts is not None
    assert decoding.facts.width == 64


def test_an_animation_runs_on_its_own_durations(decoder: Decoder, tmp_path: Path) -> None:
    from PIL import Image

    shown = [Image.fromarray(picture(at * 3)[:, :, ::-1]) for at in range(5)]
    for ending in ("gif", "png", "webp"):
        path = tmp_path / f"moving.{ending}"
        shown[0].save(path, save_all=True, append_images=shown[1:], duration=600)
        frames, decoding = look(decoder, path)
        assert times(frames) == [0.0, 1.2, 2.4], ending
        assert decoding.facts is not None
        assert decoding.facts.kind == "video"
        assert decoding.coverage.frames_decoded == 5
        assert decoding.coverage.complete, decoding.coverage.notes


def test_sound_without_pictures_is_an_error(decoder: Decoder, tmp_path: Path) -> None:
    import wave

    path = tmp_path / "sound.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))
    error, _ = failure(decoder, path)
    assert error.kind == "no-video"
    assert "only audio" in str(error)


def fake(body: str) -> list[str]:
    """A worker that says it is ready and then runs `body`; `order` is the first order's number."""
    lines = [
        "import json, os, sys, threading",
        "from guardian_cli.media.protocol import pack",
        "def say(**header): os.write(1, pack(header))",
        "say(type='ready', order=0)",
        "order = json.loads(sys.stdin.readline())['order']",
        body,
    ]
    return [sys.executable, "-c", "\n".join(lines)]


def test_a_crash_ends_one_source_only(tmp_path: Path) -> None:
    path = draw(tmp_path / "fine.mp4", steady(1))
    with Decoder(fake("os.abort()")) as crashing:
        error, _ = failure(crashing, path)
        assert error.kind == "crashed"
        assert "SIGABRT" in str(error)
        assert crashing.pid is None
        assert failure(crashing, path)[0].kind == "crashed", "a new worker, and it crashes too"


def test_a_hang_ends_at_the_time_limit(tmp_path: Path) -> None:
    with Decoder(fake("threading.Event().wait()")) as hanging:
        error, _ = failure(hanging, tmp_path / "x.mp4", DecodeSettings(timeout_s=0.3))
        assert error.kind == "timeout"
        assert hanging.pid is None


@pytest.mark.parametrize(
    ("duration_s", "timeout_s", "allowed_s"),
    [(1000.0, None, 2000.0), (20.0, None, 600.0), (None, None, 600.0), (1000.0, 30.0, 30.0)],
)
def test_the_time_limit_grows_with_the_length_unless_it_is_given(
    tmp_path: Path, duration_s: float | None, timeout_s: float | None, allowed_s: float
) -> None:
    facts = asdict(MediaFacts("video", 8, 8, duration_s, "x", 0))
    says = f"say(type='facts', order=order, facts={facts}); say(type='end', order=order)"
    with Decoder(fake(says)) as decoder:
        decoding = decoder.open(str(tmp_path / "x.mp4"), DecodeSettings(timeout_s=timeout_s))
        assert not list(decoding.frames())
        assert decoding._allowed_s == allowed_s
        assert allowed_s - 30 < decoding._budget.left_s <= allowed_s


def test_a_stream_may_be_watched_for_as_long_as_was_asked(tmp_path: Path) -> None:
    with Decoder() as decoder:
        settings = DecodeSettings(for_s=3600)
        assert decoder.open("rtsp://127.0.0.1:1/x", settings)._allowed_s == 7200


def test_nonsense_from_the_worker_is_a_crash(tmp_path: Path) -> None:
    with Decoder(fake("os.write(1, b'x' * 100)")) as confused:
        assert failure(confused, tmp_path / "x.mp4")[0].kind == "crashed"


def test_a_worker_that_does_not_start_says_why(tmp_path: Path) -> None:
    with Decoder([sys.executable, "-c", "raise SystemExit('no such thing here')"]) as dead:
        error, _ = failure(dead, tmp_path / "x.mp4")
        assert error.kind == "crashed"
        assert "no such thing here" in str(error)


@pytest.mark.slow
def test_memory_has_a_limit(decoder: Decoder, tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    cv2.imwrite(str(path), np.zeros((9000, 9000, 3), np.uint8))
    error, _ = failure(decoder, path, DecodeSettings(memory_mb=64))
    assert error.kind == "memory"
    _, decoding = look(decoder, draw(tmp_path / "fine.mp4", steady(1)))
    assert decoding.coverage.complete, "the next source works"


@pytest.mark.slow
def test_leaving_early_keeps_the_worker(decoder: Decoder, tmp_path: Path) -> None:
    path = draw(tmp_path / "long.mp4", steady(60))
    decoding = decoder.open(str(path), DecodeSettings(every_s=0.04))
    frames = decoding.frames()
    next(frames)
    pid = decoder.pid
    frames.close()  # type: ignore[attr-defined]
    assert not decoding.coverage.complete
    _, other = look(decoder, path)
    assert other.coverage.complete
    assert decoder.pid == pid


def test_closing_from_another_thread_ends_the_wait(tmp_path: Path) -> None:
    hanging = Decoder(fake("say(type='progress', order=order); threading.Event().wait()"))
    decoding = hanging.open(str(tmp_path / "x.mp4"), DecodeSettings())
    caught: list[str] = []

    def read() -> None:
        try:
            list(decoding.frames())
        except SourceError as error:
            caught.append(error.kind)

    reader = threading.Thread(target=read)
    reader.start()
    while reader.is_alive():
        decoding.close()
        reader.join(0.05)
    hanging.close()
    assert caught in (["stopped"], [])


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux's pidfd")
def test_nothing_is_left_when_the_parent_is_killed(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.mp4", steady(60))
    script = (
        "import sys\nfrom guardian_cli.media.decoder import Decoder\n"
        "from guardian_cli.media.frames import DecodeSettings\n"
        "decoder = Decoder()\n"
        "frames = decoder.open(sys.argv[1], DecodeSettings(every_s=0.04)).frames()\n"
        "next(frames)\nprint(decoder.pid, flush=True)\nsys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with parent:
        assert parent.stdout is not None
        worker = os.pidfd_open(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
    ended, _, _ = select.select([worker], [], [], 10)
    os.close(worker)
    assert ended, "the worker outlived its parent"


def drawn_camera(tmp_path: Path, seconds: float) -> Camera:
    options = {"bf": "0", "g": "25", "x264-params": "repeat-headers=1"}
    path = draw(tmp_path / "camera.h264", steady(seconds), options=options)
    pictures: list[list[bytes]] = [[]]
    for unit in split_units(path.read_bytes()):
        pictures[-1].append(unit)
        if unit[0] & 31 in (1, 5):
            pictures.append([])
    return Camera(pictures[:-1], 25)


@pytest.mark.slow
def test_a_stream_is_watched_for_as_long_as_asked(decoder: Decoder, tmp_path: Path) -> None:
    with drawn_camera(tmp_path, 4) as camera:
        frames, decoding = look(decoder, camera.url, DecodeSettings(for_s=2))
        assert times(frames) == [0.0, 1.0, 2.0]
        assert decoding.coverage.complete
        _, decoding = look(decoder, camera.url, DecodeSettings(for_s=30))
        assert not decoding.coverage.reached_end
        assert not decoding.coverage.complete


def test_a_stream_that_is_not_there_is_an_error_without_its_password(decoder: Decoder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error, _ = failure(decoder, f"rtsp://me:s3cret@127.0.0.1:{port}/x", DecodeSettings(for_s=1))
    assert error.kind == "unreadable"
    assert "s3cret" not in str(error)


@pytest.mark.slow
def test_the_oracle_agrees_on_drawn_videos(decoder: Decoder, tmp_path: Path) -> None:
    for codec, ending in [
        ("mpeg4", "avi"),
        ("libvpx", "webm"),
        ("ffv1", "mkv"),
        ("libx265", "mp4"),
    ]:
        path = draw(tmp_path / f"{codec}.{ending}", steady(2), codec=codec)
        _, decoding = look(decoder, path)
        theirs = account(path)
        assert decoding.coverage.frames_decoded == 50
        assert theirs is None or theirs.frames == 50
        assert decoding.coverage.complete, decoding.coverage.notes
