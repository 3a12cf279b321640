"""Stored results: documents and lines, the newest of each source, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from guardian_cli.errors import UsageError
from guardian_cli.reports.document import document, dumps, to_dict, to_line
from guardian_cli.reports.results_file import read_results
from tests.reports.samples import failed, image, video

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results"


def test_the_newest_line_of_a_source_counts_in_the_order_of_their_first(path: Path) -> None:
    lines = [to_line(failed("b")), to_line(video("a")), to_line(image("b"))]
    path.write_text("\n".join(dumps(line) for line in lines) + "\n\n")
    found = list(read_results(path))
    assert [(one["source"], one["verdict"]) for one in found] == [("b", "allow"), ("a", "review")]
    assert found[1] == json.loads(dumps(lines[1]))


@pytest.mark.parametrize("indent", [None, 2])
def test_a_document_says_the_same_as_its_lines(path: Path, indent: int | None) -> None:
    results = [video(), failed(), image()]
    path.write_text(dumps(document([to_dict(one) for one in results]), indent=indent))
    assert list(read_results(path)) == [json.loads(dumps(to_line(one))) for one in results]


def test_what_a_kill_cut_off_is_left_out(path: Path) -> None:
    whole = dumps(to_line(image()))
    path.write_text(f"{whole}\n{whole[:200]}")
    assert len(list(read_results(path))) == 1
    path.write_text(whole)
    assert len(list(read_results(path))) == 1
    path.write_text("\n")
    assert not list(read_results(path))
    for length in (1, 20, 60, len(whole) - 1):
        path.write_text(whole[:length])
        assert not list(read_results(path))


def test_a_line_that_was_cut_down_has_every_required_field(path: Path) -> None:
    path.write_text('{"schema": "guardian.scan/1", "source": "a", "verdict": "allow"}\n')
    (only,) = read_results(path)
    assert (only["categories"], only["error"], only["reasons"]) == ({}, None, [])


def test_null_is_nothing(path: Path) -> None:
    """Other tools write it for what is empty."""
    line = {**LINE, "reasons": None, "detectors": None, "coverage": None, "needs_rescan": None}
    category = {"score": None, "segments": None, "verdict": None}
    path.write_text(json.dumps({**line, "categories": {"nsfw": category}}) + "\n")
    (only,) = read_results(path)
    assert (only["reasons"], only["detectors"], only["coverage"]) == ([], [], {})
    assert only["categories"] == {"nsfw": {"score": None, "segments": [], "verdict": "review"}}
    assert only["needs_rescan"] is None


LINE: dict[str, Any] = {"schema": "guardian.scan/1", "source": "a", "verdict": "allow"}
SEGMENT = {"start_s": 0, "end_s": 1, "peak": 1, "peak_s": 0}


@pytest.mark.parametrize(
    "value",
    [
        {**LINE, "verdict": "maybe"},
        {**LINE, "source": 1},
        {**LINE, "source_id": ["a"]},
        {**LINE, "categories": {"nsfw": 1}},
        {**LINE, "categories": {"nsfw": {"score": "high"}}},
        {**LINE, "categories": {"nsfw": {"score": 7}}},
        {**LINE, "categories": {"nsfw": {"segments": [1]}}},
        {**LINE, "categories": {"nsfw": {"segments": [{**SEGMENT, "peak": -1}]}}},
        {**LINE, "categories": {"nsfw": {"segments": {"a": 1}}}},
        {**LINE, "coverage": {"duration_s": 1e308}},
        {**LINE, "coverage": {"duration_s": 10**400}},
        {**LINE, "reasons": [1]},
        {**LINE, "detectors": "clip"},
        {**LINE, "detectors": [{"category": ["nsfw"]}]},
        {**LINE, "detectors": [{"category": 1}]},
        {**LINE, "detectors": [{"deployments": {"version-1": "all"}}]},
        {**LINE, "detectors": [{"latency_ms": {"p50": "31 ms"}}]},
        {**LINE, "categories": {"nsfw": {"score": 10**400}}},
        {"schema": "guardian.scan/1", "scans": [1]},
        {"schema": "guardian.train/1", "scans": []},
        [LINE],
    ],
)
def test_anything_else_is_refused_with_a_hint(path: Path, value: Any) -> None:
    for text in (json.dumps(value) + "\n", json.dumps(LINE) + "\n" + json.dumps(value) + "\n"):
        path.write_text(text)
        with pytest.raises(UsageError, match=r"results: |:[12]: not") as refused:
            list(read_results(path))
        assert refused.value.hint


@pytest.mark.parametrize("data", [b"\0" * 100, b"[" * 100_000, b"verdict,source\n"])
def test_what_is_no_json_is_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(UsageError, match="holds no results"):
        list(read_results(path))
    path.unlink()
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        list(read_results(path))
