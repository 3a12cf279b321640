"""guardian.scan/1: a result as JSON. Scores and times are kept to a millionth."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from guardian_cli import __version__
from guardian_cli.verdict.closeness import rounded
from guardian_cli.verdict.policy import DetectorReport, worst
from guardian_cli.verdict.timeline import Sample, merge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from guardian_cli.media.frames import DecodeTally, MediaFacts
    from guardian_cli.verdict.category import CategoryVerdict, Limits
    from guardian_cli.verdict.result import ScanResult

SCHEMA = "guardian.scan/1"
_DIGITS = 6
Json = dict[str, Any]


def to_dict(result: ScanResult) -> Json:
    """Return the element of `scans` for one result; `frames` is there where samples were kept."""
    element: Json = {
        "source": _encodable(result.source),
        **({"source_id": result.source_id} if result.source_id is not None else {}),
        "sha256": result.sha256,
        "verdict": result.verdict,
        "reasons": [_encodable(reason) for reason in result.reasons],
        "degraded": result.degraded,
        "media": _media(result.media) if result.media else None,
        "coverage": _coverage(result.coverage) if result.coverage else None,
        "detectors": [_detector(one) for one in result.detectors],
        "categories": {name: _category(one) for name, one in result.categories.items()},
    }
    if result.samples is not None:
        limits = {name: one.limits for name, one in result.categories.items()}
        element["frames"] = [_frame(sample, limits) for sample in merge(result.samples, ())]
    if result.made is not None:
        element["made"] = dict(result.made)
    timing = result.timing
    element["timing"] = {
        "wall_s": _number(timing.wall_s),
        "decode_s": _number(timing.decode_s),
        "score_s": _number(timing.score_s),
    }
    error = result.error
    element["error"] = (
        {"kind": error.kind, "message": _encodable(error.message)} if error is not None else None
    )
    return element


def to_line(result: ScanResult) -> Json:
    """Return what a line of `--jsonl` holds: the element with `schema` in front."""
    return {"schema": SCHEMA, **to_dict(result)}


def document(
    scans: Iterable[Mapping[str, Any]],
    *,
    version: str = __version__,
    skipped: Mapping[str, int] | None = None,
    interrupted: bool = False,
) -> Json:
    """Return the whole document; `scans` are elements or lines, in the order to show.

    `skipped` counts, by reason, what folders hold and was not scanned.
    """
    elements = [{k: v for k, v in scan.items() if k != "schema"} for scan in scans]
    verdict = worst(element["verdict"] for element in elements)
    return {
        "schema": SCHEMA,
        "guardian": version,
        "verdict": verdict,
        "scans": elements,
        "skipped": dict(skipped or {}),
        "interrupted": interrupted,
    }


def dumps(value: Mapping[str, Any], *, indent: int | None = None) -> str:
    """Return JSON in ASCII, readable in whatever encoding a terminal or a pipe has; never NaN."""
    return json.dumps(value, indent=indent, allow_nan=False)


def _media(media: MediaFacts) -> Json:
    return {
        "kind": media.kind,
        "width": media.width,
        "height": media.height,
        "duration_s": _number(media.duration_s),
        "codec": media.codec,
        "rotation": media.rotation,
    }


def _coverage(tally: DecodeTally) -> Json:
    return {
        "duration_s": _number(tally.duration_s),
        "decode": tally.decode,
        "frames_decoded": tally.frames_decoded,
        "frames_scored": tally.frames_scored,
        "largest_gap_s": _number(tally.largest_gap_s),
        "reached_end": tally.reached_end,
        "decode_errors": tally.decode_errors,
        "complete": tally.complete,
        "timed_out": tally.timed_out,
    }


def _detector(one: DetectorReport) -> Json:
    return {
        "name": one.name,
        "category": one.category,
        "model": one.model,
        "status": one.status,
        "reason": None if one.reason is None else _encodable(one.reason),
        "frames": one.frames,
        "deployments": dict(one.deployments),
    }


def _category(one: CategoryVerdict) -> Json:
    return {
        "score": _score(one.score, one.limits),
        "verdict": one.verdict,
        "segments": [
            {
                "start_s": _number(segment.start_s),
                "end_s": _number(segment.end_s),
                "peak": _score(segment.peak, one.limits),
                "peak_s": _number(segment.peak_s),
            }
            for segment in one.segments
        ],
    }


def _frame(sample: Sample, limits: Mapping[str, Limits | None]) -> Json:
    scores = {
        name: {
            "fused": _score(score.fused, limits.get(name)),
            "clip": _number(score.clip),
            "custom": _number(score.custom),
            **{detector: _number(one) for detector, one in score.by_detector.items()},
        }
        for name, score in sample.scores.items()
    }
    frame: Json = {"time_s": _number(sample.time_s), "scores": scores}
    if sample.same_as_s is not None:
        frame["same_as_s"] = _number(sample.same_as_s)
    return frame


def _score(value: float | None, limits: Limits | None) -> float | None:
    return None if value is None else rounded(value, limits, _DIGITS)


def _number(value: float | None) -> float | None:
    """Round; what a broken container claims may be no number at all, and JSON has none for that."""
    return round(value, _DIGITS) if value is not None and math.isfinite(value) else None


def _encodable(text: str) -> str:
    """Make text that any JSON reader takes: a file name's stray bytes become visible escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
