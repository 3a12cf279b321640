"""(h) Short clips on Ray actors, beside the plain batch and beside Ray Data with frames as rows.

    python benchmarks/cluster.py [--clips 1000] [--actors 1 2 4] [--rounds 1] [--json FILE]

Every rival scans the same clips with the same model. A cluster has a node for each actor, and the
cores are divided among them. "Usual way" is what Ray's own guides write: one stage decodes, the
frames are rows in the object store, another stage scores them; its decoder samples as plainly as
can be and its model is guardian's. Clips a second are counted between the EDGE-th result and the
EDGE-th from the end: start-up is what a run takes beyond that. Memory is the sum of all processes',
the object store's the most that was in it.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import material
from benchmarks.measuring import (
    REPOSITORY,
    Usage,
    arguments,
    guardian,
    in_turns,
    ratio,
    save,
    show,
    watch,
)

from guardian_cli.settings import calm_ray, calm_threads

EVERY_S = 1.0
SHORT_SIDE_PX = 336
STORE_BYTES = 2 << 30
EDGE = 20
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}


def main() -> None:
    parser = arguments(__doc__ or "", rounds=1)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--actors", type=int, nargs="+", default=[1, 2, 4])
    wanted = parser.parse_args()
    count, model, size = wanted.clips, "ViT-B-32", (640, 360)
    if wanted.quick:
        count, model, size, wanted.actors = 4, "ViT-S-32-alt", (160, 90), [1]
    folder = material.short_clips(count, size=size)
    weights = str(material.checkpoint(model))
    runs: dict[str, list[Usage]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as home:
        options = ["--jsonl", "--offline", "--fail-on", "never", "--model", model]
        plain = [*options, "--pretrained", weights]
        cores, me = str(os.cpu_count() or 1), (sys.executable, __file__, "--inside")
        # What comes before a rival's target, and after it.
        rivals: dict[str, tuple[list[str], list[str]]] = {"plain batch": (guardian("scan"), plain)}
        for actors in wanted.actors:
            rivals[f"ray, {actors} actors"] = ([*me, "guardian", str(actors)], plain)
        rivals["usual way"] = ([*me, "rows", cores], [model, weights])

        # Unbuffered: when a result comes is what counts here.
        environ = {"HOME": home, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}

        def run(name: str, target: Path) -> float:
            before, after = rivals[name]
            usage = watch([*before, str(target), *after], environ)
            if usage.code:
                raise SystemExit(f"{name} ended with {usage.code}")
            runs[name].append(usage)
            return float(own(usage).get("seconds", usage.wall_s))

        run("plain batch", min(folder.iterdir()))  # text features are cached from now on
        runs.clear()
        taken = in_turns(
            {name: functools.partial(run, name, folder) for name in rivals}, wanted.rounds
        )
    report(count, taken, runs, wanted.json)


def own(usage: Usage) -> dict[str, Any]:
    """What a rival says of itself, in its last line."""
    line = json.loads(usage.stdout.splitlines()[-1])
    return line if "seconds" in line else {}


def clips_per_s(usage: Usage, count: int) -> float:
    """How many results came in a second, without the first and the last ones."""
    edge = min(EDGE, count // 4)
    times = usage.line_s[:count]
    return (count - 1 - 2 * edge) / max(times[-1 - edge] - times[edge], 1e-9)


def report(
    count: int, taken: dict[str, list[float]], runs: dict[str, list[Usage]], file: Path | None
) -> None:
    rows, numbers = [], {}
    speeds = {name: [clips_per_s(one, count) for one in usages] for name, usages in runs.items()}
    for name, usages in runs.items():
        speed, whole_s = statistics.median(speeds[name]), statistics.median(taken[name])
        store_mb = max(own(one).get("object_store_bytes", 0) for one in usages) / 1e6
        numbers[name] = {
            "start_s": whole_s - count / speed, "whole_s": whole_s, "clips_per_s": speed,
            "peak_mb": max(one.peak_mb for one in usages), "object_store_mb": store_mb,
        }  # fmt: skip
        rows.append([name, *numbers[name].values()])
    heads = ["", "start-up, s", "all, s", "clips/s", "memory, MB", "object store, MB"]
    show(f"{count} clips", rows, heads)
    by_plain = {name: ratio(speeds, "plain batch", name) for name in runs}
    show("time a clip, by the plain batch's", [[k, v] for k, v in by_plain.items()], ["", "ratio"])
    save(file, {"clips": count, "seconds": taken, "rivals": numbers, "ratios": by_plain})


def inside(kind: str, actors: int, rest: list[str]) -> None:
    """One rival on a cluster of its own; prints its seconds and what the object store held."""
    warnings.simplefilter("ignore")
    calm_ray()
    calm_threads()
    import ray
    from ray.cluster_utils import Cluster

    cores = max(1, (os.cpu_count() or 1) // actors)
    node: dict[str, Any] = {"num_cpus": cores, "object_store_memory": STORE_BYTES // actors}
    if kind == "rows":
        node = {"num_cpus": actors, "object_store_memory": STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    for _ in range(actors - 1 if kind == "guardian" else 0):
        cluster.add_node(**node)
    ray.init(address=cluster.address, **QUIET)
    ended, most = threading.Event(), [0.0]
    watcher = threading.Thread(target=look_at_store, args=(ended, most), daemon=True)
    watcher.start()
    begun = time.perf_counter()
    if kind == "guardian":
        subprocess.run(
            guardian("scan", *rest, "--cluster", "ray"),
            env={**os.environ, "RAY_ADDRESS": cluster.address},
            check=True,
        )
    else:
        frames_as_rows(*rest)
    seconds = time.perf_counter() - begun
    ended.set()
    watcher.join()
    ray.shutdown()
    cluster.shutdown()
    print(json.dumps({"seconds": seconds, "object_store_bytes": most[0]}))


def look_at_store(ended: threading.Event, most: list[float]) -> None:
    """Note the most bytes that the object stores of all nodes held."""
    import ray

    whole = ray.cluster_resources().get("object_store_memory", 0.0)
    while not ended.wait(0.2):
        free = ray.available_resources().get("object_store_memory", whole)
        most[0] = max(most[0], whole - free)


def frames_as_rows(target: str, model: str, weights: str) -> None:
    """Decode in one stage, score in another; the frames lie in the object store between them."""
    import ray

    paths = sorted(map(str, Path(target).iterdir())) if Path(target).is_dir() else [target]

    def decode(row: dict[str, Any]) -> list[dict[str, Any]]:
        import av
        import cv2

        rows, due_s = [], 0.0
        with av.open(row["item"]) as container:
            for frame in container.decode(video=0):
                if (frame.time or 0.0) >= due_s:
                    due_s += EVERY_S
                    image = frame.to_ndarray(format="bgr24")
                    by = SHORT_SIDE_PX / min(image.shape[:2])
                    if by < 1:
                        image = cv2.resize(image, None, fx=by, fy=by, interpolation=cv2.INTER_AREA)
                    rows.append({"path": row["item"], "time_s": frame.time, "image": image})
        return rows

    class Score:
        def __init__(self) -> None:
            from guardian_cli.detectors.clip import load_clip
            from guardian_cli.prompts import DEFAULT_PROMPTS

            self._clip = load_clip(model, weights, DEFAULT_PROMPTS, offline=True)

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            scores = self._clip.score(list(batch["image"])).scores
            return {
                "path": batch["path"],
                "time_s": batch["time_s"],
                "nsfw": [one["nsfw"] for one in scores],
            }

    ray.data.DataContext.get_current().enable_progress_bars = False
    pool = ray.data.ActorPoolStrategy(size=1)
    data = ray.data.from_items(paths, override_num_blocks=min(len(paths), 64)).flat_map(decode)
    scored = data.map_batches(Score, batch_size=16, num_cpus=1, compute=pool)
    videos: dict[str, float] = {}
    for row in scored.iter_rows():
        if row["path"] not in videos:
            print(row["path"])
        videos[row["path"]] = max(row["nsfw"], videos.get(row["path"], 0.0))
    assert len(videos) == len(paths)


if __name__ == "__main__":
    if "--inside" in sys.argv:
        parser = argparse.ArgumentParser()
        parser.add_argument("--inside", nargs=argparse.REMAINDER)
        kind, actors, *rest = parser.parse_args().inside
        inside(kind, int(actors), rest)
    else:
        main()
