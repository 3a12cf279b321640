"""Scores over time as SVG that stretches with the page: times are percentages, scores pixels."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from guardian_cli.evidence.page import escape, is_number, seconds
from guardian_cli.reports.text import count
from guardian_cli.verdict.thresholds import Thresholds, format_score

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TOP_PX, PLOT_PX, FOOT_PX = 10, 120, 30
_FLOOR_PX = TOP_PX + PLOT_PX
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


def draw_chart(
    number: int,
    name: str,
    category: Mapping[str, Any],
    limits: Thresholds | None,
    scores: Sequence[float | None],
    length_s: float,
) -> str:
    """Return one category's fused scores over `length_s` seconds, its thresholds and segments.

    `scores` are the highest of equal stretches, None where nothing was scored; `number` makes ids.
    """
    length_s = length_s or 1.0
    segments = category["segments"]
    parts = [
        _open_svg(
            number, _FLOOR_PX + FOOT_PX, _description(name, segments, limits, scores, length_s)
        ),
        *(
            f'<rect class="found" x="{_x(one["start_s"], length_s)}" y="{TOP_PX}"'
            f' width="{_x(one["end_s"] - one["start_s"], length_s)}" height="{PLOT_PX}"/>'
            for one in segments
        ),
        *_bars(scores, limits),
        f'<line class="axis" x1="0" x2="100%" y1="{_FLOOR_PX}" y2="{_FLOOR_PX}"/>',
        *_thresholds(limits),
    ]
    for one in segments:
        grade = _grade(one["peak"], limits)
        x, width = _x(one["start_s"], length_s), _x(one["end_s"] - one["start_s"], length_s)
        span = f"{seconds(one['start_s'])} to {seconds(one['end_s'])}"
        peak = f"peak {format_score(one['peak'], limits)} at {seconds(one['peak_s'])}"
        parts.append(
            f'<g class="segment g-{grade}"><title>{span}, {peak}</title>'
            f'<rect x="{x}" y="{_FLOOR_PX + 2}" width="{width}" height="5"/>'
            f'<circle cx="{_x(one["peak_s"], length_s)}" cy="{_y(one["peak"])}" r="4"/></g>'
        )
    for share in TICKS:
        anchor = "start" if share == 0 else "end" if share == 1 else "middle"
        parts.append(
            f'<text class="tick t-{anchor}" x="{share:.0%}" y="{_FLOOR_PX + 24}"'
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
    scores: Sequence[float | None],
    length_s: float,
) -> str:
    scored = [score for score in scores if score is not None]
    parts = [f"Fused score of {name} over {seconds(length_s)}"]
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
        f' height="{height_px}"><title id="chart-{number}">{escape(title)}</title>'
    )


def _bars(scores: Sequence[float | None], limits: Thresholds | None) -> Iterator[str]:
    """A bar for each stretch, grouped by what its score calls for."""
    groups: dict[str, list[str]] = {}
    edges = [at / max(1, len(scores)) for at in range(len(scores) + 1)]
    for score, (start, end) in zip(scores, pairwise(edges), strict=True):
        top = TOP_PX if score is None else _y(score)
        # A little wider than its stretch: no seam of light between two bars.
        groups.setdefault(_grade(score, limits), []).append(
            f'<rect x="{start:.2%}" y="{top:g}" width="{end - start + 0.0008:.2%}"'
            f' height="{_FLOOR_PX - top:g}"/>'
        )
    for grade, bars in groups.items():
        yield f'<g class="bars g-{grade}">{"".join(bars)}</g>'


def _thresholds(limits: Thresholds | None) -> Iterator[str]:
    if limits is None:
        return
    block_y, review_y = _y(limits.block), _y(limits.review)
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


def _y(score: float) -> float:
    return round(_FLOOR_PX - PLOT_PX * min(1.0, max(0.0, score)), 1)


def _x(time_s: float, length_s: float) -> str:
    return f"{100 * min(1.0, max(0.0, time_s / length_s)):.2f}%"
