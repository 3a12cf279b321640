"""What `guardian monitor` found: guardian.monitor/1, a table, Prometheus' textfile format."""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from guardian_cli import __version__
from guardian_cli.lifecycle.clock import utc_stamp
from guardian_cli.reports.document import dumps, rounded
from guardian_cli.reports.grid import new_table
from guardian_cli.reports.text import count, number, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from guardian_cli.console import Console
    from guardian_cli.watching.figures import Figure
    from guardian_cli.watching.monitor import Monitoring

Json = dict[str, Any]
SCHEMA = "guardian.monitor/1"
# Figures are shares, distances and milliseconds: significant digits suit them all.
FORM = ".4g"
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
        return {"results": rounded(pair[0]), "reference": rounded(pair[1])}

    return {
        "schema": SCHEMA,
        "guardian": __version__,
        "results": list(results),
        "reference": list(reference),
        "sources": found.sources,
        "reference_sources": found.reference_sources,
        "sigmas": rounded(found.sigmas),
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
        part[name] = rounded(part[name])
    return part


def moment(when_s: float) -> str | None:
    """Return a time in UTC; None for NaN."""
    # Results that do not tell when they were made can still be compared.
    if math.isnan(when_s):
        return None
    return utc_stamp(datetime.fromtimestamp(when_s, tz=UTC))


def monitoring_table(found: Monitoring) -> RenderableType:
    """Return a row for each figure, what moved most first, and one for each window's alert."""
    from rich.console import Group
    from rich.text import Text

    table = new_table(
        *("figure", "category", "value", "limit", "usual", "sources", "state"),
        right={"value", "limit", "usual", "sources"},
    )
    rows: list[tuple[str | None, Figure]] = [
        # By how far each is towards its limit, since their units differ.
        (None, one)
        for one in sorted(found.figures, key=lambda one: -one.excess)
    ]
    rows += [(window, one) for window, one in found.alerts if window is not None]
    for window, one in rows:
        table.add_row(
            Text(one.name + (f" ({window})" if window else "")),
            Text(visible(one.category or "")),
            number(one.value, FORM),
            number(one.limit, FORM),
            number(one.usual, FORM),
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


def prometheus_text(found: Monitoring, now_s: float) -> str:
    """Return the figures as gauges, in Prometheus' text format."""
    lines: list[str] = []

    def gauge(name: str, about: str, values: Sequence[tuple[Json, float]]) -> None:
        lines.extend(
            (f"# HELP guardian_monitor_{name} {about}", f"# TYPE guardian_monitor_{name} gauge")
        )
        for labels, value in values:
            # A category may be named anything; these two would end the label.
            safe = {
                key: visible(text).replace("\\", r"\\").replace('"', r"\"")
                for key, text in labels.items()
            }
            shown = ",".join(f'{key}="{text}"' for key, text in safe.items())
            # `repr` gives the shortest text that reads back as the same number.
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
    # A metric without labels has no braces.
    return "\n".join(lines).replace("{} ", " ") + "\n"
