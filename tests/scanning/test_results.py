"""Results on stdout, in the files of --output, and in the file behind --resume."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from guardian_cli.console import Console
from guardian_cli.errors import UsageError
from guardian_cli.media.sources import Source
from guardian_cli.scanning.results import HeldResult, ResultsFile, ResultWriter
from guardian_cli.verdict.policy import exit_code
from tests.reports.samples import failed, image, video

if TYPE_CHECKING:
    from guardian_cli.verdict.result import ScanResult


class Run:
    """One run of guardian with `--resume`, as far as its results go."""

    def __init__(self, path: Path | None, names: str, output: str = "json") -> None:
        self.sources = [Source("file", name, name) for name in names]
        self.out, self.err = io.StringIO(), io.StringIO()
        console = Console(out=self.out, err=self.err)
        self.writer = ResultWriter(console, self.sources, output, resume=path)

    def scan(
        self,
        results: dict[str, ScanResult],
        fingerprint: str = "f1",
        sha256: str = "0" * 64,
        *,
        interrupted: bool = False,
    ) -> int:
        with self.writer:
            for source in self.sources:
                if self.writer.is_done(source, sha256, lambda: fingerprint):
                    continue
                if source.shown in results:
                    made = {"fingerprint": fingerprint, "thresholds": {}}
                    result = replace(results[source.shown], source=source.shown, made=made)
                    self.writer.put(replace(result, sha256=sha256, degraded=False))
            return exit_code(self.writer.finish(interrupted=interrupted))

    @property
    def scans(self) -> dict[str, str]:
        return {scan["source"]: scan["verdict"] for scan in self.document["scans"]}

    @property
    def document(self) -> Any:
        return json.loads(self.out.getvalue())


def test_strangers_in_the_file_count_neither_for_the_exit_code_nor_for_the_document(
    tmp_path: Path,
) -> None:
    path = tmp_path / "d.jsonl"
    assert Run(path, "ab").scan({"a": image(score=0.93), "b": image()}) == 11
    again = Run(path, "bc")
    assert again.scan({"c": image()}) == 0
    assert again.scans == {"b": "allow", "c": "allow"}
    assert "1 done already\n" in again.err.getvalue()
    stands = Run(path, "a")
    assert stands.scan({}) == 11
    assert stands.scans == {"a": "block"}


def test_other_settings_and_other_content_are_scanned_again_and_it_says_why(
    tmp_path: Path,
) -> None:
    path = tmp_path / "d.jsonl"
    Run(path, "abc").scan({"a": image(), "b": image(), "c": failed()})
    strict = Run(path, "abc")
    assert strict.scan({"a": image(score=0.93), "b": image(), "c": image()}, "f2") == 11
    assert "0 done already, 3 again: 2 other settings, 1 failed\n" in strict.err.getvalue()
    changed = Run(path, "abc")
    assert changed.scan({"a": image(), "b": image(), "c": image()}, "f2", "1" * 64) == 0
    assert "0 done already, 3 again: 3 other content\n" in changed.err.getvalue()
    assert len(path.read_text().splitlines()) == 9


def test_the_fingerprint_is_asked_for_only_where_it_decides(tmp_path: Path) -> None:
    def never() -> str:
        raise AssertionError("it would have to wait for a model")

    path = tmp_path / "d.jsonl"
    Run(path, "ac").scan({"a": image(), "c": failed()})
    run = Run(path, "abc")
    with run.writer as writer:
        assert not writer.is_done(run.sources[0], "1" * 64, never), "other content"
        assert not writer.is_done(run.sources[1], "0" * 64, never), "nothing is held"
        assert not writer.is_done(run.sources[2], "0" * 64, never), "it failed"


def test_lines_are_printed_for_new_results_only(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    Run(path, "a").scan({"a": image()})
    run = Run(path, "ab", "jsonl")
    run.scan({"b": image()})
    assert [json.loads(line)["source"] for line in run.out.getvalue().splitlines()] == ["b"]


def test_the_table_has_what_stands_too_the_worst_first(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    Run(path, "ab").scan({"a": image(), "b": video()})
    run = Run(path, "abc", "table")
    assert run.scan({"c": failed()}) == 3
    rows = [line.split()[:2] for line in run.out.getvalue().splitlines()[:3]]
    assert rows == [["ERROR", "c"], ["REVIEW", "b"], ["ALLOW", "a"]]
    total = run.out.getvalue().splitlines()[-1]
    assert total.startswith("3 sources: 1 error, 1 review, 1 allow in ")


def test_what_is_finished_is_given_when_it_is_interrupted() -> None:
    run = Run(None, "abc")
    run.scan({"a": image()}, interrupted=True)
    assert run.scans == {"a": "allow"}
    assert run.document["interrupted"] is True
    table = Run(None, "abc", "table")
    table.scan({"a": image()}, interrupted=True)
    assert table.out.getvalue().startswith("ALLOW   a")
    assert table.out.getvalue().endswith("; 2 more were not scanned\n")


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
    held = HeldResult("allow", None, 0, "f")
    assert held.why_again(None, "f", frames=False) == "other content"
    assert HeldResult("allow", "s", 0, "f").why_again("s", "f", frames=True) == "without frames"
    assert (
        HeldResult("allow", "s", 0, "f", has_frames=True).why_again("s", "f", frames=True) is None
    )
