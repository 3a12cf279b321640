"""The file behind --resume."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from guardian_cli.errors import UsageError
from guardian_cli.scanning.results_file import Held, ResultsFile


def line(source: str, verdict: str = "allow") -> dict[str, str]:
    return {"schema": "guardian.scan/1", "source": source, "verdict": verdict}


def test_lines_come_back_and_the_newest_counts(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    first = ResultsFile(path)
    first.append(line("a", "error"))
    first.append(line("b"))
    first.append(line("a", "block"))
    first.close()
    again = ResultsFile(path)
    assert {name: held.verdict for name, held in again.held.items()} == {"a": "block", "b": "allow"}
    again.append(line("c"))
    assert list(again.newest("abc")) == [line("a", "block"), line("b"), line("c")]
    again.close()
    assert len(path.read_text().splitlines()) == 4


@pytest.mark.parametrize("cut", range(1, 20))
def test_what_a_kill_left_of_the_last_line_goes(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "out.jsonl"
    whole = json.dumps(line("a")) + "\n"
    path.write_text(whole + json.dumps(line("b"))[:cut])
    results = ResultsFile(path)
    results.append(line("c"))
    results.close()
    assert [json.loads(raw)["source"] for raw in path.read_text().splitlines()] == ["a", "c"]


@pytest.mark.parametrize(
    "tail", [b'{"half', b"\0" * 64, b"   ", b'{"schema": "guardian.scan/1", "s']
)
def test_a_damaged_end_after_our_lines_goes(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(json.dumps(line("a")).encode() + b"\n" + tail)
    results = ResultsFile(path)
    results.append(line("c"))
    results.close()
    assert [json.loads(raw)["source"] for raw in path.read_text().splitlines()] == ["a", "c"]


def test_empty_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text(json.dumps(line("a")) + "\n\n" + json.dumps(line("b")) + "\n\n")
    results = ResultsFile(path)
    assert list(results.newest("ab")) == [line("a"), line("b")]
    results.close()


def test_a_last_line_of_someone_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text(json.dumps(line("a")) + '\n{"mine": 1}')
    with pytest.raises(UsageError, match="not a line of guardian"):
        ResultsFile(path)


def test_a_whole_last_line_without_its_end_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text(json.dumps(line("a")))
    results = ResultsFile(path)
    results.append(line("b"))
    results.close()
    assert [json.loads(raw)["source"] for raw in path.read_text().splitlines()] == ["a", "b"]


@pytest.mark.parametrize(
    "text", ["not json\n", "{}\n", '[1]\n{"schema": 1}\n', "# my notes\nx\n", "x", "\0\1"]
)
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError, match="not a line of guardian"):
        ResultsFile(path)
    assert path.read_text() == text


def test_two_guardians_do_not_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    first = ResultsFile(path)
    with pytest.raises(UsageError, match="another guardian"):
        ResultsFile(path)
    first.close()
    ResultsFile(path).close()


def test_a_file_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be opened"):
        ResultsFile(tmp_path / "none" / "out.jsonl")


def test_addresses_that_look_the_same_are_kept_apart(tmp_path: Path) -> None:
    results = ResultsFile(tmp_path / "out.jsonl")
    results.append({**line("https://host/watch?…", "block"), "source_id": "1" * 32})
    results.append({**line("https://host/watch?…"), "source_id": "2" * 32})
    assert [held.verdict for held in results.held.values()] == ["block", "allow"]
    results.close()


def test_only_a_regular_file_keeps_results(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/null"), tmp_path):
        with pytest.raises(UsageError, match="not a regular file"):
            ResultsFile(path)


def test_a_line_with_an_unknown_verdict_is_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text(json.dumps(line("a", "maybe")) + "\n")
    with pytest.raises(UsageError, match="not a line of guardian"):
        ResultsFile(path)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, None),
        ({"verdict": "block"}, None),
        ({"verdict": "error"}, "failed"),
        ({"degraded": True}, "degraded"),
        ({"coverage": {"timed_out": True}}, "timed out"),
        ({"categories": {"x": {"score": None}, "y": {"score": 0.1}}}, "unscored"),
        ({"made": {"fingerprint": "f2"}}, "other settings"),
        ({"made": None}, "by an older guardian"),
        ({"sha256": "s2"}, "other content"),
        ({"sha256": None}, "other content"),
    ],
)
def test_what_is_held_stands_or_says_why_not(
    tmp_path: Path, change: dict[str, object], why: str | None
) -> None:
    results = ResultsFile(tmp_path / "out.jsonl")
    usual = {"sha256": "s1", "made": {"fingerprint": "f1"}, "categories": {"x": {"score": 0.2}}}
    results.append({**line("a"), **usual, **change})
    results.close()
    again = ResultsFile(tmp_path / "out.jsonl")
    assert again.held["a"].why_again("s1", "f1", frames=False) == why
    again.close()


def test_what_has_no_content_or_no_frames_where_they_are_wanted_does_not_stand() -> None:
    held = Held("allow", None, 0, "f")
    assert held.why_again(None, "f", frames=False) == "other content"
    assert Held("allow", "s", 0, "f").why_again("s", "f", frames=True) == "without frames"
    assert Held("allow", "s", 0, "f", has_frames=True).why_again("s", "f", frames=True) is None
