"""How long `guardian train` takes on simulated data, each model in a fresh project.

    python benchmarks/train_simulated.py

The limit is a minute on two cores; processor seconds tell a busy machine from a slow program.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time

LIMIT_S = 60.0
MODELS = ("nsfw-detector", "violence-detector")


def measure(model: str) -> dict[str, float]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as project:
        done = subprocess.run(
            [sys.executable, "-m", "guardian_cli", "train", model, "--json", "--quiet"],
            cwd=project,
            stdout=subprocess.PIPE,
            check=True,
        )
    wall_s = time.perf_counter() - started_s
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    auc = json.loads(done.stdout)["metrics"]["auc"]
    return {"wall_s": wall_s, "processor_s": used_s, "auc": auc}


def main() -> int:
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    slow = False
    for model in MODELS:
        found = measure(model)
        slow |= found["wall_s"] > LIMIT_S
        print(
            f"{model:18} {found['wall_s']:6.1f} s   {found['processor_s']:6.1f} processor seconds"
            f"   AUC {found['auc']:.3f}"
        )
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
