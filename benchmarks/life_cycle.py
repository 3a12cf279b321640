"""How long the verbs of the life cycle take, as a user waits for them: whole processes, wall time.

    python benchmarks/life_cycle.py [--runs 3]

Each run works in a new folder: train on simulated data twice, deploy both, promote, roll back.
Promised: train under a minute, deploy under 10 s, rollback under 2 s, on two cores.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

STEPS = (
    ("setup", "setup"),
    ("train", "train nsfw-detector"),
    ("deploy the first", "deploy nsfw-detector"),
    ("train", "train nsfw-detector --seed 1"),
    ("deploy a challenger", "deploy nsfw-detector"),
    ("promote", "deploy nsfw-detector --promote"),
    ("rollback", "rollback nsfw-detector"),
)


def run_guardian(arguments: str, folder: Path) -> float:
    """Run one verb to its end and return its wall time in seconds."""
    started_s = time.perf_counter()
    command = [sys.executable, "-m", "guardian_cli", *arguments.split()]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - started_s


def main() -> None:
    """Run and print medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=3)
    took: dict[str, list[float]] = defaultdict(list)
    for _ in range(parser.parse_args().runs):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            try:
                for label, arguments in STEPS:
                    took[label].append(run_guardian(arguments, folder))
            finally:
                run_guardian("endpoints --stop", folder)
    for label, times in took.items():
        print(f"{label:<22}{statistics.median(times):6.1f} s median, {max(times):.1f} s longest")


if __name__ == "__main__":
    main()
