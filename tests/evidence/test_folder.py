"""The report's folder: what stands in it, what is refused, and what is removed again."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardian_cli.console import Console
from guardian_cli.errors import UsageError
from guardian_cli.evidence.batch import render_index, render_rows
from guardian_cli.evidence.folder import EvidenceFolder
from guardian_cli.evidence.sheet import render_sheet
from guardian_cli.evidence.stills import Still
from guardian_cli.evidence.stored import report_stored
from guardian_cli.reports.document import dumps, to_dict, to_line
from guardian_cli.reports.formats import BatchReport, find_format
from guardian_cli.reports.schemas import load_schema
from tests.reports.samples import DOWN, failed, image, video
from tests.reports.test_formats_agree import NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardian_cli.verdict.result import ScanResult

DIGEST = f"sha256:{'0' * 64}"
MADE = {
    "when": "2026-11-27T09:00:00Z",
    "guardian": "0.2.0",
    "every": 1.0,
    "decode": "fast",
    "thresholds": {
        "nsfw": {"review": 0.5, "block": 0.8},
        "violence": {"review": 0.6, "block": 0.9},
    },
    "policy": {"incomplete": "review"},
    "fusion": {"custom": 0.7},
    "prompts": {"nsfw": DIGEST},
    "weights": {"clip": DIGEST},
    "fingerprint": DIGEST,
}


def made(result: ScanResult) -> ScanResult:
    return replace(result, made=MADE)


def report_of(*results: ScanResult) -> BatchReport:
    scans = [json.loads(dumps(to_dict(made(one)))) for one in results]
    return BatchReport(scans, len(scans), {}, interrupted=False, took_s=1, scored_frames=1)


def still_of(result: ScanResult, jpeg: bytes = b"a picture") -> list[Still]:
    (segment,) = result.categories["nsfw"].segments
    return [Still("nsfw", segment.peak_s, segment.peak_s, jpeg)]


def write(folder: Path, *results: ScanResult, stills: bool = True) -> None:
    with EvidenceFolder(folder, keep_stills=stills) as sheet:
        for one in results:
            if stills and one.verdict == "review":
                sheet.save_stills(made(one), still_of(one))
        sheet.write(report_of(*results))


def files_in(folder: Path, ending: str) -> list[str]:
    found = (path for path in folder.rglob(f"*{ending}") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)


class Page(HTMLParser):
    """Tags that were opened, with their attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_sheet_of_one_source_says_everything(tmp_path: Path) -> None:
    write(tmp_path / "r", replace(video(), detectors=(DOWN,)))
    text = (tmp_path / "r" / "index.html").read_text("utf-8")
    page = Page(text)
    for said in (
        "uploads/holiday.mp4", "nsfw 0.70 at 12.0 s", "11.0 s to 15.0 s", "peak 0.71 at 12.0 s",
        "medium", "review 0.50", "block 0.80", "401 Unauthorized", "degraded", DIGEST,
        "Frames scored", "If incomplete",
    ):  # fmt: skip
        assert said in page.text, said
    assert page.text.index("nsfw 0.70") < page.text.index("What was seen")
    (still,) = [one for tag, one in page.tags if tag == "button"]
    assert (still["aria-pressed"], still["class"]) == ("false", "still")
    (picture,) = files_in(tmp_path, ".jpg")
    assert re.fullmatch(r"r/stills/[0-9a-f]{64}\.jpg", picture)
    assert [one["src"] for tag, one in page.tags if tag == "img"] == [picture.removeprefix("r/")]


def test_a_batch_has_an_index_and_a_sheet_for_each(tmp_path: Path) -> None:
    write(tmp_path, image("a.jpg"), failed("b.mp4"), video("c.mp4"), image("d.jpg", score=0.9))
    rows = (tmp_path / "rows.js").read_text().removeprefix("const guardianRows = ")
    read = json.loads(rows.strip().removesuffix(";"))
    assert [(row[1], row[2]) for row in read] == [
        ("block", "d.jpg"), ("error", "b.mp4"), ("review", "c.mp4"), ("allow", "a.jpg"),
    ]  # fmt: skip
    assert {row[0] for row in read} == set(files_in(tmp_path, ".html")) - {"index.html"}
    assert "4 sources" in (tmp_path / "index.html").read_text()


def test_nothing_can_run_and_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    write(tmp_path, video('"><script>alert(1)</script>'), failed("<img src=x onerror=alert(1)>"))
    for name in files_in(tmp_path, ".html"):
        page = Page((tmp_path / name).read_text("utf-8"))
        policy = [one for tag, one in page.tags if one.get("http-equiv")]
        assert str(policy[0]["content"]).startswith("default-src 'none'; script-src 'self'")
        for tag, one in page.tags:
            assert not [name for name in one if name.startswith("on") or name == "style"]
            for address in (one.get("src"), one.get("href")):
                assert address is None or re.fullmatch(r"#main|(\.\./)?[\w/.-]+", address), address
            assert tag != "script" or one["src"]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_breaks_a_sheet(name: str) -> None:
    element = to_dict(made(video(name)))
    plain = Page(render_sheet(to_dict(made(video("plain"))), {}))
    assert [tag for tag, _ in Page(render_sheet(element, {})).tags] == [
        tag for tag, _ in plain.tags
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=30)
@given(st.sampled_from(["media", "coverage", "timing", "timeline", "made"]), JSON)
def test_results_that_others_have_changed_are_refused_or_shown(part: str, value: Any) -> None:
    from guardian_cli.reports.results_file import parse_result

    line = json.loads(dumps(to_line(made(video()))))
    line[part] = {**line[part], **dict.fromkeys(line[part], value)} if value else value
    if parse_result(line) is not None:
        render_sheet(line, {})
        report = BatchReport([line], 1, {}, interrupted=False, took_s=1, scored_frames=1)
        render_index(report)
        render_rows([("a.html", line)])
        for name in ("csv", "sarif", "junit", "md"):
            find_format(name)(report)


def test_what_no_page_shows_any_more_is_removed_pictures_above_all(tmp_path: Path) -> None:
    write(tmp_path, video("a"), video("b"), image("c"))
    assert len(files_in(tmp_path, ".jpg")) == 1, "the same picture once"
    assert len(files_in(tmp_path / "sources", ".html")) == 3
    write(tmp_path, video("a"), image("c"), stills=False)
    assert not files_in(tmp_path, ".jpg")
    assert not files_in(tmp_path / "stills", ".json")
    assert len(files_in(tmp_path / "sources", ".html")) == 2
    write(tmp_path, video("a"))
    assert files_in(tmp_path, ".html") == ["index.html"]
    assert not (tmp_path / "rows.js").exists()


def test_stills_of_a_scan_that_was_killed_are_found_again_for_the_same_result_only(
    tmp_path: Path,
) -> None:
    with EvidenceFolder(tmp_path) as killed:
        killed.save_stills(made(video("a")), still_of(video("a")))
        killed.save_stills(replace(video("b"), made={**MADE, "when": "1"}), still_of(video("b")))
    with EvidenceFolder(tmp_path) as again:
        again.write(report_of(video("a"), video("b")))
    pages = [path.read_text("utf-8") for path in (tmp_path / "sources").iterdir()]
    assert sorted('class="still"' in page for page in pages) == [False, True]


def test_a_folder_with_other_things_or_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other things"):
        EvidenceFolder(tmp_path)
    with pytest.raises(UsageError, match="cannot be written: File exists"):
        EvidenceFolder(tmp_path / "mine.txt")
    with (
        EvidenceFolder(tmp_path / "deep" / "report"),
        pytest.raises(UsageError, match="another guardian"),
    ):
        EvidenceFolder(tmp_path / "deep" / "report")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["mine.txt"]


def test_stored_results_become_a_sheet_and_formats(tmp_path: Path) -> None:
    import jsonschema

    results = tmp_path / "results.jsonl"
    results.write_text("".join(dumps(to_line(made(one))) + "\n" for one in (video(), failed())))
    out = io.StringIO()
    outputs = [("csv", tmp_path / "r.csv"), ("sarif", tmp_path / "r.sarif")]
    folder = tmp_path / "sheet"
    assert report_stored(results, folder, outputs, Console(out=out), as_json=True) == 0
    told = json.loads(out.getvalue())
    jsonschema.Draft202012Validator(load_schema("report")).validate(told)
    assert told["sources"] == 2
    assert all(Path(name).is_file() for name in told["written"])
    assert "no still was kept" in "".join(
        path.read_text("utf-8") for path in (folder / "sources").iterdir()
    )
    with pytest.raises(UsageError, match="something else goes to the same file"):
        report_stored(results, folder, [("jsonl", results)], Console(out=out))
