"""guardian.scan/1: a result as JSON. Scores and times are kept to a millionth."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from guardian_cli import __version__
from guardian_cli.reports.elements import source_severity, whole_verdict
from guardian_cli.verdict.thresholds import Thresholds, round_score
from guardian_cli.verdict.timeline import Sample, merge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from guardian_cli.reports.formats import BatchReport
    from guardian_cli.verdict.result import CategoryVerdict, ScanResult

SCHEMA = "guardian.scan/1"
DIGITS = 6
Json = dict[str, Any]


def render_json(report: BatchReport) -> str:
    """Return the output format `json`: one document."""
    whole = document(
        report.scans,
        skipped=report.skipped,
        interrupted=report.interrupted,
        missing=report.missing,
        is_empty=not report.sources,
    )
    return dumps(whole, indent=2)


def render_jsonl(report: BatchReport) -> str:
    """Return the output format `jsonl`: a line for each source."""
    return "".join(dumps({"schema": SCHEMA, **scan}) + "\n" for scan in report.scans)


def document(
    scans: Iterable[Mapping[str, Any]],
    *,
    skipped: Mapping[str, int] | None = None,
    interrupted: bool = False,
    missing: Mapping[str, Any] | None = None,
    is_empty: bool = False,
) -> Json:
    """Return the whole document; `scans` are elements or lines, in the order to show.

    `skipped` counts, by reason, what folders hold and was not scanned. What is `missing` from a
    batch that was divided, or was to come when it was `interrupted`, counts as not scanned. For
    `is_empty` see `whole_verdict`.
    """
    elements = [{k: v for k, v in scan.items() if k != "schema"} for scan in scans]
    is_partial = interrupted or bool(missing)
    whole = {
        "schema": SCHEMA,
        "guardian": __version__,
        "verdict": whole_verdict(elements, is_partial=is_partial, is_empty=is_empty),
        "scans": elements,
        "skipped": dict(skipped or {}),
        "interrupted": interrupted,
    }
    return {**whole, "missing": dict(missing)} if missing else whole


def dumps(value: Mapping[str, Any], *, indent: int | None = None) -> str:
    """Return JSON in ASCII, readable in whatever encoding a terminal or a pipe has; never NaN."""
    # A NaN would make JSON that no strict reader takes.
    return json.dumps(value, indent=indent, allow_nan=False)


def rounded(value: float | None) -> float | None:
    """Return a figure as documents hold it: to a millionth, None where there is none."""
    return None if value is None else round(value, DIGITS)


def to_line(result: ScanResult) -> Json:
    """Return what a line of `--jsonl` holds: the element with `schema` in front."""
    return {"schema": SCHEMA, **to_dict(result)}


def to_dict(result: ScanResult) -> Json:
    """Return the element of `scans` for one result; `frames` is there where samples were kept."""
    element = _plain(result, "source")
    # Only a source whose name was masked needs another to be told apart by.
    if result.source_id is not None:
        element["source_id"] = result.source_id
    element |= _plain(result, "sha256 verdict reasons degraded needs_rescan")
    element["media"] = (
        _plain(result.media, "kind width height duration_s codec rotation")
        if result.media is not None
        else None
    )
    element["coverage"] = _plain(
        result.coverage,
        "duration_s decode frames_decoded frames_scored largest_gap_s reached_end decode_errors"
        " complete timed_out discontinuities",
    )
    element["detectors"] = [
        _plain(one, "name category model status reason frames deployments not_sent")
        | ({} if one.latency_ms is None else _plain(one, "latency_ms"))
        for one in result.detectors
    ]
    element["categories"] = {name: _category(one) for name, one in result.categories.items()}
    limits = {name: one.thresholds for name, one in result.categories.items()}
    if result.samples is not None:
        # `merge` sorts them: a refinement's samples come behind those of the first pass.
        element["frames"] = [_frame(sample, limits) for sample in merge(result.samples, ())]
    if result.made is not None:
        # A copy: all results of a run share one.
        made = dict(result.made)
        if "thresholds" in made:
            # Those that applied: a calibrated `review` rises with a video's length.
            made["thresholds"] = made["thresholds"] | {
                name: {"review": one.thresholds.review, "block": one.thresholds.block}
                for name, one in result.categories.items()
                if one.thresholds is not None and name in made["thresholds"]
            }
        element["made"] = made
    element["severity"] = source_severity(element).word
    element["timeline"] = _timeline(result.categories)
    element["timing"] = _plain(result.timing, "wall_s decode_s score_s")
    element["error"] = _plain(result.error, "kind message") if result.error is not None else None
    return element


def _category(one: CategoryVerdict) -> Json:
    segments = [
        {
            **_plain(segment, "start_s end_s"),
            "peak": _score(segment.peak, one.thresholds),
            **_plain(segment, "peak_s"),
        }
        for segment in one.segments
    ]
    return {
        "score": _score(one.score, one.thresholds),
        "verdict": one.verdict,
        "segments": segments,
        **({} if one.level is None else _plain(one, "level pictures")),
    }


def _timeline(categories: Mapping[str, CategoryVerdict]) -> Json | None:
    """The fused scores over time as they are drawn: the highest of each equal stretch."""
    drawn = [one for one in categories.values() if one.timeline]
    if not drawn:
        return None
    scores = {name: list(one.timeline) for name, one in categories.items()}
    return {"step_s": round(drawn[0].step_s, DIGITS), "scores": scores}


def _frame(sample: Sample, limits: Mapping[str, Thresholds | None]) -> Json:
    scores = {
        name: {
            "fused": _score(score.fused, limits.get(name)),
            **_plain(score, "clip custom"),
            **_value(score.by_detector),
        }
        for name, score in sample.scores.items()
    }
    frame = {**_plain(sample, "time_s"), "scores": scores}
    if sample.same_as_s is not None:
        frame |= _plain(sample, "same_as_s")
    return {**frame, "not_sent": list(sample.not_sent)} if sample.not_sent else frame


def _score(value: float | None, thresholds: Thresholds | None) -> float | None:
    return None if value is None else round_score(value, thresholds, DIGITS)


def _plain(item: object, names: str) -> Json:
    """Attributes of an object by their names, as JSON has them."""
    return {name: _value(getattr(item, name)) for name in names.split()}


def _value(value: Any) -> Any:
    if isinstance(value, float):
        # What a broken container claims may be no number at all, and JSON has none for that.
        return round(value, DIGITS) if math.isfinite(value) else None
    if isinstance(value, str):
        # Any JSON reader takes this: a file name's stray bytes become visible escapes.
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {name: _value(one) for name, one in value.items()}
    return [_value(one) for one in value] if isinstance(value, tuple) else value
