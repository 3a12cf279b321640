"""What a run puts out covers the sources of that run, whatever else is kept in its file."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from guardian_cli.console import Console
from guardian_cli.media.sources import Source
from guardian_cli.scanning.results import Outlet
from guardian_cli.verdict.policy import exit_code
from tests.reports.samples import failed, image, video

if TYPE_CHECKING:
    from pathlib import Path

    from guardian_cli.scanning.results import OutputFormat
    from guardian_cli.verdict.result import ScanResult


class Run:
    """One run of guardian with `--resume`, as far as its results go."""

    def __init__(self, path: Path | None, names: str, output: OutputFormat = "json") -> None:
        self.sources = [Source("file", name, name) for name in names]
        self.out, self.err = io.StringIO(), io.StringIO()
        self.outlet = Outlet(output, Console(out=self.out, err=self.err), path)

    def scan(
        self,
        results: dict[str, ScanResult],
        fingerprint: str = "f1",
        sha256: str = "0" * 64,
        *,
        interrupted: bool = False,
    ) -> int:
        with self.outlet:
            for source in self.sources:
                if self.outlet.is_done(source, sha256, lambda: fingerprint):
                    continue
                if source.shown in results:
                    made = {"fingerprint": fingerprint, "thresholds": {}}
                    result = replace(results[source.shown], source=source.shown, made=made)
                    self.outlet.put(replace(result, sha256=sha256, degraded=False))
            return exit_code(self.outlet.finish(self.sources, interrupted=interrupted))

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
    with run.outlet as outlet:
        assert not outlet.is_done(run.sources[0], "1" * 64, never), "other content"
        assert not outlet.is_done(run.sources[1], "0" * 64, never), "nothing is held"
        assert not outlet.is_done(run.sources[2], "0" * 64, never), "it failed"


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
