"""The index of many sources: its page, and the rows that the page's script shows."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from guardian_cli.evidence.page import MARKS, badge, page, seconds
from guardian_cli.reports.elements import (
    mapping,
    source_severity,
    thresholds_of,
    worst_category,
    worst_first,
)
from guardian_cli.reports.text import count, escape_html, visible
from guardian_cli.verdict.policy import WORST_FIRST
from guardian_cli.verdict.thresholds import format_score

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardian_cli.reports.formats import BatchReport

ROWS = "rows.js"


def render_rows(pages: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Return the script with a row for each source, the worst first.

    `pages` are the elements with their files. It is a script because a page that is opened from a
    disk may load no other data.
    """
    # By identity: two addresses may read the same once their secrets are masked.
    by_id = {id(element): file for file, element in pages}
    rows = [[by_id[id(one)], *_row(one)] for one in worst_first([one for _, one in pages])]
    lines = ",\n".join(json.dumps(row) for row in rows)
    return f"const guardianRows = [\n{lines}\n];\n"


def render_index(report: BatchReport) -> str:
    """Return the page that lists all sources; its rows are in ROWS."""
    scans = report.scans
    verdicts = Counter(element["verdict"] for element in scans)
    found: Counter[str] = Counter()
    for element in scans:
        # Those that were looked for and never found are listed with 0.
        found.update({name: name in _found(element) for name in element["categories"]})
    buttons = "".join(
        f'<button type="button" class="filter v-{name}" data-verdict="{name}" aria-pressed="false">'
        f'<span aria-hidden="true">{MARKS[name]}</span> {name} <b>{verdicts[name]:,}</b></button>'
        for name in WORST_FIRST
    )
    options = '<option value="">any category</option>' + "".join(
        f'<option value="{escape_html(name)}">{escape_html(name)} ({number:,})</option>'
        for name, number in sorted(found.items(), key=lambda one: (-one[1], one[0]))
    )
    notes = []
    if report.skipped:
        left_out = ", ".join(f"{number:,} {reason}" for reason, number in report.skipped.items())
        notes.append(f"Left out: {left_out}.")
    if report.is_partial:
        what = "Interrupted" if report.interrupted else "Incomplete"
        # A document of an interrupted scan does not say how many there were to be.
        lost = f"{report.unscanned:,} more were" if report.unscanned else "some sources were"
        notes.append(f"{what}: {lost} not scanned.")
    told = "".join(f'<p class="notice">{escape_html(note)}</p>' for note in notes)
    verdict = report.verdict
    body = f"""<header class="top"><p class="brand">guardian <span>evidence</span></p></header>
<main id="main">
<section class="verdict v-{verdict}"><p>{badge(verdict)}</p>
<h1>{count(len(scans), "source")}</h1>{told}</section>
<section aria-label="Sources">
<form class="filters" role="search">
<div role="group" aria-label="Verdict">{buttons}</div>
<label>Found <select name="category">{options}</select></label>
<label>Search <input type="search" name="q" placeholder="name or reason" autocomplete="off"></label>
</form>
<p id="shown" class="quiet" role="status"></p>
<table class="sources"><thead><tr><th scope="col">Verdict</th><th scope="col">Source</th>
<th scope="col">Highest</th><th scope="col">Why</th></tr></thead><tbody id="rows"></tbody></table>
<p><button type="button" id="more" hidden>Show more</button></p>
<noscript><p class="notice">The list needs its script, {ROWS}, beside this page. The sheets in the
folder sources can be opened without it.</p></noscript>
</section>
</main>"""
    title = f"{verdict}: {count(len(scans), 'source')}"
    return page(title, body, scripts=(ROWS,) if scans else ())


def _row(element: Mapping[str, Any]) -> list[Any]:
    """Verdict, source, highest category and score, severity, why, length, what was found."""
    name = worst_category(element)
    score = element["categories"][name]["score"] if name is not None else None
    shown = "" if score is None else format_score(score, thresholds_of(element, str(name)))
    is_image = mapping(element["media"]).get("kind") == "image"
    length_s = mapping(element["coverage"]).get("duration_s")
    length = "picture" if is_image else seconds(length_s) if length_s is not None else ""
    return [
        element["verdict"],
        visible(element["source"]),
        visible(name or ""),
        shown,
        source_severity(element).word,
        [visible(reason) for reason in element["reasons"]],
        length,
        [visible(one) for one in _found(element)],
    ]


def _found(element: Mapping[str, Any]) -> list[str]:
    """The categories that are not allowed."""
    return [name for name, one in element["categories"].items() if one["verdict"] != "allow"]
