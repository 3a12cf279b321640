"""The evidence sheet of one source: the verdict, why, what was seen, by whom, by which rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guardian_cli.evidence.chart import Timeline, draw_chart, draw_scale
from guardian_cli.evidence.page import badge, is_number, page, seconds
from guardian_cli.reports.elements import (
    category_severity,
    gravest_first,
    mapping,
    source_severity,
    thresholds_of,
)
from guardian_cli.reports.text import count, escape_html
from guardian_cli.verdict.thresholds import format_score

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# As many as there are stills at most; the chart shows them all.
SEGMENTS_SHOWN = 48
FOUND_PX, ALLOWED_PX = 120, 64


def render_sheet(
    element: Mapping[str, Any],
    stills: Mapping[tuple[str, float], str],
    *,
    root: str = "",
    is_of_batch: bool = False,
) -> str:
    """Return the page of one element of guardian.scan/1.

    `stills` are files in the report's folder, by category and the time of a segment's peak; `root`
    is the way to that folder.
    """
    ordered = list(enumerate(gravest_first(element)))
    found = [one for one in ordered if element["categories"][one[1]]["verdict"] != "allow"]
    allowed = ordered[len(found) :]
    back = f'<a href="{root}index.html">All sources</a>' if is_of_batch else ""
    body = [
        '<header class="top"><p class="brand">guardian <span>evidence sheet</span></p>',
        f"{back}</header>",
        '<main id="main">',
        _verdict(element),
        *(_category(number, name, element, stills, root) for number, name in found),
        '<div class="columns">',
        *(_category(number, name, element, stills, root) for number, name in allowed),
        "</div>",
        '<div class="columns">',
        _coverage(element),
        _policy(element),
        "</div>",
        _detectors(element["detectors"]),
        _provenance(element),
        "</main>",
    ]
    title = f"{element['verdict']}: {element['source']}"
    return page(title, "\n".join(body), root=root)


def _verdict(element: Mapping[str, Any]) -> str:
    verdict, media = element["verdict"], mapping(element["media"])
    grade = source_severity(element)
    when = str(mapping(element.get("made")).get("when") or "")
    facts = [
        (
            "Severity",
            grade.word if grade.number is None else f"{grade.word}, {grade.number:g} of 10",
        ),
        ("Length", _length(element)),
        ("Picture", _picture(media)),
        ("Scanned", when.replace("T", " ").replace("Z", " UTC")),
    ]
    # A verdict without a reason would leave open whether anybody looked.
    reasons = element["reasons"] or ["nothing was found, and all of it was seen"]
    listed = "".join(f"<li>{escape_html(reason)}</li>" for reason in reasons)
    degraded = (
        '<p class="notice">Degraded: a detector failed or is missing.</p>'
        if element["degraded"]
        else ""
    )
    return (
        f'<section class="verdict v-{verdict}" aria-labelledby="source">'
        f'<p>{badge(verdict)}</p><h1 id="source"><bdi>{escape_html(element["source"])}</bdi></h1>'
        f'<ul class="reasons" aria-label="Reasons">{listed}</ul>{degraded}{_facts(facts, "facts")}'
        "</section>"
    )


def _category(
    number: int,
    name: str,
    element: Mapping[str, Any],
    stills: Mapping[tuple[str, float], str],
    root: str,
) -> str:
    one, limits = element["categories"][name], thresholds_of(element, name)
    score = "unscored" if one["score"] is None else format_score(one["score"], limits)
    is_image = mapping(element["media"]).get("kind") == "image"
    if is_image:
        chart = draw_scale(number, name, one["score"], limits)
    else:
        timeline = _timeline(element, name)
        height_px = FOUND_PX if one["verdict"] != "allow" else ALLOWED_PX
        chart = draw_chart(number, name, one, limits, timeline, height_px)
        if not timeline.scores:
            chart += '<p class="quiet">These results hold no scores over time.</p>'
    grade = category_severity(element, name).word
    found = _segments(name, one["segments"], limits, stills, root, is_image=is_image)
    return (
        f'<section class="category" aria-labelledby="category-{number}"><header>'
        f'<h2 id="category-{number}">{escape_html(name)}</h2>'
        f"{badge(one['verdict'], 'unscored' if one['score'] is None else None)}"
        f'<p class="score"><span class="quiet">score</span> <b>{score}</b>'
        f' <span class="quiet">severity {grade}</span></p></header>{chart}{found}</section>'
    )


def _timeline(element: Mapping[str, Any], name: str) -> Timeline:
    """What is stored of a category's scores over time, and how long the source is."""
    # Results from before 0.2.0 have no timeline, and other tools may have changed one.
    stored = mapping(element.get("timeline"))
    step_s, duration_s = stored.get("step_s"), mapping(element["coverage"]).get("duration_s")
    found = mapping(stored.get("scores")).get(name)
    step_s = step_s if is_number(step_s) and isinstance(found, list) else 0.0
    scores = [score if is_number(score) else None for score in found or ()] if step_s > 0 else []
    ends = [part["end_s"] for part in element["categories"][name]["segments"]]
    length_s = float(duration_s) if is_number(duration_s) else max(ends, default=0.0)
    # A container may claim to be shorter than what was seen in it.
    if length_s <= step_s * (len(scores) - 1):
        length_s = step_s * len(scores)
    return Timeline(scores, step_s, length_s)


def _segments(
    name: str,
    segments: Sequence[Mapping[str, Any]],
    limits: Any,
    stills: Mapping[tuple[str, float], str],
    root: str,
    *,
    is_image: bool,
) -> str:
    """The highest segments in the order of time, each with its still where one was kept."""
    if not segments:
        return ""
    # Chosen by height, shown in time: a person follows the video.
    highest = sorted(segments, key=lambda one: -one["peak"])[:SEGMENTS_SHOWN]
    items = []
    for one in sorted(highest, key=lambda one: one["start_s"]):
        span = f"{seconds(one['start_s'])} to {seconds(one['end_s'])}"
        peak = f"peak {format_score(one['peak'], limits)} at {seconds(one['peak_s'])}"
        if is_image:
            span, peak = "the picture", f"score {format_score(one['peak'], limits)}"
        # Rounded as `save_stills` does: a time that went through JSON may differ in its last bit.
        file = stills.get((name, round(one["peak_s"], 6)))
        picture = '<div class="no-still">no still was kept</div>'
        if file is not None:
            label = escape_html(f"Still of {name}, {peak}: show it unblurred")
            picture = (
                # Blurred until it is asked for: who opens a report has not asked to see it.
                f'<button type="button" class="still" aria-pressed="false" aria-label="{label}">'
                f'<img src="{root}{file}" alt="" loading="lazy" decoding="async">'
                '<span aria-hidden="true">Blurred. Click to show.</span></button>'
            )
        items.append(f"<li>{picture}<p><b>{span}</b><br>{peak}</p></li>")
    hidden = len(segments) - len(highest)
    more = f'<p class="quiet">{count(hidden, "more segment")}, none higher.</p>' if hidden else ""
    label = f"Segments of {escape_html(name)}"
    return f'<ul class="segments" aria-label="{label}">{"".join(items)}</ul>{more}'


def _coverage(element: Mapping[str, Any]) -> str:
    seen = mapping(element["coverage"])
    is_image = mapping(element["media"]).get("kind") == "image"
    rows = [
        ("Complete", _yes(seen.get("complete"))),
        ("Frames scored", seen.get("frames_scored")),
        ("Frames decoded", seen.get("frames_decoded")),
    ]
    if not is_image:
        every = mapping(element.get("made")).get("every")
        rows += [
            ("Sampled every", f"{every:g} s" if is_number(every) else None),
            ("Largest gap", _seconds(seen.get("largest_gap_s"))),
            ("Length", _seconds(seen.get("duration_s"))),
            ("Reached the end", _yes(seen.get("reached_end"))),
            ("Jumps of the time stamps", seen.get("discontinuities")),
            ("Decoding", seen.get("decode")),
        ]
    rows += [
        ("Decode errors", seen.get("decode_errors")),
        ("Timed out", _yes(seen.get("timed_out"))),
    ]
    return _section("What was seen", _facts(rows))


def _policy(element: Mapping[str, Any]) -> str:
    made = mapping(element.get("made"))
    rows: list[tuple[str, Any]] = []
    for name in mapping(made.get("thresholds")):
        limits = thresholds_of(element, name)
        if limits is not None:
            edges = format_score(limits.review), format_score(limits.block)
            rows.append((name, f"review from {edges[0]}, block from {edges[1]}"))
    rows += [(f"If {rule}", level) for rule, level in _items(made.get("policy"))]
    rows += [(f"Weight {name}", weight) for name, weight in _items(made.get("fusion"))]
    return _section("The rules that were applied", _facts(rows))


def _detectors(detectors: Iterable[Mapping[str, Any]]) -> str:
    rows = []
    for one in detectors:
        latency = mapping(one.get("latency_ms"))
        # Only endpoints have latencies, and only where they answered.
        figures = [f"{latency[name]:g}" for name in ("p50", "p95") if is_number(latency.get(name))]
        answered = [f"{name}: {frames}" for name, frames in _items(one.get("deployments"))]
        status = escape_html(one.get("status"))
        why = escape_html(f": {one['reason']}") if one.get("reason") else ""
        said = [*([f"{' / '.join(figures)} ms"] if figures else []), *answered]
        cells = [
            f'<th scope="row">{escape_html(one.get("name"))}</th>',
            f"<td>{escape_html(one.get('category') or 'all')}</td>",
            f'<td><span class="status s-{status}">{status}</span>{why}</td>',
            f'<td class="number">{escape_html(one.get("frames", ""))}</td>',
            f"<td>{escape_html(', '.join(said))}</td>",
            f'<td class="long">{escape_html(one.get("model") or "")}</td>',
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    heads = ("Detector", "Category", "Health", "Frames", "Latency p50 / p95, deployments", "Model")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    scroll = f'<div class="scroll" tabindex="0" role="region" aria-label="Detectors">{table}</div>'
    return _section("Detectors and their health", scroll)


def _provenance(element: Mapping[str, Any]) -> str:
    made = mapping(element.get("made"))
    rows = [
        ("Content", f"sha256:{element['sha256']}" if element["sha256"] else "no file"),
        ("Made by", f"guardian {made['guardian']}" if "guardian" in made else None),
        ("When", made.get("when")),
        ("Configuration", made.get("fingerprint")),
        *((f"Prompts {name}", digest) for name, digest in _items(made.get("prompts"))),
        *((f"Weights {name}", digest) for name, digest in _items(made.get("weights"))),
        *((f"Endpoint {name}", uri) for name, uri in _items(made.get("endpoints"))),
    ]
    timing = mapping(element["timing"])
    if is_number(timing.get("wall_s")):
        rows.append(("Took", f"{timing['wall_s']:.1f} s"))
    return _section("Where it comes from", _facts(rows, "digests"))


def _section(title: str, content: str) -> str:
    return f'<section class="card"><h2>{title}</h2>{content}</section>'


def _facts(rows: Iterable[tuple[str, Any]], kind: str = "") -> str:
    listed = "".join(
        f"<div><dt>{escape_html(name)}</dt><dd>{escape_html(value)}</dd></div>"
        for name, value in rows
        if value is not None and value != ""
    )
    return f'<dl class="{kind}">{listed}</dl>' if listed else '<p class="quiet">Not known.</p>'


def _items(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def _yes(value: Any) -> str | None:
    return None if value is None else "yes" if value else "no"


def _seconds(value: Any) -> str | None:
    return seconds(value) if is_number(value) else None


def _length(element: Mapping[str, Any]) -> str | None:
    if mapping(element["media"]).get("kind") == "image":
        return "a picture"
    return _seconds(mapping(element["coverage"]).get("duration_s"))


def _picture(media: Mapping[str, Any]) -> str | None:
    if not media:
        return None
    turned = f", rotated by {media['rotation']}°" if media.get("rotation") else ""
    codec = media.get("codec") or "unknown codec"
    return f"{media.get('width')} × {media.get('height')}, {codec}{turned}"
