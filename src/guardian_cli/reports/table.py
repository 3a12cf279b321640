"""What a person sees on a terminal: one source in full, many sources in a row each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from guardian_cli.reports.sparkline import Sparkline
from guardian_cli.reports.text import Fitted, clock, count, shorten, visible
from guardian_cli.verdict.policy import floor_to_cents

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from guardian_cli.media.frames import DecodeTally
    from guardian_cli.reports.result import ScanResult
    from guardian_cli.verdict.category import CategoryVerdict
    from guardian_cli.verdict.policy import DetectorReport, Outcome
    from guardian_cli.verdict.segments import Segment

STYLES: dict[Outcome, str] = {
    "allow": "bold green",
    "review": "bold yellow",
    "block": "bold red",
    "error": "bold magenta",
}
WORST_FIRST: tuple[Outcome, ...] = ("block", "error", "review", "allow")
SEGMENTS_SHOWN = 12


def render(
    results: Sequence[ScanResult], *, ascii_only: bool = False, took_s: float | None = None
) -> RenderableType:
    """Return what to print for a run: a single source in full, several as a table with a total.

    `ascii_only` draws without block characters; `took_s` is the whole run's wall time.
    """
    if len(results) == 1:
        return render_one(results[0], ascii_only=ascii_only)
    return render_many(results, took_s=took_s)


def render_one(result: ScanResult, *, ascii_only: bool = False) -> RenderableType:
    """Return everything known about one source."""
    from rich.console import Group
    from rich.padding import Padding

    parts: list[RenderableType] = [_headline(result)]
    if result.categories:
        parts += ["", Padding(_categories(result, ascii_only=ascii_only), (0, 0, 0, 2))]
    parts += ["", Padding(_facts(result), (0, 0, 0, 2))]
    return Group(*parts)


def render_many(results: Sequence[ScanResult], *, took_s: float | None = None) -> RenderableType:
    """Return one row for each source, in the order given, and a line with the totals."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("verdict", no_wrap=True)
    # A column that may wrap is what rich makes narrow where the terminal is.
    table.add_column("source")
    table.add_column("highest", no_wrap=True)
    table.add_column("at", no_wrap=True, justify="right")
    table.add_column("notes")
    for result in results:
        highest, at = _highest(result)
        table.add_row(
            _word(result.verdict),
            Fitted(visible(result.source), least=20),
            Text(highest),
            Text(at),
            Fitted(_notes(result), style="dim", where="end", least=12),
        )
    return Group(table, "", _totals(results, took_s))


def _word(verdict: Outcome) -> Text:
    from rich.text import Text

    return Text(verdict.upper(), style=STYLES[verdict])


def _headline(result: ScanResult) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(_word(result.verdict), Text(visible(result.source), style="bold"))
    for reason in result.reasons:
        grid.add_row("", Text(visible(reason)))
    return grid


def _categories(result: ScanResult, *, ascii_only: bool) -> Table:
    from rich.table import Table
    from rich.text import Text

    ends = _span(result)
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("category", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for heading in ("score", "review", "block"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column(ends)
    for name, one in result.categories.items():
        table.add_row(
            Text(shorten(visible(name), 20)),
            Text("unscored", style="bold yellow") if one.score is None else _word(one.verdict),
            Text("-" if one.score is None else f"{floor_to_cents(one.score):.2f}"),
            Text(f"{one.limits.review:.2f}" if one.limits else "", style="dim"),
            Text(f"{one.limits.block:.2f}" if one.limits else "", style="dim"),
            Sparkline(one.timeline, one.limits, ascii_only) if _is_video(result) else "",
        )
    return table


def _facts(result: ScanResult) -> Table:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    shown = ""
    for label, value in _fact_lines(result):
        grid.add_row("" if label == shown else label, Text(visible(value)))
        shown = label
    return grid


def _fact_lines(result: ScanResult) -> Iterator[tuple[str, str]]:
    if _is_video(result):
        for name, one in result.categories.items():
            for line in _segment_lines(name, one):
                yield "found", line
    if result.media is not None:
        yield "media", _media_line(result)
    if result.coverage is not None:
        yield "saw", coverage_line(result.coverage, result.every_s, is_video=_is_video(result))
    for one_detector in result.detectors:
        is_here = one_detector.status in ("ok", "degraded")
        # A reason that stands above, among the verdict's, is not said twice.
        said = any(f": {one_detector.reason}" in reason for reason in result.reasons)
        shown = replace(one_detector, reason=None) if said else one_detector
        yield "scored by" if is_here else "without", detector_line(shown)
    timing = result.timing
    yield (
        "took",
        f"{timing.wall_s:.1f} s ({timing.decode_s:.1f} s decoding, {timing.score_s:.1f} s scoring)",
    )


def _segment_lines(name: str, one: CategoryVerdict) -> Iterator[str]:
    worst_first = sorted(one.segments, key=lambda segment: -segment.peak)
    shown = sorted(worst_first[:SEGMENTS_SHOWN], key=lambda segment: segment.start_s)
    for segment in shown:
        yield f"{name} {_segment_line(segment)}"
    hidden = len(one.segments) - len(shown)
    if hidden:
        yield f"{name} in {count(hidden, 'more segment')}, none higher; --json has all"


def _segment_line(segment: Segment) -> str:
    peak = f"{floor_to_cents(segment.peak):.2f}"
    if segment.start_s == segment.end_s:
        return f"at {clock(segment.start_s)}, peak {peak}"
    span = f"{clock(segment.start_s)} to {clock(segment.end_s)}"
    return f"{span}, peak {peak} at {clock(segment.peak_s)}"


def _media_line(result: ScanResult) -> str:
    media = result.media
    if media is None:
        return ""
    parts = [media.kind, f"{media.width} x {media.height}", media.codec or "unknown codec"]
    if media.rotation:
        parts.append(f"rotated by {media.rotation} degrees")
    return ", ".join(parts)


def coverage_line(tally: DecodeTally, every_s: float | None, *, is_video: bool = True) -> str:
    """Say in one line what was really seen."""
    parts = [count(tally.frames_scored, "frame")]
    if is_video and tally.duration_s is not None:
        parts[0] += f" over {tally.duration_s:.1f} s"
    if is_video and every_s is not None:
        parts.append(f"every {every_s:g} s")
    if is_video and tally.largest_gap_s is not None:
        parts.append(f"largest gap {tally.largest_gap_s:.1f} s")
    parts.append("reached the end" if tally.reached_end else "did not reach the end")
    if tally.decode_errors:
        parts.append(count(tally.decode_errors, "decode error"))
    if is_video:
        parts.append(tally.decode)
    return ", ".join(parts) + ("" if tally.complete else ": incomplete")


def detector_line(one: DetectorReport) -> str:
    """Say in one line who a detector is and what became of it."""
    who = f"{one.category} {one.name}" if one.name == "endpoint" else one.name
    model = f" {one.model}" if one.model else ""
    frames = f", {count(one.frames, 'frame')}" if one.status in ("ok", "degraded") else ""
    reason = f" ({one.reason})" if one.reason else ""
    return f"{who}{model}: {one.status}{frames}{reason}"


def _is_video(result: ScanResult) -> bool:
    return result.media is None or result.media.kind == "video"


def _span(result: ScanResult) -> str:
    length_s = result.coverage.duration_s if result.coverage else None
    if not _is_video(result) or length_s is None:
        return ""
    return f"0:00.0 to {clock(length_s)}"


def _highest(result: ScanResult) -> tuple[str, str]:
    """Return the worst category's name and score, and when it was reached, as text."""
    scored = [(one.score, name) for name, one in result.categories.items() if one.score is not None]
    if not scored:
        return "-", ""
    order: dict[str, int] = {"block": 2, "review": 1, "allow": 0}
    score, name = max(scored, key=lambda pair: (order[result.categories[pair[1]].verdict], pair[0]))
    one = result.categories[name]
    is_found = one.verdict != "allow" and one.at_s is not None and _is_video(result)
    at = clock(one.at_s) if is_found and one.at_s is not None else ""
    return f"{shorten(visible(name), 20)} {floor_to_cents(score):.2f}", at


def _notes(result: ScanResult) -> str:
    if result.error is not None:
        return visible(result.error.message)
    notes = [f"{name} unscored" for name, one in result.categories.items() if one.score is None]
    if result.coverage is not None and not result.coverage.complete:
        notes.append("incomplete")
    if result.degraded:
        notes.append("degraded")
    return visible(", ".join(notes))


def _totals(results: Sequence[ScanResult], took_s: float | None) -> Text:
    from rich.text import Text

    verdicts = [result.verdict for result in results]
    text = Text(f"{count(len(results), 'source')}: ")
    parts = [(verdicts.count(one), one) for one in WORST_FIRST if one in verdicts]
    for at, (number, one) in enumerate(parts):
        text.append(", " if at else "")
        text.append(f"{number} {one}", style=STYLES[one])
    if took_s is not None:
        text.append(f" in {took_s:.1f} s")
    return text
