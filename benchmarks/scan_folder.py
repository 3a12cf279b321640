"""(b) A folder of short clips: guardian against the README's loop with the model loaded once.

    python benchmarks/scan_folder.py [--clips 200] [--rounds 5] [--json FILE]

guardian scores more of each clip than the loop does: its last frame too, and two views of a 16:9
frame instead of its centre. The table shows views a second beside the seconds.
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

LOOP = Path(__file__).resolve().parent / "readme_loop.py"
VIEWS = 2


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--clips", type=int, default=200)
    wanted = parser.parse_args()
    count, model, size = wanted.clips, "ViT-B-32", (640, 360)
    if wanted.quick:
        count, model, size, wanted.rounds = 4, "ViT-S-32-alt", (160, 90), 1
    folder = material.short_clips(count, size=size)
    weights = str(material.checkpoint(model))
    clips = sorted(map(str, folder.iterdir()))
    last: dict[str, Usage] = {}
    with tempfile.TemporaryDirectory() as home:
        options = ["--json", "--offline", "--fail-on", "never", "--model", model]
        scan = guardian("scan", folder, *options, "--pretrained", weights)
        loop = [sys.executable, str(LOOP), weights, *clips, "--model", model]

        def run(name: str, command: list[str]) -> float:
            last[name] = watch(command, {"HOME": home})
            if last[name].code:
                raise SystemExit(f"{name} ended with {last[name].code}")
            return last[name].wall_s

        run("first", [*guardian("scan", clips[0], *options), "--pretrained", weights])
        taken = in_turns(
            {
                "README loop": lambda: run("README loop", loop),
                "guardian": lambda: run("guardian", scan),
            },
            wanted.rounds,
        )
    report(last, taken, wanted.json)


def report(last: dict[str, Usage], taken: dict[str, list[float]], file: Path | None) -> None:
    medians = {name: statistics.median(times) for name, times in taken.items()}
    scans = json.loads(last["guardian"].stdout)["scans"]
    scored = {
        "README loop": json.loads(last["README loop"].stdout)["scored"],
        "guardian": VIEWS * sum(scan["coverage"]["frames_scored"] for scan in scans),
    }
    rows = [
        [name, seconds, scored[name], scored[name] / seconds, sum(last[name].cpu_s.values())]
        for name, seconds in medians.items()
    ]
    heads = ["", "median s", "views", "views/s", "processor s"]
    show(f"{len(scans)} clips", rows, heads)
    print(busy_line(last["guardian"]))
    by_time = ratio(taken, "README loop", "guardian")
    more = scored["guardian"] / scored["README loop"]
    ratios = {"README loop / guardian": by_time, "the same a view": by_time * more}
    show("ratios, medians over rounds", [[k, v] for k, v in ratios.items()], ["", "ratio"])
    busy = busy_cores(last["guardian"])
    save(file, {"seconds": taken, "views": scored, "busy_cores": busy, "ratios": ratios})


if __name__ == "__main__":
    main()
