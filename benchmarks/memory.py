"""(f) Peak memory over the length of a 1080p video: guardian, all its processes together.

    python benchmarks/memory.py [--minutes 2 5 10 20] [--json FILE]

Resident memory, which counts mapped files (libraries, the checkpoint) for as long as they are in
use; the rival is the README's loop on the shortest video.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import material
from benchmarks.measuring import arguments, guardian, save, show, watch

LOOP = Path(__file__).resolve().parent / "readme_loop.py"


def main() -> None:
    parser = arguments(__doc__ or "", rounds=1)
    parser.add_argument("--minutes", type=int, nargs="+", default=[2, 5, 10, 20])
    parser.add_argument("--every", default="1.0")
    wanted = parser.parse_args()
    model, size, lengths_s = "ViT-B-32", (1920, 1080), [60 * one for one in wanted.minutes]
    if wanted.quick:
        model, size, lengths_s = "ViT-S-32-alt", (160, 90), [4, 8]
    weights = str(material.checkpoint(model))
    peaks: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as home:
        options = ["--json", "--offline", "--fail-on", "never", "--model", model]
        options += ["--pretrained", weights, "--every", wanted.every]
        first = str(material.long_video(lengths_s[0], size, piece=min(20, lengths_s[0])))
        watch(guardian("scan", first, *options), {"HOME": home})
        loop = [sys.executable, str(LOOP), weights, first, "--model", model]
        peaks[f"README loop, {lengths_s[0]} s"] = watch(loop).peak_mb
        for seconds in lengths_s:
            video = material.long_video(seconds, size, piece=min(20, seconds))
            usage = watch(guardian("scan", video, *options), {"HOME": home})
            if usage.code:
                raise SystemExit(f"guardian ended with {usage.code}")
            peaks[f"guardian, {seconds} s"] = usage.peak_mb
            print(f"  {seconds} s: {usage.peak_mb:.0f} MB in {usage.wall_s:.0f} s", file=sys.stderr)
    show("memory over length", [[k, round(v)] for k, v in peaks.items()], ["", "peak MB"])
    short, long = (peaks[f"guardian, {lengths_s[at]} s"] for at in (0, -1))
    ratios = {"longest / shortest": long / short}
    show("ratio", [[k, v] for k, v in ratios.items()], ["", "ratio"])
    save(wanted.json, {"peak_mb": peaks, "ratios": ratios})


if __name__ == "__main__":
    main()
