"""(c) One clip of two seconds from a cold start, against loading alone as open_clip's README does.

    python benchmarks/scan_cold.py [--rounds 5] [--json FILE]

The rival imports torch and open_clip and calls `create_model_and_transforms` with the checkpoint,
nothing more; guardian also decodes, scores and prints a verdict.
"""

from __future__ import annotations

import functools
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import material
from benchmarks.measuring import Usage, arguments, guardian, in_turns, ratio, save, show, watch

LOOP = Path(__file__).resolve().parent / "readme_loop.py"


def main() -> None:
    wanted = arguments(__doc__ or "").parse_args()
    model, size = "ViT-B-32", (1280, 720)
    if wanted.quick:
        model, size, wanted.rounds = "ViT-S-32-alt", (160, 90), 1
    clip, weights = material.short_clips(8, size=size) / "clip-000.mp4", material.checkpoint(model)
    last: dict[str, Usage] = {}
    with tempfile.TemporaryDirectory() as home:
        options = ["--json", "--offline", "--fail-on", "never", "--model", model]
        commands = {
            "loading alone": [
                *(sys.executable, str(LOOP), str(weights), str(clip)),
                *("--model", model, "--load-only"),
            ],
            "guardian scan": [*guardian("scan", clip, *options), "--pretrained", str(weights)],
            "guardian --version": guardian("--version"),
        }

        def run(name: str) -> float:
            last[name] = watch(commands[name], {"HOME": home})
            if last[name].code:
                raise SystemExit(f"{name} ended with {last[name].code}")
            return last[name].wall_s

        run("guardian scan")  # encodes the prompts, which are then remembered
        rivals = {name: functools.partial(run, name) for name in commands}
        taken = in_turns(rivals, wanted.rounds)
    rows = [
        [name, statistics.median(times), sum(last[name].cpu_s.values()), round(last[name].peak_mb)]
        for name, times in taken.items()
    ]
    show("a clip of two seconds", rows, ["", "median s", "processor s", "peak MB"])
    ratios = {"guardian scan / loading alone": ratio(taken, "guardian scan", "loading alone")}
    show("ratio, median over rounds", [[k, v] for k, v in ratios.items()], ["", "ratio"])
    save(wanted.json, {"seconds": taken, "ratios": ratios})


if __name__ == "__main__":
    main()
