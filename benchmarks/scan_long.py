"""(a) One long 1080p video from a cold start: guardian against the loop of open_clip's README.

    python benchmarks/scan_long.py [--seconds 120] [--rounds 5] [--json FILE]

In the same rounds: guardian's decoding alone, the model alone on as many views, and guardian's
start-up (a scan of one picture). Says how busy each stage was and what the model leaves as a bound.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import material
from benchmarks.measuring import (
    Usage,
    arguments,
    busy_cores,
    busy_line,
    guardian,
    in_turns,
    ratio,
    save,
    show,
    watch,
)

HERE = Path(__file__).resolve().parent


class LongScan:
    """The rivals on one video; each call returns its wall seconds."""

    def __init__(self, video: Path, checkpoint: Path, model: str, home: Path) -> None:
        self.video, self.checkpoint, self.model = video, checkpoint, model
        self.environ = {"HOME": str(home)}
        self.picture = home / "one.jpg"
        material.write_picture(self.picture)
        self.usage: dict[str, list[Usage]] = {}
        self.scan = [
            *guardian("scan", video, "--json", "--offline", "--model", model),
            *("--pretrained", str(checkpoint), "--fail-on", "never"),
        ]

    def watched(self, name: str, command: list[str]) -> float:
        usage = watch(command, self.environ)
        if usage.code:
            raise SystemExit(f"{name} ended with {usage.code}")
        self.usage.setdefault(name, []).append(usage)
        return usage.wall_s

    def readme_loop(self) -> float:
        script = str(HERE / "readme_loop.py")
        command = [sys.executable, script, str(self.checkpoint), str(self.video)]
        return self.watched("README loop", [*command, "--model", self.model])

    def guardian(self) -> float:
        return self.watched("guardian", self.scan)

    def start_up(self) -> float:
        command = [str(self.picture) if part == str(self.video) else part for part in self.scan]
        return self.watched("start-up", command)

    def alone(self, what: str) -> float:
        script = str(HERE / "stages.py")
        options = ["--checkpoint", str(self.checkpoint), "--model", self.model]
        command = [sys.executable, script, what, str(self.video), *options]
        self.watched(what, command)
        return float(json.loads(self.usage[what][-1].stdout)["wall_s"])


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--seconds", type=int, default=120)
    wanted = parser.parse_args()
    size, seconds, model = (1920, 1080), wanted.seconds, "ViT-B-32"
    if wanted.quick:
        size, seconds, model, wanted.rounds = (320, 180), 4, "ViT-S-32-alt", 1
    video = material.long_video(seconds, size)
    with tempfile.TemporaryDirectory() as home:
        scan = LongScan(video, material.checkpoint(model), model, Path(home))
        scan.start_up()  # encodes the prompts, which are then remembered, as after any first scan
        taken = in_turns(
            {
                "README loop": scan.readme_loop,
                "guardian": scan.guardian,
                "start-up": scan.start_up,
                "decoding": lambda: scan.alone("decoding"),
                "model": lambda: scan.alone("model"),
            },
            wanted.rounds,
        )
    report(scan, taken, wanted.json)


def report(scan: LongScan, taken: dict[str, list[float]], file: Path | None) -> None:
    medians = {name: statistics.median(times) for name, times in taken.items()}
    slower = [max(pair) for pair in zip(taken["decoding"], taken["model"], strict=True)]
    bound = [one + two for one, two in zip(slower, taken["start-up"], strict=True)]
    taken = {**taken, "bound": bound}
    rows = []
    for name, seconds in medians.items():
        usage = scan.usage[name][-1]
        by_stage = ", ".join(f"{stage} {cpu:.1f}" for stage, cpu in usage.cpu_s.items())
        rows.append([name, seconds, by_stage, round(usage.peak_mb)])
    show(f"one video, {scan.video.name}", rows, ["", "median s", "processor s", "peak MB"])
    last = scan.usage["guardian"][-1]
    print(busy_line(last))
    ratios = {
        "README loop / guardian": ratio(taken, "README loop", "guardian"),
        "guardian / (max(decoding, model) + start-up)": ratio(taken, "guardian", "bound"),
    }
    show("ratios, medians over rounds", [[k, v] for k, v in ratios.items()], ["", "ratio"])
    busy = busy_cores(last)
    save(file, {"seconds": taken, "medians": medians, "busy_cores": busy, "ratios": ratios})


if __name__ == "__main__":
    main()
