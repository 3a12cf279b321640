"""The output format `junit`: a test case for each source, as CI systems read it.

Review and block are failures, a source that could not be scanned is an error.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

from guardian_cli.reports.elements import mapping, source_severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardian_cli.reports.formats import BatchReport

# What XML 1.0 cannot hold, not even as a character reference.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(report: BatchReport) -> str:
    """Return the output format `junit`: one suite, its test cases in the order of the sources."""
    verdicts = [element["verdict"] for element in report.scans]
    counts = {
        "tests": len(verdicts),
        "failures": sum(verdict in {"review", "block"} for verdict in verdicts),
        "errors": verdicts.count("error"),
        # For readers that add all of these up: nothing is ever skipped.
        "skipped": 0,
    }
    seconds = sum(_seconds(element) for element in report.scans)
    totals = {name: str(number) for name, number in counts.items()} | {"time": f"{seconds:.3f}"}
    suites = ET.Element("testsuites", {"name": "guardian", **totals})
    when = max(
        (str(mapping(element.get("made")).get("when") or "") for element in report.scans),
        default="",
    )
    # What CI systems take for an ISO 8601 time has no zone.
    stamp = {"timestamp": when.removesuffix("Z")} if when else {}
    suite = ET.SubElement(suites, "testsuite", {"name": "guardian scan", **totals, **stamp})
    for element in report.scans:
        _add_case(suite, element)
    # For people: CI systems do not care, and a diff of two runs is readable.
    ET.indent(suites)
    text = ET.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def printable(text: str) -> str:
    """Return text that XML can hold: what it cannot becomes a visible escape."""
    return _NO_XML.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def _add_case(suite: ET.Element, element: Mapping[str, Any]) -> None:
    seconds = _seconds(element)
    name = printable(element["source"])
    # GitLab links `file`; Jenkins and others show the names.
    case = {"classname": "guardian.scan", "name": name, "file": name, "time": f"{seconds:.3f}"}
    added = ET.SubElement(suite, "testcase", case)
    verdict, reasons = element["verdict"], [printable(reason) for reason in element["reasons"]]
    if verdict == "allow":
        return
    kind = verdict
    if verdict == "error":
        kind = printable(str(mapping(element["error"]).get("kind", "error")))
    message = f"{verdict}: {'; '.join(reasons)}" if reasons else verdict
    outcome = "error" if verdict == "error" else "failure"
    told = ET.SubElement(added, outcome, {"message": message, "type": kind})
    # The message is one line in most CI systems; the text behind it has all.
    lines = [*reasons, f"severity {source_severity(element).word}"]
    for category, one in element["categories"].items():
        lines += [
            f"{printable(category)} {part['start_s']} to {part['end_s']} s,"
            f" peak {part['peak']} at {part['peak_s']} s"
            for part in one["segments"]
        ]
    told.text = "\n".join(lines)


def _seconds(element: Mapping[str, Any]) -> float:
    wall_s = mapping(element.get("timing")).get("wall_s")
    return wall_s if isinstance(wall_s, int | float) else 0.0
