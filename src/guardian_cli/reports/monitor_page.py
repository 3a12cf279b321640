"""The page of `guardian monitor --html`: one file, no script, nothing from anywhere else."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from guardian_cli.reports.monitor import FORM, moment
from guardian_cli.reports.text import count, escape_html, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardian_cli.watching.figures import Figure
    from guardian_cli.watching.monitor import Monitoring, Window

# In the viewBox's own units; the page stretches the picture to its width.
_WIDTH, _HEIGHT = 600.0, 100.0
_TITLES = {
    "verdict_mix": "Verdict mix: share of sources with another verdict",
    "wasserstein": "Scores: Wasserstein distance in standard deviations",
    "psi": "Scores: population stability index",
    "feature_drift": "Pictures: AUC of a classifier that tells them from the reference's",
    "incomplete": "Share of sources not seen in full",
    "degraded": "Share of degraded scans",
    "unscored": "Share of sources with an unscored category",
    "errors": "Share of sources that could not be scanned",
    "latency_ms": "Endpoint: median latency in ms",
    "traffic": "Endpoint: share of sources scored by another deployment",
}


def page_text(found: Monitoring, results: Sequence[str], reference: Sequence[str]) -> str:
    """Return the page: alerts, all figures, time-lines with their limits, shares."""
    # Inside the page: a single file can be mailed, or kept as a CI artifact.
    css = (files("guardian_cli.reports") / "monitor.css").read_text(encoding="utf-8")
    ordered = sorted(found.figures, key=lambda one: -one.excess)
    verdict = (
        f'<p class="alert">{escape_html(found.summary)}</p>'
        if found.alerts
        else '<p class="ok">No figure is over its limit.</p>'
    )
    few = sum(one.state == "too-little-data" for one in found.figures)
    if few:
        verdict += f'<p class="faint">{count(few, "figure")}: too little data to tell.</p>'
    about = (
        f"{count(found.sources, 'source')} of {escape_html(', '.join(results))} against"
        f" {found.reference_sources} of {escape_html(', '.join(reference))}"
    )
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>guardian monitor</title><style>\n{css}</style></head><body>",
        f'<h1>guardian monitor</h1><p class="faint">{about}</p>{verdict}',
        "<h2>What moved most</h2>",
        _figures_table(ordered),
        *_examples(ordered),
        "<h2>Over time</h2>",
        *(_time_line(one, found.drawn) for one in ordered),
        "<h2>Verdicts</h2>",
        _shares_table(found.verdicts),
    ]
    for category, shares in found.deployments.items():
        parts += [f"<h2>Deployments of {escape_html(category)}</h2>", _shares_table(shares)]
    return "\n".join([*parts, "</body></html>", ""])


def _figures_table(figures: Sequence[Figure]) -> str:
    rows = [
        f"<tr><td>{_TITLES[one.name]}</td><td>{escape_html(one.category or '')}</td>"
        f'<td class="number">{number(one.value, FORM)}</td>'
        f'<td class="number">{number(one.limit, FORM)}</td>'
        f'<td class="number">{one.samples}</td><td class="{one.state}">{one.state}</td></tr>'
        for one in figures
    ]
    head = (
        '<tr><th>figure</th><th>category</th><th class="number">value</th>'
        '<th class="number">limit</th><th class="number">sources</th><th>state</th></tr>'
    )
    return f"<table>{head}{''.join(rows)}</table>"


def _examples(figures: Sequence[Figure]) -> list[str]:
    """The sources that show an alert best, for each figure that has some."""
    parts = []
    for one in figures:
        if one.examples:
            listed = "".join(f"<li>{escape_html(source)}</li>" for source in one.examples)
            parts.append(
                f"<h2>Sources that show it: {escape_html(one.title)}</h2><ul>{listed}</ul>"
            )
    return parts


def _time_line(figure: Figure, windows: Sequence[Window]) -> str:
    """One figure over the windows, with its limit in each, as SVG."""
    found = [
        one
        for window in windows
        for one in window.figures
        if (one.name, one.category) == (figure.name, figure.category)
    ]
    told = [one.value for one in found if one.value is not None]
    limits = [one.limit for one in found if one.limit is not None]
    # The limit stays in view, however far below it the values are.
    top = max([*told, *limits], default=0.0) or 1.0
    step = _WIDTH / max(1, len(windows) - 1)

    def points(values: Sequence[float | None]) -> list[tuple[float, float]]:
        return [
            (at * step, _HEIGHT * (1 - value / top))
            for at, value in enumerate(values)
            if value is not None
        ]

    lines = [
        f'<polyline class="{name}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in at)}"/>'
        for name, at in (
            ("limit", points([one.limit for one in found])),
            ("value", points([one.value for one in found])),
        )
    ]
    dots = [
        f'<circle class="{one.state}" cx="{x:.1f}" cy="{y:.1f}" r="3">'
        f"<title>{escape_html(window.name)}: {number(one.value, FORM)},"
        f" limit {number(one.limit, FORM)},"
        f" {count(one.samples, 'source')}</title></circle>"
        for window, one in zip(windows, found, strict=True)
        # Placed among all windows, so that the others count as gaps.
        for x, y in points([one.value if other is one else None for other in found])
    ]
    ends = ""
    if windows:
        first, last = windows[0], windows[-1]
        # Where results do not say when, windows have numbers for names.
        names = [moment(first.begins_s) or first.name, moment(last.ends_s) or last.name]
        ends = (
            f'<figcaption class="faint"><span>{names[0]}</span><span>{names[1]}</span></figcaption>'
        )
    title = _TITLES[figure.name] + (f", {figure.category}" if figure.category else "")
    return (
        f'<figure><figcaption><span>{escape_html(title)}</span><span class="{figure.state}">'
        f"{number(figure.value, FORM)} of {number(figure.limit, FORM)}</span></figcaption>"
        f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" preserveAspectRatio="none" role="img"'
        f' aria-label="{escape_html(title)}">{"".join(lines)}{"".join(dots)}</svg>{ends}</figure>'
    )


def _shares_table(shares: dict[str, tuple[float, float]]) -> str:
    rows = "".join(
        f'<tr><td>{escape_html(name)}</td><td class="number">{now:.1%}</td>'
        f'<td class="number">{before:.1%}</td></tr>'
        for name, (now, before) in shares.items()
    )
    head = '<tr><th></th><th class="number">now</th><th class="number">reference</th></tr>'
    return f"<table>{head}{rows}</table>"
