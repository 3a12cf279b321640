"""Results as guardian.scan/1 has them, for the tests of this room."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SCORED = {"review": 0.5, "block": 0.8}


def element(source: str, scores: Mapping[str, float | None], **more: Any) -> dict[str, Any]:
    """A scanned minute whose categories have these scores; `more` replaces parts."""
    limits = more.pop("thresholds", SCORED)
    categories = {name: category(score, limits) for name, score in scores.items()}
    verdicts = [one["verdict"] for one in categories.values()]
    verdict = next((one for one in ("block", "review") if one in verdicts), "allow")
    return {
        "schema": "guardian.scan/1",
        "source": source,
        "sha256": hashlib.sha256(source.encode()).hexdigest(),
        "verdict": verdict,
        "reasons": [],
        "degraded": False,
        "media": {
            "kind": "video",
            "width": 640,
            "height": 360,
            "duration_s": 60.0,
            "codec": "h264",
            "rotation": 0,
        },
        "coverage": {
            "duration_s": 60.0,
            "decode": "fast",
            "frames_decoded": 1500,
            "frames_scored": 61,
            "largest_gap_s": 1.0,
            "reached_end": True,
            "decode_errors": 0,
            "complete": True,
        },
        "detectors": [],
        "categories": categories,
        "made": {"thresholds": dict.fromkeys(scores, limits), "policy": {"incomplete": "review"}},
        "timing": {"wall_s": 1.0, "decode_s": 0.5, "score_s": 0.5},
        "error": None,
        **more,
    }


def category(score: float | None, limits: Mapping[str, float] = SCORED) -> dict[str, Any]:
    """A category's outcome by its thresholds; no score is for a person to see."""
    verdict = "review" if score is None or score >= limits["review"] else "allow"
    verdict = "block" if score is not None and score >= limits["block"] else verdict
    return {"score": score, "verdict": verdict, "segments": []}


def failed(source: str, kind: str = "missing", message: str = "no such file") -> dict[str, Any]:
    """A source that could not be scanned."""
    error = {"kind": kind, "message": message}
    return element(source, {}, verdict="error", media=None, sha256=None, error=error)


def write_results(path: Path, elements: Iterable[Mapping[str, Any]]) -> Path:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(one) + "\n" for one in elements), encoding="utf-8")
    return path
