"""`guardian evaluate` from a request to an exit code: labels in, figures and files out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from guardian_cli import __version__
from guardian_cli.evaluation.calibrate import parse_rate
from guardian_cli.evaluation.evaluate import evaluate, scan_labelled, write_mistakes
from guardian_cli.evaluation.labels import read_labels
from guardian_cli.evaluation.plots import draw_evaluation
from guardian_cli.files import check_outputs, write_output
from guardian_cli.reports.evaluation import show_evaluation
from guardian_cli.reports.results_file import read_results
from guardian_cli.scanning.provenance import scale_digest
from guardian_cli.settings_file import read_settings
from guardian_cli.verdict.policy import EXIT_ALLOW, EXIT_ERROR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from guardian_cli.console import Console
    from guardian_cli.evaluation.calibrate import Fitted
    from guardian_cli.evaluation.evaluate import Evaluation
    from guardian_cli.scanning.pipeline import ScanRequest
    from guardian_cli.settings import Settings


@dataclass(frozen=True, slots=True)
class EvaluateRequest:
    """What the command line says beside the options of the scan; paths are files to write."""

    labels: Path
    results: Path | None = None
    calibrate: Path | None = None
    false_alarms: str = "1%"
    plot: Path | None = None
    mistakes: Path | None = None
    as_json: bool = False


def run_evaluation(
    request: EvaluateRequest, scan: ScanRequest, settings: Settings, console: Console
) -> int:
    """Evaluate and return the exit code; what is written is written whole, or not at all.

    Raises UsageError for labels, results or options that make no sense, and what a scan raises.
    """
    rate = parse_rate(request.false_alarms) if request.calibrate is not None else None
    outputs = [one for one in (request.calibrate, request.plot, request.mistakes) if one]
    # Before the scan as well: a wrong row is told at once, not after hours.
    labels = read_labels(request.labels)
    read = [settings.file, request.labels, *(Path(label.location) for label in labels)]
    check_outputs(outputs, read=[*read, request.results] if request.results else read)
    results: Sequence[Mapping[str, Any]]
    if request.results is not None:
        results = list(read_results(request.results))
    else:
        scan = replace(scan, levels=rate is not None)
        if rate is not None:
            settings = _without_calibration(settings, console)
        results = scan_labelled(labels, scan, settings, console)
    evaluation = evaluate(labels, results, false_alarms=rate, warn=console.warn)
    if request.calibrate is not None:
        write_output(request.calibrate, _fragment(request, evaluation, results, settings).encode())
        console.note(f"hint: guardian scan … --config {request.calibrate}")
    if request.plot is not None:
        write_output(request.plot, draw_evaluation(evaluation.categories))
    if request.mistakes is not None:
        text = write_mistakes(request.mistakes, evaluation.mistakes)
        write_output(request.mistakes, text.encode("utf-8", "surrogateescape"))
    shown = str(request.results) if request.results is not None else None
    show_evaluation(console, evaluation, str(request.labels), shown, as_json=request.as_json)
    has_errors = any(one.errors for one in evaluation.categories.values())
    # Results that are there already are no inputs that this run could not scan.
    return EXIT_ERROR if has_errors and request.results is None else EXIT_ALLOW


def _without_calibration(settings: Settings, console: Console) -> Settings:
    """The settings without any scale: a new one is fitted to the scores beneath it."""
    categories = {
        name: one.model_copy(update={"calibration": None})
        for name, one in settings.config.categories.items()
    }
    if categories != settings.config.categories:
        console.note("the calibration that is configured is left aside: a new one is fitted")
    return replace(settings, config=settings.config.model_copy(update={"categories": categories}))


def _fragment(
    request: EvaluateRequest,
    evaluation: Evaluation,
    results: Sequence[Mapping[str, Any]],
    settings: Settings,
) -> str:
    """The settings with what was fitted, and where that comes from; no absolute path is added."""
    # With this anybody can tell later which labels a threshold comes from.
    digest = hashlib.sha256(request.labels.read_bytes()).hexdigest()
    made: Mapping[str, Any] = next((one["made"] for one in results if one.get("made")), {})
    header = [
        f"Fitted by guardian {__version__} on {datetime.now(UTC):%Y-%m-%d}, to",
        f"{json.dumps(request.labels.name)}, sha256:{digest},",
        f"for false alarms of {request.false_alarms} of clean videos at review or over.",
    ]
    fitted = {
        name: one.fitted for name, one in evaluation.categories.items() if one.fitted is not None
    }
    scales = {name: scale_digest(made, name) for name in fitted}
    # A category's scale is of no use without its prompts: what the file has goes with it.
    written = read_settings(settings.file).data if settings.file.is_file() else {}
    return write_fragment(fitted, scales, float(made.get("every") or 1.0), header, written)


def write_fragment(
    fitted: Mapping[str, Fitted],
    fitted_to: Mapping[str, str],
    every_s: float,
    header: Sequence[str],
    settings: Mapping[str, Any],
) -> str:
    """Return `settings`, as guardian.yaml has them, with what was fitted; where from in comments.

    `fitted_to` is, by category, the digest of what made the scores that a scale was fitted to.
    """
    import yaml

    lines = [f"# {line}" for line in header]
    categories = dict(settings.get("categories") or {})
    for name, one in fitted.items():
        lines += ["#", f"# {json.dumps(name)}: {one.method} on {one.clean} clean videos and"]
        lines[-1] += f" {one.positives} positive ones;"
        for what, figure in (("false alarms", one.false_alarms), ("recall", one.recall)):
            if figure.value is not None and figure.interval is not None:
                low, high = figure.interval
                interval = f"95%: {low:.2%} to {high:.2%}"
                lines.append(f"#   {what} on videos held out {figure.value:.2%} ({interval})")
        # As JSON: a line break in a file's name would end the comment and begin a setting.
        lines += [f"#   {json.dumps(warning)}" for warning in one.warnings]
        # What the user has written about a category stays, its prompts above all.
        own = categories.get(name)
        categories[name] = {
            **(own if isinstance(own, dict) else {}),
            "review": one.review,
            "block": one.block,
            "calibration": {
                "samples": one.calibration.samples,
                "scale": one.calibration.scale,
                "every": every_s,
                "fitted_to": fitted_to[name],
                "points": [list(point) for point in one.calibration.points],
            },
        }
    own_scan = settings.get("scan")
    scan = own_scan if isinstance(own_scan, dict) else {}
    if scan.get("every", 1.0) != every_s:
        # It holds at the rate that it was fitted at, which a flag may have asked for.
        settings = {**settings, "scan": {**scan, "every": every_s}}
    dumped = yaml.safe_dump(
        {**settings, "categories": categories},
        sort_keys=False,
        default_flow_style=None,
        allow_unicode=True,
        width=100,
    )
    return "\n".join(lines) + "\n" + dumped
