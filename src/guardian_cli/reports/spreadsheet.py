"""The output format `csv`: a row for each segment, and one for a source without any.

A spreadsheet runs a cell that begins with `=`, `+`, `-` or `@` as a formula. Such a cell, and one
that begins with a tab, a line break or an apostrophe, gets an apostrophe in front, which a reader
that wants the exact text takes away again: exactly one, wherever a cell begins with one.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from guardian_cli.reports.elements import (
    category_severity,
    mapping,
    source_severity,
    thresholds_of,
    worst_category,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from guardian_cli.reports.formats import BatchReport

COLUMNS = (
    "source", "sha256", "verdict", "severity", "severity_number", "category", "category_verdict",
    "category_severity", "score", "review", "block", "start_s", "end_s", "peak", "peak_s",
    "reasons", "degraded", "complete", "duration_s", "frames_scored", "error_kind", "error",
    "when", "fingerprint",
)  # fmt: skip
# The apostrophe as well, or a reader could not tell whose a first one is.
GUARDED = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


def render_csv(report: BatchReport) -> str:
    """Return the output format `csv`, a line of headings first."""
    text = io.StringIO()
    # All quoted: a lone carriage return in a name would end the row otherwise.
    writer = csv.DictWriter(text, COLUMNS, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writeheader()
    for element in report.scans:
        for row in _rows(element):
            # Numbers too: a negative one begins as a formula does.
            writer.writerow({name: guard(row.get(name)) for name in COLUMNS})
    return text.getvalue()


def guard(value: Any) -> str:
    """Return a cell that no spreadsheet takes for a formula; nothing for None."""
    if value is None:
        return ""
    # As JSON and spreadsheets write them; Python alone has capitals.
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"'{text}" if text.startswith(GUARDED) else text


def _rows(element: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    coverage, error, made = (mapping(element.get(name)) for name in ("coverage", "error", "made"))
    word, number = source_severity(element)
    about_source = {
        **{name: element[name] for name in ("source", "sha256", "verdict", "degraded")},
        **{name: coverage.get(name) for name in ("complete", "duration_s", "frames_scored")},
        "severity": word,
        "severity_number": number,
        "reasons": "; ".join(element["reasons"]),
        "error_kind": error.get("kind"),
        "error": error.get("message"),
        "when": made.get("when"),
        "fingerprint": made.get("fingerprint"),
    }
    found = [name for name, one in element["categories"].items() if one["segments"]]
    worst = worst_category(element)
    # Without a segment the gravest category says how near it came.
    for name in found or ([worst] if worst is not None else []):
        one, limits = element["categories"][name], thresholds_of(element, name)
        about_category = {
            "category": name,
            "category_verdict": one["verdict"],
            "category_severity": category_severity(element, name).word,
            "score": one["score"],
            "review": limits.review if limits else None,
            "block": limits.block if limits else None,
        }
        for segment in one["segments"] or [{}]:
            yield {**about_source, **about_category, **segment}
    if worst is None:
        yield about_source
