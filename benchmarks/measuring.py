"""How the benchmarks measure: rivals in turns, medians, ratios, busy stages, a table and JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

REPOSITORY = Path(__file__).resolve().parent.parent
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
DECODING, MAIN = "decoding", "main process"
_DECODER = "guardian_cli.media.worker.main"


@dataclass(slots=True)
class Usage:
    """What a process and its children took: seconds, processor seconds by stage, peak memory.

    `line_s` is when each line of `stdout` came, in seconds from the start.
    """

    wall_s: float = 0.0
    cpu_s: dict[str, float] = field(default_factory=dict)
    peak_mb: float = 0.0
    stdout: str = ""
    line_s: list[float] = field(default_factory=list)
    code: int = 0


def watch(command: Sequence[str], environ: Mapping[str, str] | None = None) -> Usage:
    """Run a command to its end and look at it ten times a second; stages are its processes."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **(environ or {})},
    )
    usage, ended = Usage(), threading.Event()
    watcher = threading.Thread(target=_look, args=(process.pid, usage, ended))
    watcher.start()
    with process:
        for line in process.stdout or ():
            usage.stdout += line
            usage.line_s.append(time.perf_counter() - begun)
    usage.wall_s = time.perf_counter() - begun
    usage.code = process.returncode
    ended.set()
    watcher.join()
    return usage


def _look(pid: int, usage: Usage, ended: threading.Event) -> None:
    spent: dict[int, tuple[str, float]] = {}
    while not ended.wait(0.1):
        total_mb = 0.0
        for one in (pid, *_children(pid)):
            found = _stat(one)
            if found is not None:
                before = spent[one][0] if one in spent else MAIN
                spent[one] = (stage_of(found[0], before), found[1])
                total_mb += found[2]
        usage.peak_mb = max(usage.peak_mb, total_mb)
    by_stage: dict[str, float] = defaultdict(float)
    for stage, seconds in spent.values():
        by_stage[stage] += seconds
    usage.cpu_s = dict(by_stage)


def stage_of(command: str, before: str) -> str:
    """The stage a process belongs to; one that has ended has no command line, and stays there.

    The last command line counts, not the first: until its exec a child has its parent's.
    """
    if not command:
        return before
    return DECODING if _DECODER in command else MAIN


def busy_cores(usage: Usage) -> dict[str, float]:
    """How many cores each stage kept busy over the whole run."""
    return {stage: cpu_s / usage.wall_s for stage, cpu_s in sorted(usage.cpu_s.items())}


def busy_line(usage: Usage) -> str:
    """The same in words, with the sum out of all cores."""
    busy = busy_cores(usage)
    names = {MAIN: "model and main process"}
    stages = ", ".join(f"{names.get(stage, stage)} {cores:.2f}" for stage, cores in busy.items())
    have = len(os.sched_getaffinity(0))
    return f"cores busy in guardian's scan: {stages}; {sum(busy.values()):.2f} of {have}"


def _children(pid: int) -> list[int]:
    try:
        lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []
    direct = [int(child) for text in lists for child in text.split()]
    return [one for child in direct for one in (child, *_children(child))]


def _stat(pid: int) -> tuple[str, float, float] | None:
    """Command line, processor seconds and resident megabytes of a process; None: it is gone."""
    folder = Path(f"/proc/{pid}")
    try:
        command = folder.joinpath("cmdline").read_bytes().decode("utf-8", "replace")
        fields = folder.joinpath("stat").read_text().rpartition(")")[2].split()
        pages = folder.joinpath("statm").read_text().split()
    except (OSError, ValueError):
        return None
    return command, (int(fields[11]) + int(fields[12])) * TICK_S, int(pages[1]) * PAGE / 1e6


def in_turns(rivals: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Call every rival once a round, so that a busy machine is as bad for all."""
    taken: dict[str, list[float]] = {name: [] for name in rivals}
    for number in range(rounds):
        for name, call in rivals.items():
            taken[name].append(call())
            print(f"  round {number + 1}: {name} {taken[name][-1]:.2f}", file=sys.stderr)
    return taken


def ratio(taken: Mapping[str, Sequence[float]], above: str, below: str) -> float:
    """The median over rounds of one rival's number by another's."""
    pairs = zip(taken[above], taken[below], strict=True)
    return statistics.median(first / second for first, second in pairs)


def guardian(*arguments: str | Path) -> list[str]:
    """The command line of guardian as this interpreter has it."""
    return [sys.executable, "-m", "guardian_cli", *map(str, arguments)]


def arguments(about: str, rounds: int = 5) -> argparse.ArgumentParser:
    """What every benchmark takes."""
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--quick", action="store_true", help="a tiny size, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there too")
    return parser


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    import torch

    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    lines = info.splitlines()
    name = next((line for line in lines if line.startswith("model name")), ":").partition(":")[2]
    flags = set(next((line for line in lines if line.startswith("flags")), "").split())
    known = ("avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8")
    return {
        "processor": name.strip() or platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "has": [flag for flag in known if flag in flags],
        "torch": torch.__version__,
        "load_1min": os.getloadavg()[0],
    }


def show(title: str, rows: Sequence[Sequence[object]], heads: Sequence[str]) -> None:
    """Print a table."""
    cells = [list(heads), *[[_text(cell) for cell in row] for row in rows]]
    widths = [max(len(row[at]) for row in cells) for at in range(len(heads))]
    print(f"\n{title}")
    for row in cells:
        pairs = list(zip(row, widths, strict=True))
        first = f"{pairs[0][0]:<{pairs[0][1]}}"
        print("  ".join([first, *(f"{cell:>{width}}" for cell, width in pairs[1:])]).rstrip())


def _text(cell: object) -> str:
    return f"{cell:.2f}" if isinstance(cell, float) else str(cell)


def save(path: Path | None, numbers: Mapping[str, Any]) -> None:
    """Write the JSON, with the machine in it."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {"machine": machine(), **numbers}
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
