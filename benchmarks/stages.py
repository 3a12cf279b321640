"""One stage of a scan alone, for the other benchmarks: prints {"wall_s": ...} without its start-up.

python benchmarks/stages.py decoding VIDEO...      as guardian decodes, nothing scored
python benchmarks/stages.py model VIDEO...         CLIP on as many frames, all there already
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import TYPE_CHECKING

from guardian_cli.detectors.clip import load_clip
from guardian_cli.detectors.prompts import DEFAULT_PROMPTS
from guardian_cli.media.decoder import Decoder
from guardian_cli.media.frames import DecodeSettings
from guardian_cli.settings import calm_threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def decode(videos: list[str], side_px: int) -> tuple[float, list[NDArray[np.uint8]]]:
    cores = len(os.sched_getaffinity(0))
    settings = DecodeSettings(short_side_px=side_px, threads=cores if len(videos) == 1 else 1)
    pictures = []
    with Decoder() as decoder:
        decoder.worker()
        begun = time.perf_counter()
        for video in videos:
            pictures += [frame.image for frame in decoder.open(video, settings).frames()]
        return time.perf_counter() - begun, pictures


def score(pictures: list[NDArray[np.uint8]], model: str, checkpoint: str) -> float:
    clip = load_clip(model, checkpoint, DEFAULT_PROMPTS, offline=True)
    clip.score(pictures[:2])
    begun = time.perf_counter()
    for at in range(0, len(pictures), clip.batch_size):
        clip.score(pictures[at : at + clip.batch_size])
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("stage", choices=["decoding", "model"])
    parser.add_argument("videos", nargs="+")
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--checkpoint")
    wanted = parser.parse_args()
    calm_threads()
    wall_s, pictures = decode(wanted.videos, 224)
    if wanted.stage == "model":
        wall_s = score(pictures, wanted.model, wanted.checkpoint)
    print(json.dumps({"wall_s": wall_s, "frames": len(pictures)}))


if __name__ == "__main__":
    main()
