"""`guardian monitor` as it is typed."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from prometheus_client.parser import text_string_to_metric_families

from guardian_cli.cli import run
from guardian_cli.reports.schemas import load_schema
from tests.watching.results import draw_results, write_results

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    write_results(folder / "reference.jsonl", draw_results(500, seed=1))
    write_results(folder / "same.jsonl", draw_results(500, seed=2))
    moved = draw_results(500, seed=3, shift=1.0)
    for one in moved:
        one["source"] = "<script>alert(1)</script>" + one["source"]
    write_results(folder / "moved.jsonl", moved)
    document = {"schema": "guardian.scan/1", "scans": draw_results(500, seed=2)}
    (folder / "same.json").write_text(json.dumps(document, indent=2), encoding="utf-8")
    return folder


def monitor(files: Path, *arguments: object, reference: str = "reference.jsonl") -> int:
    return run(["monitor", *map(str, arguments), "--reference", str(files / reference)])


def test_nothing_to_tell_is_0_and_the_document_holds_its_schema(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    documents: list[Any] = []
    for name in ("same.jsonl", "same.json"):
        assert monitor(files, files / name, "--json", "--by", "250") == 0
        documents.append(json.loads(capsys.readouterr().out))
        Draft202012Validator(load_schema("monitor")).validate(documents[-1])
    assert documents[0]["figures"] == documents[1]["figures"]
    assert [one["sources"] for one in documents[0]["windows"]] == [250, 250]
    assert {one["state"] for one in documents[0]["figures"]} == {"ok"}


def test_an_alert_is_12_and_names_what_moved(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert monitor(files, files / "moved.jsonl") == 12
    shown = capsys.readouterr()
    assert "psi of nsfw" in shown.err
    assert "hint: guardian monitor" in shown.err
    assert "alert" in shown.out


def test_the_page_stands_alone_and_the_metrics_are_prometheus_own(
    files: Path, tmp_path: Path
) -> None:
    page, metrics = tmp_path / "m.html", tmp_path / "guardian.prom"
    assert (
        monitor(files, files / "moved.jsonl", "--html", page, "--prometheus", metrics, "-q") == 12
    )
    text = page.read_text(encoding="utf-8")
    tags = read_tags(text)
    assert {"svg", "polyline", "circle"} <= {name for name, _ in tags}
    assert not {"script", "link", "img", "iframe"} & {name for name, _ in tags}
    assert not [value for _, values in tags for key, value in values if key in {"src", "href"}]
    assert "&lt;script&gt;" in text
    families = {
        family.name: family
        for family in text_string_to_metric_families(metrics.read_text(encoding="utf-8"))
    }
    alerts = {
        (sample.labels["name"], sample.labels["category"])
        for sample in families["guardian_monitor_alert"].samples
        if sample.value == 1
    }
    assert ("wasserstein", "nsfw") in alerts
    assert {family.type for family in families.values()} == {"gauge"}
    (now,) = families["guardian_monitor_timestamp_seconds"].samples
    assert now.labels == {}


def read_tags(text: str) -> list[tuple[str, list[tuple[str, str | None]]]]:
    found: list[tuple[str, list[tuple[str, str | None]]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, attrs))

    Reader().feed(text)
    return found


@pytest.mark.parametrize("what", ["missing", "rubbish", "empty"])
def test_what_is_no_results_file_is_2(
    files: Path, tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.jsonl"
    if what != "missing":
        path.write_text("" if what == "empty" else '{"no": "result"}\n', encoding="utf-8")
    assert monitor(files, path) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "hint:" in shown.err


def test_a_page_that_cannot_be_written_is_2(files: Path, tmp_path: Path) -> None:
    assert monitor(files, files / "same.jsonl", "--html", tmp_path / "no" / "m.html") == 2
    for option in ("--html", "--prometheus"):
        assert monitor(files, files / "same.jsonl", option, files / "reference.jsonl") == 2
    assert monitor(files, files / "same.jsonl") == 0


def test_names_and_times_that_cannot_be_written_are_no_bug(files: Path, tmp_path: Path) -> None:
    odd = draw_results(60, seed=2)
    odd[1]["categories"]['half "\ud800'] = {"score": 0.5, "verdict": "review", "segments": []}
    odd[2]["made"]["when"] = "9999-12-31T23:59:59-12:00"
    write_results(tmp_path / "odd.jsonl", odd)
    page, metrics = tmp_path / "m.html", tmp_path / "m.prom"
    written = ("--html", page, "--prometheus", metrics)
    assert monitor(files, tmp_path / "odd.jsonl", *written) in {0, 12}
    assert "\\ud800" in page.read_text("utf-8")
    families = text_string_to_metric_families(metrics.read_text("utf-8"))
    labels = [one.labels for family in families for one in family.samples]
    assert 'half "\\ud800' in {one.get("category") for one in labels}
