"""(k) Deciding again: one-minute videos a second from a store, on one core.

    python benchmarks/replay.py [--videos 4096] [--rounds 3] [--json FILE]

A store is drawn: 60 samples a video, each of two views of 512 numbers, scored by CLIP for two
categories and by an endpoint for one; in one video of twenty something is found. Then `guardian
replay --jsonl` decides about all of it with other thresholds, as a process on one core, its start
included. Processor seconds count, as on a core that is left alone. The rival is the goal of 2,000
videos a second.
"""

from __future__ import annotations

import functools
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from benchmarks.measuring import arguments, guardian, in_turns, ratio, save, show

from guardian_cli.detectors.detector_set import DetectorSet
from guardian_cli.media.frames import Coverage, MediaFacts
from guardian_cli.media.sources import Source
from guardian_cli.scanning.observer import ScoredFrame
from guardian_cli.scanning.pipeline import ScanRequest
from guardian_cli.scanning.provenance import Provenance
from guardian_cli.settings import load_settings
from guardian_cli.store.writer import StoreWriter
from guardian_cli.verdict.result import DetectorReport, ScanResult, Timing
from guardian_cli.verdict.timeline import Sample

GOAL = 2000.0
SAMPLES, VIEWS, WIDTH = 60, 2, 512
PICTURE = np.zeros((1, 1, 3), np.uint8)
FOUND_IN = 20
SETTINGS = """
categories:
  nsfw: {review: 0.6, block: 0.9}
  violence: {review: 0.4}
"""


def provenance() -> dict[str, Any]:
    """What a run of CLIP and an endpoint with the default settings says of itself."""
    settings = load_settings(environ={}, folder=Path("/nonexistent"))
    kept = Provenance(ScanRequest(sources=()), settings, DetectorSet()).kept()
    kept["detectors"] = [
        {"name": "clip", "category": None, "model": "drawn", "weights": "0" * 64,
         "categories": ["nsfw", "violence"]},
        {"name": "endpoint", "category": "nsfw", "model": "drawn", "weights": None,
         "categories": ["nsfw"]},
    ]  # fmt: skip
    kept["clip"] = {
        "index": 0, "model": "drawn", "weights": f"sha256:{'0' * 64}", "architecture": "drawn",
        "pretrained": "drawn", "precision": "fp32", "scale": 100.0, "logit_errors": {},
    }  # fmt: skip
    return kept


def draw_store(folder: Path, videos: int) -> None:
    """Write a store as a scan writes it."""
    rng = np.random.default_rng(0)
    writer = StoreWriter(folder)
    writer.begin(provenance())
    coverage = Coverage(60.0, "fast", 1500, SAMPLES, 1.0, reached_end=True, complete=True)
    facts = MediaFacts("video", 1280, 720, 60.0, "h264", 0, 25.0)
    detectors = (
        DetectorReport("clip", None, "drawn", "ok", None, SAMPLES),
        DetectorReport("endpoint", "nsfw", "drawn", "ok", None, SAMPLES, {"version-1": SAMPLES}),
    )
    for number in range(videos):
        name = f"videos/{number:07}.mp4"
        source = Source("file", name, name)
        recorder = writer.observe(source, number)
        vectors = rng.normal(size=(SAMPLES, VIEWS, WIDTH)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
        clip = rng.beta(1, 12, (SAMPLES, 2))
        custom = rng.beta(1, 12, SAMPLES)
        if number % FOUND_IN == 0:
            custom[20:26] = clip[20:26, 0] = 0.93
        for at in range(SAMPLES):
            recorder.on_frame(
                ScoredFrame(
                    PICTURE,
                    Sample(float(at), {}, None, at + 0.04),
                    {
                        0: {"nsfw": float(clip[at, 0]), "violence": float(clip[at, 1])},
                        1: {"nsfw": float(custom[at])},
                    },
                    {0: vectors[at]},
                    {1: "version-1"},
                    is_refined=False,
                )
            )
        recorder.on_result(
            ScanResult(
                name,
                f"{number:064x}",
                "allow",
                (),
                degraded=False,
                media=facts,
                coverage=coverage,
                detectors=detectors,
                categories={},
                timing=Timing(1.0, 1.0, 0.0),
                every_s=1.0,
                made={"fingerprint": "sha256:drawn"},
            )
        )
    writer.close()


def speed(folder: Path, videos: int) -> float:
    """Videos for each processor second of a process on one core, its start included."""
    (folder / "guardian.yaml").write_text(SETTINGS, encoding="utf-8")
    command = guardian("replay", folder / "store", "--jsonl", "--fail-on", "never")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with (folder / "out.jsonl").open("wb") as out:
        subprocess.run(
            command,
            cwd=folder,
            stdout=out,
            check=True,
            preexec_fn=functools.partial(os.sched_setaffinity, 0, {max(os.sched_getaffinity(0))}),
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return videos / (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main() -> None:
    parser = arguments(__doc__ or "", rounds=3)
    parser.add_argument("--videos", type=int, default=4096)
    options = parser.parse_args()
    videos = 64 if options.quick else options.videos
    with tempfile.TemporaryDirectory(prefix="guardian-") as name:
        folder = Path(name)
        begun = time.perf_counter()
        draw_store(folder / "store", videos)
        took_s = time.perf_counter() - begun
        size = sum(path.stat().st_size for path in (folder / "store").iterdir())
        taken = in_turns(
            {"guardian": lambda: speed(folder, videos), "goal": lambda: GOAL},
            1 if options.quick else options.rounds,
        )
    by_goal = ratio(taken, "guardian", "goal")
    numbers = {
        "taken": taken,
        "ratios": {"guardian by goal": by_goal},
        "videos": videos,
        "mb_an_hour": size / videos * 60 / 1e6,
        "store_ms": took_s / videos * 1e3,
    }
    show(
        f"Deciding again about {videos} one-minute videos, on one core",
        [
            ["videos a second", taken["guardian"][-1]],
            ["ratio to the goal", by_goal],
            ["MB an hour of video", numbers["mb_an_hour"]],
            ["ms to store a video", numbers["store_ms"]],
        ],
        ["", ""],
    )
    save(options.json, numbers)


if __name__ == "__main__":
    main()
