"""Output formats: those that guardian has, and one from another package."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from guardian_cli.console import Console
from guardian_cli.errors import UsageError
from guardian_cli.media.sources import Source
from guardian_cli.reports.formats import BatchReport, find_format, write_report
from guardian_cli.scanning.results import ResultWriter
from tests.guardian_process import guardian
from tests.reports.samples import image, video

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOREIGN = """
def render(report):
    return "\\n".join(f"{scan['verdict']},{scan['source']}" for scan in report.scans)
"""


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Path]:
    """A folder with an installed package that brings the format `list`."""
    folder = tmp_path / "site"
    (folder / "foreign-1.0.dist-info").mkdir(parents=True)
    (folder / "foreign.py").write_text(FOREIGN)
    (folder / "foreign-1.0.dist-info" / "METADATA").write_text("Name: foreign\nVersion: 1.0\n")
    points = "[guardian_cli.formats]\nlist = foreign:render\n"
    (folder / "foreign-1.0.dist-info" / "entry_points.txt").write_text(points)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("foreign", None)


def write(path: Path, *names: str) -> None:
    """A run of two sources that writes these formats into a folder."""
    sources = [Source("file", name, name) for name in ("b.jpg", "a.mp4")]
    reports = [(name, path / f"report.{name}") for name in names]
    with ResultWriter(Console(quiet=True, out=sys.stderr), sources, "table", reports) as writer:
        writer.put(video("a.mp4"))
        writer.put(image("b.jpg"))
        writer.finish()


def test_each_format_goes_to_its_file_in_the_order_in_which_sources_were_named(
    tmp_path: Path,
) -> None:
    write(tmp_path, "json", "jsonl", "table")
    document = json.loads((tmp_path / "report.json").read_text())
    assert [scan["source"] for scan in document["scans"]] == ["b.jpg", "a.mp4"]
    lines = [json.loads(line) for line in (tmp_path / "report.jsonl").read_text().splitlines()]
    assert [line["schema"] for line in lines] == ["guardian.scan/1"] * 2
    table = (tmp_path / "report.table").read_text()
    assert table.startswith("REVIEW  a.mp4")
    assert "\x1b" not in table
    assert len(list(tmp_path.iterdir())) == 3


def test_another_package_brings_a_format(package: Path, tmp_path: Path) -> None:
    write(tmp_path, "list")
    assert (tmp_path / "report.list").read_text() == "allow,b.jpg\nreview,a.mp4\n"


def test_an_unknown_format_lists_those_there_are(package: Path) -> None:
    with pytest.raises(UsageError, match="'lists'; there is csv, json, jsonl, junit, list, md"):
        find_format("lists")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "report"
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        write_report("text", path)
    path.parent.mkdir()
    write_report("old", path)
    write_report("new", path)
    assert path.read_text() == "new\n"
    assert os.listdir(path.parent) == ["report"]  # noqa: PTH208


def test_the_table_of_nothing_says_so() -> None:
    nothing = BatchReport([], 2, {}, interrupted=True, took_s=1.0, scored_frames=0)
    assert not isinstance(find_format("table")(nothing), str)


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (["json"], "not FORMAT=FILE"),
        (["xml=x.xml"], "there is no output format 'xml'; there is csv, json"),
        (["json=none/x.json"], "no such folder"),
        (["json=."], "not a regular file"),
        (["csv=-"], "stdout is taken"),
        (["json=x", "jsonl=./x"], "same file"),
    ],
)
def test_what_cannot_be_written_is_told_before_the_scan(
    tmp_path: Path, outputs: list[str], said: str
) -> None:
    options = [word for output in outputs for word in ("--output", output)]
    run = guardian("scan", "none.mp4", *options, folder=tmp_path)
    assert (run.code, run.out) == (2, "")
    assert said in run.err


@pytest.mark.slow
def test_nothing_is_written_over_what_is_scanned_or_set(tmp_path: Path) -> None:
    for name in ("a.mp4", "guardian.yaml"):
        (tmp_path / name).write_text("scan: {every: 1.0}\n")
    (tmp_path / "link").symlink_to("a.mp4")
    for output in ("csv=a.mp4", "csv=./a.mp4", "csv=link", "json=guardian.yaml"):
        run = guardian("scan", "a.mp4", "--output", output, folder=tmp_path)
        assert (run.code, run.out) == (2, "")
        assert "would be written over what is read" in run.err
        assert "hint: " in run.err
    assert (tmp_path / "a.mp4").read_text() == "scan: {every: 1.0}\n"


def test_the_command_writes_files_beside_stdout(package: Path, tmp_path: Path) -> None:
    options = ("--output", "json=r.json", "--output", "list=r.txt")
    run = guardian("scan", "none.mp4", *options, folder=tmp_path, PYTHONPATH=str(package))
    assert run.code == 3
    assert run.out.startswith("ERROR  none.mp4")
    assert json.loads((tmp_path / "r.json").read_text())["verdict"] == "error"
    assert (tmp_path / "r.txt").read_text() == "error,none.mp4\n"
