"""(e) Decoding alone, a frame a second, under the options that OpenCV has, and as guardian does it.

    python benchmarks/decoding_alone.py [--seconds 60] [--rounds 3] [--json FILE]

guardian's figures contain what the others leave out: the index of all packets, the check of the
end, the worker process, shrinking, and handing the frames over.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
from benchmarks import material
from benchmarks.measuring import arguments, in_turns, ratio, save, show

from guardian_cli.media.decoder import Decoder
from guardian_cli.media.frames import DecodeSettings

if TYPE_CHECKING:
    from typing import Literal

OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"


def with_opencv(video: Path, *, read_all: bool, skip: bool = False, threads: int = 0) -> float:
    os.environ[OPTIONS] = "avdiscard;nonref" if skip else ""
    begun = time.perf_counter()
    parameters = [cv2.CAP_PROP_N_THREADS, threads] if threads else []
    capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG, parameters)
    due_s = 0.0
    while True:
        if read_all:
            done, _ = capture.read()
        else:
            done = capture.grab()
        if not done:
            break
        if not read_all and capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 >= due_s:
            capture.retrieve()
            due_s += 1
    capture.release()
    return time.perf_counter() - begun


def with_guardian(video: Path, mode: Literal["fast", "full"], threads: int) -> float:
    with Decoder() as decoder:
        decoder.worker()
        begun = time.perf_counter()
        settings = DecodeSettings(mode=mode, short_side_px=224, threads=threads)
        for _ in decoder.open(str(video), settings).frames():
            pass
        return time.perf_counter() - begun


def main() -> None:
    parser = arguments(__doc__ or "", rounds=3)
    parser.add_argument("--seconds", type=int, default=60)
    wanted = parser.parse_args()
    size, seconds = (1920, 1080), wanted.seconds
    if wanted.quick:
        size, seconds, wanted.rounds = (320, 180), 4, 1
    video, cores = material.long_video(seconds, size), len(os.sched_getaffinity(0))
    taken = in_turns(
        {
            "read() every frame": lambda: with_opencv(video, read_all=True),
            "grab() all, retrieve() some": lambda: with_opencv(video, read_all=False),
            "the same, one thread": lambda: with_opencv(video, read_all=False, threads=1),
            "grab(), avdiscard nonref": lambda: with_opencv(video, read_all=False, skip=True),
            "guardian, full": lambda: with_guardian(video, "full", cores),
            "guardian, fast": lambda: with_guardian(video, "fast", cores),
            "guardian, fast, one thread": lambda: with_guardian(video, "fast", 1),
        },
        wanted.rounds,
    )
    rows = [
        [name, statistics.median(times), seconds / statistics.median(times)]
        for name, times in taken.items()
    ]
    show(f"{video.name}, {cores} cores", rows, ["", "median s", "times real time"])
    ratios = {
        "read() every frame / guardian, fast": ratio(taken, "read() every frame", "guardian, fast"),
        "guardian, fast / its OpenCV option alone": ratio(
            taken, "guardian, fast", "grab(), avdiscard nonref"
        ),
    }
    show("ratios, medians over rounds", [[k, v] for k, v in ratios.items()], ["", "ratio"])
    save(wanted.json, {"seconds": taken, "ratios": ratios})


if __name__ == "__main__":
    main()
