"""Results of scans, drawn at random, as `guardian scan --jsonl` would have them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from guardian_cli.watching.observations import Observations

DAYS = 20


def draw_results(
    count: int, *, seed: int = 0, shift: float = 0.0, newest: float = 0.1, slow: float = 1.0
) -> list[dict[str, Any]]:
    """Results of two categories; `shift` moves the nsfw scores by so many standard deviations.

    `newest` is the share that version-2 scores, `slow` multiplies the latency.
    """
    rng = np.random.default_rng(seed)
    scores = {"nsfw": rng.beta(2, 6, count), "violence": rng.beta(1, 9, count)}
    scores["nsfw"] = np.clip(scores["nsfw"] + shift * scores["nsfw"].std(), 0, 1)
    made = []
    for at in range(count):
        of_one = {name: round(float(values[at]), 6) for name, values in scores.items()}
        worst = max(of_one.values())
        verdict = "block" if worst >= 0.8 else "review" if worst >= 0.5 else "allow"
        failed = rng.random() < 0.01
        endpoint = {
            "name": "endpoint", "category": "nsfw", "model": "m", "status": "ok", "reason": None,
            "frames": 5, "deployments": {"version-2" if rng.random() < newest else "version-1": 5},
            "latency_ms": {"p50": slow * float(rng.lognormal(3, 0.3)), "p95": 90.0},
        }  # fmt: skip
        made.append(
            {
                "schema": "guardian.scan/1",
                "source": f"video-{at}.mp4",
                "sha256": f"{seed:032x}{at:032x}",
                "verdict": "error" if failed else verdict,
                "reasons": [],
                "degraded": bool(rng.random() < 0.02),
                "media": None,
                "coverage": {"complete": bool(rng.random() > 0.03)},
                "detectors": [endpoint],
                "categories": {}
                if failed
                else {name: {"score": value, "verdict": verdict} for name, value in of_one.items()},
                "made": {"when": f"2026-11-{1 + at * DAYS // count:02d}T09:00:00Z"},
                "timing": {},
                "error": {"kind": "broken", "message": "no"} if failed else None,
            }
        )
    return made


def write_results(path: Path, results: Iterable[dict[str, Any]]) -> Path:
    """Write them as lines."""
    path.write_text("".join(json.dumps(one) + "\n" for one in results), encoding="utf-8")
    return path


def collect(results: Iterable[dict[str, Any]]) -> Observations:
    """Collect them as `guardian monitor` does."""
    from guardian_cli.watching.observations import Collector

    collector = Collector()
    for one in results:
        collector.add(one)
    return collector.observations()
