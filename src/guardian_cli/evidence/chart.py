"""Scores over time as SVG that stretches with the page: times are percentages, scores pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from guardian_cli.evidence.page import is_number, seconds
from guardian_cli.reports.text import count, escape_html
from guardian_cli.verdict.thresholds import Thresholds, format_score

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# Room for a peak's dot above the plot, for segments and times below it.
TOP_PX, FOOT_PX = 10, 30
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


class Timeline(NamedTuple):
    """Fused scores, each the highest of `step_s` seconds, of a source of `length_s` seconds.

    None stands where nothing was scored.
    """

    scores: Sequence[float | None]
    step_s: float
    length_s: float


def draw_chart(
    number: int,
    name: str,
    category: Mapping[str, Any],
    limits: Thresholds | None,
    timeline: Timeline,
    plot_px: int = 120,
) -> str:
    """Return one category's fused scores over time, its thresholds and segments.

    `number` makes ids, `plot_px` is the height from a score of 0 to one of 1.
    """
    length_s, floor = timeline.length_s or 1.0, TOP_PX + plot_px
    segments = category["segments"]
    told = _description(name, segments, limits, timeline)
    parts = [
        _open_svg(number, floor + FOOT_PX, told),
        *(
            f'<rect class="found" x="{_x(one["start_s"], length_s)}" y="{TOP_PX}"'
            f' width="{_x(one["end_s"] - one["start_s"], length_s)}" height="{plot_px}"/>'
            for one in segments
        ),
        *_bars(timeline, limits, plot_px),
        f'<line class="axis" x1="0" x2="100%" y1="{floor}" y2="{floor}"/>',
        *_thresholds(limits, plot_px),
    ]
    # Segments come last, on top: they are what somebody is looking for.
    for one in segments:
        grade = _grade(one["peak"], limits)
        x, width = _x(one["start_s"], length_s), _x(one["end_s"] - one["start_s"], length_s)
        span = f"{seconds(one['start_s'])} to {seconds(one['end_s'])}"
        peak = f"peak {format_score(one['peak'], limits)} at {seconds(one['peak_s'])}"
        parts.append(
            f'<g class="segment g-{grade}"><title>{span}, {peak}</title>'
            f'<rect x="{x}" y="{floor + 2}" width="{width}" height="5"/>'
            f'<circle cx="{_x(one["peak_s"], length_s)}" cy="{_y(one["peak"], plot_px)}" r="4"/>'
            "</g>"
        )
    # As shares of the width: the page is stretched, and SVG would stretch letters with it.
    for share in TICKS:
        anchor = "start" if share == 0 else "end" if share == 1 else "middle"
        parts.append(
            f'<text class="tick t-{anchor}" x="{share:.0%}" y="{floor + 24}"'
            f' text-anchor="{anchor}">{seconds(share * length_s)}</text>'
        )
    return "\n".join([*parts, "</svg>"])


def draw_scale(number: int, name: str, score: float | None, limits: Thresholds | None) -> str:
    """Return a picture's score on a scale from 0 to 1 with the thresholds."""
    shown = "unscored" if score is None else format_score(score, limits)
    edges = [("review", limits.review), ("block", limits.block)] if limits else []
    marks = "".join(
        f'<line class="limit" x1="{edge:.1%}" x2="{edge:.1%}" y1="6" y2="26"/>'
        f'<text class="tick" x="{edge:.1%}" y="42" text-anchor="middle">'
        f"{word} {format_score(edge)}</text>"
        for word, edge in edges
    )
    # Stored files may hold any number, and a bar must not leave its track.
    value = min(1.0, max(0.0, score or 0.0))
    return (
        f"{_open_svg(number, 48, f'{name}: {shown}')}"
        '<rect class="track" x="0" y="10" width="100%" height="12" rx="3"/>'
        f'<g class="g-{_grade(score, limits)}"><rect x="0" y="10" width="{value:.1%}" height="12"'
        f' rx="3"/></g>{marks}</svg>'
    )


def _description(
    name: str,
    segments: Sequence[Mapping[str, Any]],
    limits: Thresholds | None,
    timeline: Timeline,
) -> str:
    scored = [score for score in timeline.scores if score is not None]
    parts = [f"Fused score of {name} over {seconds(timeline.length_s)}"]
    if scored:
        parts.append(f"highest {format_score(max(scored), limits)}")
    if limits is not None:
        edges = format_score(limits.review), format_score(limits.block)
        parts.append(f"review from {edges[0]}, block from {edges[1]}")
    parts.append(count(len(segments), "segment"))
    return "; ".join(parts)


def _open_svg(number: int, height_px: int, title: str) -> str:
    return (
        f'<svg class="chart" role="img" aria-labelledby="chart-{number}" width="100%"'
        f' height="{height_px}"><title id="chart-{number}">{escape_html(title)}</title>'
    )


def _bars(timeline: Timeline, limits: Thresholds | None, plot_px: int) -> Iterator[str]:
    """A bar for each stretch, grouped by what its score calls for."""
    # One group for each colour: hundreds of bars that each name their class double the page.
    groups: dict[str, list[str]] = {}
    share = timeline.step_s / (timeline.length_s or 1.0)
    for at, score in enumerate(timeline.scores):
        start, end = min(1.0, at * share), min(1.0, (at + 1) * share)
        # What was not scored is drawn in full height: anything may be there.
        top = TOP_PX if score is None else _y(score, plot_px)
        # A little wider than its stretch: no seam of light between two bars.
        groups.setdefault(_grade(score, limits), []).append(
            f'<rect x="{start:.2%}" y="{top:g}" width="{end - start + 0.0008:.2%}"'
            f' height="{TOP_PX + plot_px - top:g}"/>'
        )
    for grade, bars in groups.items():
        yield f'<g class="bars g-{grade}">{"".join(bars)}</g>'


def _thresholds(limits: Thresholds | None, plot_px: int) -> Iterator[str]:
    if limits is None:
        return
    block_y, review_y = _y(limits.block, plot_px), _y(limits.review, plot_px)
    for word, edge, y in (("block", limits.block, block_y), ("review", limits.review, review_y)):
        # Where both are close their words stand on either side.
        below = word == "review" and review_y - block_y < 14
        yield f'<line class="limit l-{word}" x1="0" x2="100%" y1="{y}" y2="{y}"/>'
        yield (
            f'<text class="limit-word" x="100%" dx="-4" y="{y + (12 if below or y < 22 else -4):g}"'
            f' text-anchor="end">{word} {format_score(edge)}</text>'
        )


def _grade(score: Any, limits: Thresholds | None) -> str:
    if not is_number(score):
        return "unscored"
    if limits is None:
        return "allow"
    return "block" if score >= limits.block else "review" if score >= limits.review else "allow"


def _y(score: float, plot_px: int) -> float:
    return round(TOP_PX + plot_px * (1 - min(1.0, max(0.0, score))), 1)


def _x(time_s: float, length_s: float) -> str:
    return f"{100 * min(1.0, max(0.0, time_s / length_s)):.2f}%"
