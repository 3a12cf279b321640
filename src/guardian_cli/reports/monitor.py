"""What `guardian monitor` found: guardian.monitor/1, a table, Prometheus' textfile format."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from guardian_cli import __version__
from guardian_cli.errors import UsageError
from guardian_cli.files import replacing
from guardian_cli.reports.document import DIGITS, dumps
from guardian_cli.reports.text import count, visible

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from guardian_cli.console import Console
    from guardian_cli.watching.figures import Figure
    from guardian_cli.watching.monitor import Monitoring

Json = dict[str, Any]
SCHEMA = "guardian.monitor/1"
STATE_STYLES = {"ok": "green", "alert": "bold red", "too-little-data": "dim"}


def show_monitoring(
    console: Console,
    found: Monitoring,
    results: Sequence[str],
    reference: Sequence[str],
    *,
    as_json: bool,
) -> None:
    """Show all figures, what moved most first; JSON is guardian.monitor/1."""
    if as_json:
        console.result(dumps(to_document(found, results, reference), indent=2))
    else:
        console.show(monitoring_table(found))


def to_document(found: Monitoring, results: Sequence[str], reference: Sequence[str]) -> Json:
    """Return guardian.monitor/1; numbers to a millionth."""

    def both(pair: tuple[float, float]) -> Json:
        return {"results": round(pair[0], DIGITS), "reference": round(pair[1], DIGITS)}

    return {
        "schema": SCHEMA,
        "guardian": __version__,
        "results": list(results),
        "reference": list(reference),
        "sources": found.sources,
        "reference_sources": found.reference_sources,
        "sigmas": round(found.sigmas, DIGITS),
        "alert": bool(found.alerts),
        "figures": [figure_part(one) for one in found.figures],
        "windows": [
            {
                "name": window.name,
                "begins": moment(window.begins_s),
                "ends": moment(window.ends_s),
                "sources": window.sources,
                "figures": [figure_part(one) for one in window.figures],
            }
            for window in found.windows
        ],
        "verdicts": {name: both(pair) for name, pair in found.verdicts.items()},
        "deployments": {
            category: {name: both(pair) for name, pair in shares.items()}
            for category, shares in found.deployments.items()
        },
    }


def figure_part(figure: Figure) -> Json:
    """Return a figure as JSON has it."""
    part = asdict(figure) | {"examples": list(figure.examples)}
    for name in ("value", "limit", "usual"):
        part[name] = None if part[name] is None else round(part[name], DIGITS)
    return part


def moment(when_s: float) -> str | None:
    """Return a time in UTC; None for NaN."""
    if math.isnan(when_s):
        return None
    return datetime.fromtimestamp(when_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def monitoring_table(found: Monitoring) -> RenderableType:
    """Return a row for each figure, what moved most first, and one for each window's alert."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("figure", "category", "value", "limit", "usual", "sources", "state"):
        table.add_column(name, no_wrap=True, justify="right" if name in NUMBERS else "left")
    rows: list[tuple[str | None, Figure]] = [
        (None, one) for one in sorted(found.figures, key=lambda one: -one.excess)
    ]
    rows += [(window, one) for window, one in found.alerts if window is not None]
    for window, one in rows:
        table.add_row(
            Text(one.name + (f" ({window})" if window else "")),
            Text(visible(one.category or "")),
            number(one.value),
            number(one.limit),
            number(one.usual),
            str(one.samples),
            Text(one.state, style=STATE_STYLES[one.state]),
        )
    sources = count(found.sources, "source")
    title = f"{sources} against {found.reference_sources} of the reference"
    examples = [
        Text(f"  {one.name} of {visible(one.category or 'all')}: see {visible(source)}")
        for one in found.figures
        for source in one.examples[:1]
    ]
    return Group(Text(title, style="bold"), table, *examples)


NUMBERS = frozenset({"value", "limit", "usual", "sources"})


def number(value: float | None) -> str:
    """Return a figure for people."""
    return "-" if value is None else f"{value:.4g}"


def write_prometheus(path: Path, found: Monitoring) -> None:
    """Write the figures for node_exporter's textfile collector, whole or not at all."""
    write_text(path, prometheus_text(found, time.time()))


def prometheus_text(found: Monitoring, now_s: float) -> str:
    """Return the figures as gauges, in Prometheus' text format."""
    lines: list[str] = []

    def gauge(name: str, about: str, values: Sequence[tuple[Json, float]]) -> None:
        lines.extend(
            (f"# HELP guardian_monitor_{name} {about}", f"# TYPE guardian_monitor_{name} gauge")
        )
        for labels, value in values:
            shown = ",".join(f'{key}="{_label(text)}"' for key, text in labels.items())
            lines.append(f"guardian_monitor_{name}{{{shown}}} {value!r}")

    def labels(one: Figure) -> Json:
        return {"name": one.name, "category": one.category or ""}

    figures = found.figures
    gauge(
        "value", "A figure of what is watched.",
        [(labels(one), one.value) for one in figures if one.value is not None],
    )  # fmt: skip
    gauge(
        "limit", "What the figure may be at most.",
        [(labels(one), one.limit) for one in figures if one.limit is not None],
    )  # fmt: skip
    gauge(
        "alert", "1 where the figure is over its limit, in all or in a window.",
        [
            (labels(one), float(any(
                (over.name, over.category) == (one.name, one.category)
                for _, over in found.alerts
            )))
            for one in figures
        ],
    )  # fmt: skip
    gauge(
        "too_little_data", "1 where there is too little data to tell.",
        [(labels(one), float(one.state == "too-little-data")) for one in figures],
    )  # fmt: skip
    counted = (("results", found.sources), ("reference", found.reference_sources))
    gauge("sources", "Sources that were compared.", [({"set": a}, float(n)) for a, n in counted])
    gauge("timestamp_seconds", "When this was written, since 1970.", [({}, now_s)])
    return "\n".join(lines).replace("{} ", " ") + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a file, whole or not at all. Raises UsageError."""
    try:
        with replacing(path) as partial:
            # Half a surrogate pair, which JSON can name, is nothing that UTF-8 can write.
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error


def _label(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode()
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
