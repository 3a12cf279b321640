"""The output format `table`: one source in full, many sources in a row each."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from guardian_cli.reports.elements import thresholds_of
from guardian_cli.reports.text import count, shorten, shorten_path, visible
from guardian_cli.verdict.policy import WORST_FIRST
from guardian_cli.verdict.thresholds import format_score

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    from guardian_cli.reports.formats import BatchReport
    from guardian_cli.verdict.result import CategoryVerdict, Outcome, ScanResult
    from guardian_cli.verdict.thresholds import Thresholds

STYLES: dict[Outcome, str] = {
    "allow": "bold green",
    "review": "bold yellow",
    "block": "bold red",
    "error": "bold magenta",
}
SEGMENTS_SHOWN = 12
# Fewer cells than this are no room for a category's thresholds.
NARROW = 50
BLOCKS = "▁▂▃▄▅▆▇█"
UNSCORED = "?"


def render_batch(report: BatchReport) -> RenderableType:
    """Return the table of a run: all about its only source, or a row for each."""
    if report.only is not None:
        return render_one(report.only)
    total = ""
    if report.took_s is not None:
        total = f" in {report.took_s:.1f} s"
        if report.scored_frames:
            total += f", {report.scored_frames / max(report.took_s, 1e-6):.0f} frames/s"
    if report.unscanned:
        total += f"; {report.unscanned} more were not scanned"
    return render_many(report.scans, total)


def render_one(result: ScanResult) -> RenderableType:
    """Return everything known about one source."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    headline = _grid()
    headline.add_row(_word(result.verdict), Text(visible(result.source), style="bold"))
    for reason in result.reasons:
        headline.add_row("", Text(visible(reason)))
    parts: list[RenderableType] = [headline]
    if result.categories:
        parts += ["", Padding(Categories(result), (0, 0, 0, 2))]
    facts = _grid(style="dim")
    # A label stands once above all of its lines.
    shown = ""
    for label, value in _facts(result):
        facts.add_row("" if label == shown else label, Text(visible(value)))
        shown = label
    return Group(*parts, "", Padding(facts, (0, 0, 0, 2)))


def render_many(elements: Iterable[Mapping[str, Any]], total: str) -> RenderableType:
    """Return a row for each element of guardian.scan/1, the worst first, and a line with the sums.

    `total` follows the sums: how long it took, how fast it was.
    """
    from rich.console import Group
    from rich.text import Text

    def highest(element: Mapping[str, Any]) -> float:
        return max((one["score"] or 0.0 for one in element["categories"].values()), default=0.0)

    # Not the elements themselves: of a million, each unpacked when it is wanted, only these lines.
    lines = [
        (
            (WORST_FIRST.index(one["verdict"]), -highest(one)),
            (one["verdict"], visible(one["source"]), visible(_why(one))),
        )
        for one in elements
    ]
    rows = [row for _, row in sorted(lines, key=lambda line: line[0])]
    verdicts = [verdict for verdict, _, _ in rows]
    sums = Text(f"{count(len(rows), 'source')}: ")
    for at, verdict in enumerate(one for one in WORST_FIRST if one in verdicts):
        sums.append(", " if at else "")
        sums.append(f"{verdicts.count(verdict)} {verdict}", style=STYLES[verdict])
    sums.append(total)
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
            # In a pipe a name stays whole, for whatever reads it.
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


@dataclass(frozen=True, slots=True)
class Categories:
    """A row for each category; where there is little room without its thresholds."""

    result: ScanResult

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        from rich.table import Table
        from rich.text import Text

        is_video, length_s = _is_video(self.result), self.result.coverage.duration_s
        is_wide = options.max_width >= NARROW
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        table.add_column("category", no_wrap=True)
        table.add_column("verdict", no_wrap=True)
        for heading in ("score", "review", "block") if is_wide else ("score",):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column(f"0 to {length_s:.1f} s" if is_video and length_s is not None else "")
        for name, one in self.result.categories.items():
            limits = one.thresholds
            scores = [Text("-" if one.score is None else format_score(one.score, limits))]
            if is_wide:
                ends = (limits.review, limits.block) if limits else ()
                scores += [Text(format_score(at), "dim") for at in ends] or [Text(""), Text("")]
            table.add_row(
                Text(shorten(visible(name), 20)),
                Text("unscored", style="bold yellow") if one.score is None else _word(one.verdict),
                *scores,
                Sparkline(one.timeline, limits) if is_video else "",
            )
        yield table


@dataclass(frozen=True, slots=True)
class Sparkline:
    """A timeline of scores in one line of characters, as wide as its column lets it.

    From 0 to 1 in eight steps, coloured by the thresholds; high peaks are never averaged away.
    """

    cells: tuple[float | None, ...]
    thresholds: Thresholds | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text

        text = Text(no_wrap=True, overflow="crop", end="")
        width = min(max(1, options.max_width), len(self.cells))
        edges = [round(i * len(self.cells) / width) for i in range(width + 1)] if width else []
        for start, end in pairwise(edges):
            # Of several cells under one character the highest is shown: a flash must not vanish.
            scored = [cell for cell in self.cells[start:end] if cell is not None]
            peak = max(scored, default=None)
            # Seven, not eight: a score of 1 has the last block, like those just below it.
            character = UNSCORED if peak is None else BLOCKS[min(7, int(peak * 8))]
            text.append(character, style=self._style(peak))
        yield text

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.measure import Measurement

        wide = len(self.cells)
        # It may shrink to eight cells before any other column is wrapped.
        return Measurement(min(8, wide), min(wide, options.max_width))

    def _style(self, peak: float | None) -> str:
        if peak is None or self.thresholds is None:
            return "dim"
        if peak >= self.thresholds.block:
            return "red"
        return "yellow" if peak >= self.thresholds.review else "green"


def _facts(result: ScanResult) -> Iterator[tuple[str, str]]:
    """Lines with a label each: what was found, seen and used."""
    if _is_video(result):
        for name, one in result.categories.items():
            for line in _segments(name, one):
                yield "found", line
    media = result.media
    if media is not None:
        parts = [media.kind, f"{media.width} x {media.height}", media.codec or "unknown codec"]
        if media.rotation:
            parts.append(f"rotated by {media.rotation} degrees")
        yield "media", ", ".join(parts)
    yield "saw", _coverage(result)
    for detector in result.detectors:
        has_scored = detector.status in ("ok", "degraded")
        # A reason that stands above, among the verdict's, is not said twice.
        is_said = any(f": {detector.reason}" in reason for reason in result.reasons)
        model = f" {detector.model}" if detector.model else ""
        frames = f", {count(detector.frames, 'frame')}" if has_scored else ""
        frames += f", {detector.not_sent} not sent" if detector.not_sent else ""
        reason = f" ({detector.reason})" if detector.reason and not is_said else ""
        text = f"{detector.label}{model}: {detector.status}{frames}{reason}"
        yield "scored by" if has_scored else "without", text
    timing = result.timing
    yield (
        "took",
        f"{timing.wall_s:.1f} s ({timing.decode_s:.1f} s decoding, {timing.score_s:.1f} s scoring)",
    )


def _segments(name: str, one: CategoryVerdict) -> Iterator[str]:
    # Of hundreds of segments the highest are shown, in the order of time.
    highest = sorted(one.segments, key=lambda segment: -segment.peak)[:SEGMENTS_SHOWN]
    for segment in sorted(highest, key=lambda segment: segment.start_s):
        peak = format_score(segment.peak, one.thresholds)
        if segment.start_s == segment.end_s:
            yield f"{name} at {segment.start_s:.1f} s, peak {peak}"
        else:
            span = f"{segment.start_s:.1f} to {segment.end_s:.1f} s"
            yield f"{name} {span}, peak {peak} at {segment.peak_s:.1f} s"
    hidden = len(one.segments) - len(highest)
    if hidden:
        yield f"{name} in {count(hidden, 'more segment')}, none higher; --json has all"


def _coverage(result: ScanResult) -> str:
    """What was really seen, in one line."""
    coverage, is_video = result.coverage, _is_video(result)
    parts = [count(coverage.frames_scored, "frame")]
    if is_video and coverage.duration_s is not None:
        parts[0] += f" over {coverage.duration_s:.1f} s"
    if is_video and result.every_s is not None:
        parts.append(f"every {result.every_s:g} s")
    # A gap is where something could have been missed, so it stands beside the interval.
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


def _why(element: Mapping[str, Any]) -> str:
    """Return its reasons; where all is well, the highest score."""
    if element["reasons"]:
        return "; ".join(element["reasons"])
    scores = {name: one["score"] for name, one in element["categories"].items()}
    scored = {name: score for name, score in scores.items() if score is not None}
    if not scored:
        return ""
    name = max(scored, key=lambda one: scored[one])
    return f"{name} {format_score(scored[name], thresholds_of(element, name))}"


def _grid(style: str = "") -> Table:
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style=style, no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def _word(verdict: Outcome) -> Text:
    from rich.text import Text

    return Text(verdict.upper(), style=STYLES[verdict])


def _is_video(result: ScanResult) -> bool:
    return result.media is None or result.media.kind == "video"
