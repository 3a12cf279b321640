"""What a person sees on a terminal: one source in full, many sources in a row each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from guardian_cli.reports.sparkline import Sparkline
from guardian_cli.reports.text import count, shorten, shorten_path, visible
from guardian_cli.verdict.category import Limits
from guardian_cli.verdict.closeness import show_score

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Table
    from rich.text import Text

    from guardian_cli.media.frames import Coverage
    from guardian_cli.verdict.category import CategoryVerdict
    from guardian_cli.verdict.policy import DetectorReport, Outcome
    from guardian_cli.verdict.result import ScanResult
    from guardian_cli.verdict.segments import Segment

STYLES: dict[Outcome, str] = {
    "allow": "bold green",
    "review": "bold yellow",
    "block": "bold red",
    "error": "bold magenta",
}
WORST_FIRST: tuple[Outcome, ...] = ("block", "error", "review", "allow")
SEGMENTS_SHOWN = 12
# Fewer cells than this are no room for a category's thresholds.
NARROW = 50


def render_one(result: ScanResult, *, ascii_only: bool = False) -> RenderableType:
    """Return everything known about one source."""
    from rich.console import Group
    from rich.padding import Padding

    parts: list[RenderableType] = [_headline(result)]
    if result.categories:
        parts += ["", Padding(Categories(result, ascii_only), (0, 0, 0, 2))]
    parts += ["", Padding(_facts(result), (0, 0, 0, 2))]
    return Group(*parts)


def render_many(elements: Iterable[Mapping[str, Any]], total: str) -> RenderableType:
    """Return a row for each element of guardian.scan/1, the worst first, and a line with the sums.

    `total` follows the sums: how long it took, how fast it was.
    """
    from rich.console import Group
    from rich.text import Text

    ordered = sorted(elements, key=lambda one: (WORST_FIRST.index(one["verdict"]), -_highest(one)))
    verdicts = [one["verdict"] for one in ordered]
    sums = Text(f"{count(len(ordered), 'source')}: ")
    for at, verdict in enumerate(one for one in WORST_FIRST if one in verdicts):
        sums.append(", " if at else "")
        sums.append(f"{verdicts.count(verdict)} {verdict}", style=STYLES[verdict])
    sums.append(total)
    rows = [(one["verdict"], visible(one["source"]), visible(_why(one))) for one in ordered]
    return Group(Rows(rows), "", sums)


@dataclass(frozen=True, slots=True)
class Rows:
    """Verdict, source and reason in a row each; a reason that finds no room goes on below.

    Nothing of a reason is ever cut, and of a source's name only what a whole line can't hold.
    """

    rows: Sequence[tuple[Outcome, str, str]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.cells import cell_len
        from rich.text import Text

        indent = len("REVIEW") + 2
        room = max(options.max_width - indent, 1)
        widths = sorted(cell_len(source) for _, source, _ in self.rows)
        # Wide enough for most names; one long name does not push all reasons to the right.
        column = min(widths[len(widths) * 3 // 4] if widths else 0, room // 2)
        for verdict, source, why in self.rows:
            line = Text.assemble((f"{verdict.upper():<{indent}}", STYLES[verdict]))
            name = shorten_path(source, room) if console.is_terminal else source
            beside = max(column, cell_len(name)) + 2 + cell_len(why) <= room
            padding = " " * (max(column - cell_len(name), 0) + 2)
            parts = [Text(name)]
            if beside:
                parts[0].append(padding + why, "dim")
            elif why:
                parts.append(Text(why, "dim"))
            for part in parts:
                for piece in part.wrap(console, room, overflow="fold"):
                    piece.rstrip()
                    yield line.append(piece)
                    line = Text(" " * indent)


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


@dataclass(frozen=True, slots=True)
class Categories:
    """A row for each category; where there is little room without its thresholds."""

    result: ScanResult
    ascii_only: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        from rich.table import Table
        from rich.text import Text

        is_wide = options.max_width >= NARROW
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        table.add_column("category", no_wrap=True)
        table.add_column("verdict", no_wrap=True)
        for heading in ("score", "review", "block") if is_wide else ("score",):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column(_span(self.result))
        for name, one in self.result.categories.items():
            limits = one.limits
            scores = [Text("-" if one.score is None else show_score(one.score, limits))]
            if is_wide:
                ends = (limits.review, limits.block) if limits else ()
                scores += [Text(show_score(at), "dim") for at in ends] or [Text(""), Text("")]
            line = Sparkline(one.timeline, limits, self.ascii_only)
            table.add_row(
                Text(shorten(visible(name), 20)),
                Text("unscored", style="bold yellow") if one.score is None else _word(one.verdict),
                *scores,
                line if _is_video(self.result) else "",
            )
        yield table


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
        yield f"{name} {_segment_line(segment, one.limits)}"
    hidden = len(one.segments) - len(shown)
    if hidden:
        yield f"{name} in {count(hidden, 'more segment')}, none higher; --json has all"


def _segment_line(segment: Segment, limits: Limits | None) -> str:
    peak = show_score(segment.peak, limits)
    if segment.start_s == segment.end_s:
        return f"at {segment.start_s:.1f} s, peak {peak}"
    span = f"{segment.start_s:.1f} to {segment.end_s:.1f} s"
    return f"{span}, peak {peak} at {segment.peak_s:.1f} s"


def _media_line(result: ScanResult) -> str:
    media = result.media
    if media is None:
        return ""
    parts = [media.kind, f"{media.width} x {media.height}", media.codec or "unknown codec"]
    if media.rotation:
        parts.append(f"rotated by {media.rotation} degrees")
    return ", ".join(parts)


def coverage_line(coverage: Coverage, every_s: float | None, *, is_video: bool = True) -> str:
    """Say in one line what was really seen."""
    parts = [count(coverage.frames_scored, "frame")]
    if is_video and coverage.duration_s is not None:
        parts[0] += f" over {coverage.duration_s:.1f} s"
    if is_video and every_s is not None:
        parts.append(f"every {every_s:g} s")
    if is_video and coverage.largest_gap_s is not None:
        parts.append(f"largest gap {coverage.largest_gap_s:.1f} s")
    parts.append("reached the end" if coverage.reached_end else "did not reach the end")
    if coverage.decode_errors:
        parts.append(count(coverage.decode_errors, "decode error"))
    if coverage.discontinuities:
        parts.append(count(coverage.discontinuities, "jump") + " of the time stamps")
    if is_video:
        parts.append(coverage.decode)
    return ", ".join(parts) + ("" if coverage.complete else ": incomplete")


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
    return f"0 to {length_s:.1f} s"


def _highest(element: Mapping[str, Any]) -> float:
    scores = [one["score"] for one in element["categories"].values()]
    return max((score for score in scores if score is not None), default=0.0)


def _why(element: Mapping[str, Any]) -> str:
    """Return its reasons; where all is well, the highest score."""
    if element["reasons"]:
        return "; ".join(element["reasons"])
    scored = {
        name: one["score"]
        for name, one in element["categories"].items()
        if one["score"] is not None
    }
    if not scored:
        return ""
    name = max(scored, key=lambda one: scored[one])
    thresholds = (element.get("made") or {}).get("thresholds", {}).get(name)
    return f"{name} {show_score(scored[name], Limits(**thresholds) if thresholds else None)}"
