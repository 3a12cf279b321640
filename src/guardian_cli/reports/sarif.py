"""The output format `sarif`: SARIF 2.1.0, a rule for each category.

A category that calls for review is a warning, one that blocks an error. Where the policy raised a
source's verdict above its categories', the rule `policy` says so. A source that could not be
scanned is a notification, one that is allowed an artifact without a result.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from guardian_cli import __version__
from guardian_cli.reports.document import dumps
from guardian_cli.reports.elements import category_severity, mapping
from guardian_cli.verdict.policy import worst
from guardian_cli.verdict.severity import Severity, severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from guardian_cli.reports.formats import BatchReport

SCHEMA_URI = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
LEVELS = {"review": "warning", "block": "error"}
POLICY_RULE = "policy"


def render_sarif(report: BatchReport) -> str:
    """Return the output format `sarif`: a log of one run."""
    results: list[dict[str, Any]] = []
    notifications: list[dict[str, Any]] = []
    for number, element in enumerate(report.scans):
        if element["verdict"] == "error":
            notifications.append(_notification(element, number))
        else:
            results += _results(element, number)
    run = {
        "tool": {"driver": _driver(report.scans, results)},
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {
                "executionSuccessful": not (notifications or report.is_partial),
                "toolExecutionNotifications": notifications,
            }
        ],
        "artifacts": [_artifact(element) for element in report.scans],
        "results": results,
        "properties": {"skipped": dict(report.skipped), "interrupted": report.interrupted},
    }
    return dumps({"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [run]}, indent=2)


def to_uri(source: str) -> str:
    """Return a source's name as a URI reference; unquoted it is the name again."""
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", source):
        return quote(source, safe=":/?#[]@!$&'()*+,;=%~", errors="backslashreplace")
    # An absolute path's two slashes in front would read as a host.
    scheme = "file://" if source.startswith("/") else ""
    return scheme + quote(source, safe="/~", errors="backslashreplace")


def _driver(
    elements: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The tool with its rules: the categories that were looked for, and the policy."""
    names = dict.fromkeys(name for element in elements for name in element["categories"])
    rules = []
    for name in [*names, POLICY_RULE]:
        grades = [
            one["properties"]["security-severity"] for one in results if one["ruleId"] == name
        ]
        if name == POLICY_RULE:
            text = "The policy asks for more than the categories' scores do."
            if name in names:
                continue
        else:
            text = f"The category {name} was found."
        rules.append(
            {
                "id": name,
                "shortDescription": {"text": text},
                "defaultConfiguration": {"level": "warning"},
                # The rule's is the highest of its results': GitHub reads it here only.
                "properties": {"security-severity": max(grades, key=float, default="0.0")},
            }
        )
    return {"name": "guardian", "semanticVersion": __version__, "rules": rules}


def _results(element: Mapping[str, Any], number: int) -> Iterator[dict[str, Any]]:
    """A result for each category that is not allowed, or one that says what the policy raised."""
    verdicts = {name: one["verdict"] for name, one in element["categories"].items()}
    for name, verdict in verdicts.items():
        if verdict in LEVELS:
            # A reason begins with its category; what follows tells `weapons` from `weapons-toy`.
            own = [one for one in element["reasons"] if re.match(rf"{re.escape(name)}[ :]", one)]
            text = "; ".join(own) or f"{name}: {verdict}"
            yield _result(element, number, name, verdict, text, category_severity(element, name))
    verdict = element["verdict"]
    if verdict in LEVELS and worst([*verdicts.values(), "allow"]) != verdict:
        text = "; ".join(element["reasons"]) or verdict
        yield _result(element, number, POLICY_RULE, verdict, text, severity(verdict))


def _result(
    element: Mapping[str, Any], number: int, rule: str, verdict: str, text: str, grade: Severity
) -> dict[str, Any]:
    one = element["categories"].get(rule) or {}
    result = {
        "ruleId": rule,
        "level": LEVELS[verdict],
        "message": {"text": text},
        "locations": [_location(element, number)],
        # SARIF ranks from 0 to 100, severities go to 10.
        "rank": round(10 * (grade.number or 0.0), 1),
        "properties": {
            "verdict": verdict,
            "severity": grade.word,
            # GitHub reads it as a string only.
            "security-severity": str(grade.number),
            "score": one.get("score"),
            "segments": one.get("segments", []),
        },
    }
    if element["sha256"]:
        # By content: a file that was renamed keeps its alert, and what somebody decided about it.
        result["partialFingerprints"] = {"contentAndRule/v1": f"{element['sha256']}:{rule}"}
    return result


def _notification(element: Mapping[str, Any], number: int) -> dict[str, Any]:
    error = mapping(element["error"])
    text = str(error.get("message") or "; ".join(element["reasons"]) or "could not be scanned")
    return {
        "level": "error",
        "message": {"text": text},
        "descriptor": {"id": str(error.get("kind") or "error")},
        "locations": [_location(element, number)],
    }


def _location(element: Mapping[str, Any], number: int) -> dict[str, Any]:
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": to_uri(element["source"]), "index": number}
        }
    }


def _artifact(element: Mapping[str, Any]) -> dict[str, Any]:
    artifact: dict[str, Any] = {
        "location": {"uri": to_uri(element["source"])},
        "roles": ["analysisTarget"],
        "properties": {"source": element["source"], "verdict": element["verdict"]},
    }
    if "source_id" in element:
        # Addresses may look alike once masked, and SARIF lists no artifact twice.
        artifact["properties"]["source_id"] = element["source_id"]
    if element["sha256"]:
        artifact["hashes"] = {"sha-256": element["sha256"]}
    return artifact
