"""What the local endpoint costs: its overhead over the bare model, and how long changes take.

    python benchmarks/local_endpoint.py [--requests 500]

The rival in the same run is the model itself, called in a process with the same thread settings.
"""

from __future__ import annotations

import argparse
import base64
import functools
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from guardian_cli.lifecycle.local.platform import LocalPlatform
from guardian_cli.lifecycle.local.server import WORKERS
from guardian_cli.lifecycle.platform import DeploymentSpec, WorkspaceOptions
from guardian_cli.serving.model import load_model
from guardian_cli.serving.packaging import write_mlflow_model
from tests.lifecycle.local.endpoints import Caller
from tests.serving.models import CARD, draw_jpeg, save_constant_model

if TYPE_CHECKING:
    from collections.abc import Callable

ENDPOINT = "bench-endpoint"


def timed(what: str, call: Callable[[], object]) -> None:
    begun = time.perf_counter()
    call()
    print(f"{what:<42}{time.perf_counter() - begun:8.3f} s")


def medians_ms(calls: list[Callable[[], object]], count: int) -> list[float]:
    """The median of each call, taken in turns, so that a busy machine is as bad for all."""
    spent: list[list[float]] = [[] for _ in calls]
    for turn in range(count + 20):
        for call, times in zip(calls, spent, strict=True):
            begun = time.perf_counter()
            call()
            if turn >= 20:
                times.append((time.perf_counter() - begun) * 1000)
    return [statistics.median(times) for times in spent]


def compare(project: Path, frames: list[bytes], count: int) -> None:
    rows = [[base64.b64encode(frame).decode()] for frame in frames]
    table = {"columns": ["image"], "index": list(range(len(rows))), "data": rows}
    body = json.dumps({"input_data": table}).encode()
    scorer = load_model(project / "artifact")
    caller = Caller(project / ".guardian" / "endpoints" / ENDPOINT)
    assert caller.post(body)[0] == 200
    direct_ms, served_ms = medians_ms(
        [lambda: scorer.score(frames), lambda: caller.post(body)], count
    )
    caller.close()
    print(
        f"{len(frames):3d} frames, {len(body) / 1024:7.1f} KB: model {direct_ms:7.2f} ms, "
        f"endpoint {served_ms:7.2f} ms, overhead {served_ms - direct_ms:6.2f} ms (median)"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=500)
    requests = parser.parse_args().requests
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // WORKERS))
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch)
        platform = LocalPlatform(project)
        timed("make the workspace", lambda: platform.create_workspace(WorkspaceOptions()))
        save_constant_model(project / "artifact", 0.0, CARD)
        write_mlflow_model(project / "artifact", project / "mlflow")
        for _ in range(2):
            platform.registry.register("bench", project / "mlflow", {})
        run_changes(platform)
        for count, size in ((1, (64, 36)), (1, (597, 336)), (16, (597, 336))):
            compare(project, [draw_jpeg(128, size)] * count, requests)
        platform.stop(ENDPOINT)


def run_changes(platform: LocalPlatform) -> None:
    timed("make the endpoint, start its server", lambda: platform.create_endpoint(ENDPOINT, {}))
    for number in ("1", "2"):
        spec = DeploymentSpec(f"version-{number}", "bench", number, "local", 1)
        deploy = functools.partial(platform.create_deployment, ENDPOINT, spec, timeout_s=120)
        timed(f"deploy version {number}", deploy)
    shares = {"version-1": 90, "version-2": 10}
    timed("change traffic", lambda: platform.update_endpoint(ENDPOINT, traffic=shares))
    timed("probe", lambda: platform.probe(ENDPOINT, "version-1"))
    whole = {"version-1": 100}
    timed("roll back", lambda: platform.update_endpoint(ENDPOINT, traffic=whole))


if __name__ == "__main__":
    main()
