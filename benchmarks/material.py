"""What the benchmarks work on, made once and kept in build/benchmarks: videos and a checkpoint.

The videos show textured scenes that move, with a little noise, as H.264 with B-frames. A long one
is a shorter one joined to itself packet by packet: decoding it is the same work, making it is not.
The checkpoint is a ViT-B-32 with seeded random weights: the work is the same as with trained ones.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

CACHE = Path(__file__).resolve().parent.parent / "build" / "benchmarks"
FPS = 30


def draw_frames(size: tuple[int, int], count: int, seed: int) -> Iterator[NDArray[np.uint8]]:
    """A textured background that pans and three textured things that cross it, with grain."""
    width, height = size
    rng = np.random.default_rng(seed)
    margin = max(16, width // 8)
    scene = _texture(rng, width + margin, height + margin)
    things = [_texture(rng, width // 6, height // 4) for _ in range(3)]
    grain = rng.integers(0, 11, (8, height, width, 1), np.uint8)
    for number in range(count):
        turn = number / FPS
        x = int(margin * (0.5 + 0.5 * np.sin(0.7 * turn)))
        y = int(margin * (0.5 + 0.5 * np.cos(0.9 * turn)))
        frame = scene[y : y + height, x : x + width].copy()
        for at, thing in enumerate(things):
            left = int((width - thing.shape[1]) * (0.5 + 0.5 * np.sin((0.5 + at / 3) * turn + at)))
            top = at * height // 4
            frame[top : top + thing.shape[0], left : left + thing.shape[1]] = thing
        yield frame + grain[number % len(grain)]


def _texture(rng: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    """Coloured noise in four octaves: edges and plains of every size, no flat colour."""
    picture = np.full((height, width, 3), 110.0, np.float32)
    for cells, strength in ((6, 40), (24, 22), (96, 12), (300, 6)):
        small = rng.normal(0, strength, (max(2, cells * height // width), cells, 3))
        small = small.astype(np.float32)
        picture += cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture, 0, 245).astype(np.uint8)


def write_clip(path: Path, size: tuple[int, int], seconds: float, seed: int) -> None:
    """Encode a clip: H.264, veryfast, three B-frames, a key frame every 250."""
    part = path.with_suffix(f".{os.getpid()}.mp4")
    with av.open(str(part), "w") as container:
        options = {"preset": "veryfast", "crf": "23", "bf": "3", "threads": "2"}
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = size[0], size[1], "yuv420p"
        for picture in draw_frames(size, round(seconds * FPS), seed):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    part.replace(path)


def write_picture(path: Path) -> None:
    """A single picture of the same kind."""
    cv2.imwrite(str(path), next(draw_frames((640, 360), 1, seed=5)))


def join_to_itself(source: Path, target: Path, times: int) -> None:
    """Write a clip `times` over behind itself without encoding again."""
    part = target.with_suffix(f".{os.getpid()}.mp4")
    with av.open(str(part), "w") as out:
        offset, stream = 0, None
        for _ in range(times):
            with av.open(str(source)) as clip:
                track = clip.streams.video[0]
                if stream is None:
                    stream = out.add_stream_from_template(track)
                length = int(track.frames / FPS / (track.time_base or Fraction(1, FPS)))
                for packet in clip.demux(track):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.pts += offset
                    packet.dts += offset
                    packet.stream = stream
                    out.mux(packet)
            offset += length
    part.replace(target)


def long_video(seconds: int = 120, size: tuple[int, int] = (1920, 1080), piece: int = 20) -> Path:
    """One long video; `piece` seconds of it are unique."""
    CACHE.mkdir(parents=True, exist_ok=True)
    piece = min(piece, seconds)
    clip = CACHE / f"clip-{size[0]}x{size[1]}-{piece}s.mp4"
    if not clip.exists():
        write_clip(clip, size, piece, seed=1)
    path = CACHE / f"long-{size[0]}x{size[1]}-{seconds}s.mp4"
    if not path.exists():
        join_to_itself(clip, path, seconds // piece)
    return path


def short_clips(count: int = 200, seconds: float = 2.0, size: tuple[int, int] = (640, 360)) -> Path:
    """A folder of short clips, every eighth one unique, the others copies under other names."""
    folder = CACHE / f"clips-{count}x{seconds:g}s-{size[0]}x{size[1]}"
    if folder.is_dir():
        return folder
    part = folder.with_suffix(f".{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for number in range(count):
        path = part / f"clip-{number:03d}.mp4"
        if number < 8:
            write_clip(path, size, seconds, seed=100 + number)
        else:
            shutil.copyfile(part / f"clip-{number % 8:03d}.mp4", path)
    part.replace(folder)
    return folder


def checkpoint(model: str = "ViT-B-32") -> Path:
    """Seeded random weights of an open_clip model."""
    import logging

    import open_clip
    import torch

    path = CACHE / f"{model}-seed0.pt"
    CACHE.mkdir(parents=True, exist_ok=True)
    # Two benchmarks may want it at the same time, and none may change it while one reads it.
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return path
        logging.disable(logging.WARNING)
        torch.manual_seed(0)
        weights = open_clip.create_model(model, load_weights=False).state_dict()
        part = path.with_suffix(".part")
        torch.save({"state_dict": weights}, part)
        part.replace(path)
        logging.disable(logging.NOTSET)
    return path
