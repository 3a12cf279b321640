"""Rows of a CSV, and whose results they mean."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from guardian_cli.errors import UsageError
from guardian_cli.evaluation.labels import match_sources, read_labels
from guardian_cli.media.sources import Source
from guardian_cli.urls import mask_url
from tests.evaluation.elements import element


def table(folder: Path, *rows: str) -> Path:
    path = folder / "labels.csv"
    path.write_text("\n".join(("path,category,label,group", *rows)) + "\n", encoding="utf-8")
    return path


def test_a_label_is_one_or_the_category_or_anything_else(tmp_path: Path) -> None:
    rows = (
        "a.mp4,nsfw,1,g",
        "b.mp4,nsfw,NSFW,",
        "c.mp4,nsfw,0,",
        "d.mp4,nsfw,fine,",
        "b.mp4,gore,0,",
    )
    labels = read_labels(table(tmp_path, *rows))
    assert [one.positive for one in labels] == [True, True, False, False, False]
    assert [one.group for one in labels] == ["g", None, None, None, None]
    assert labels[0].location == str(tmp_path / "a.mp4")
    assert labels[0].where.endswith("labels.csv, row 2")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["a.mp4,nsfw,1,", "./a.mp4,nsfw,0,"], "row 3: ./a.mp4 is '0' here and '1' before"),
        (["a.mp4,nsfw,,"], "row 2: no label"),
        ([",nsfw,1,"], "row 2: no path"),
        ([], "no row below the first"),
    ],
)
def test_what_makes_no_sense_names_its_row(tmp_path: Path, rows: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_labels(table(tmp_path, *rows))


def test_a_missing_column_is_said(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("path,label\na.mp4,1\n", encoding="utf-8")
    with pytest.raises(UsageError, match="no column 'category'"):
        read_labels(path)


def test_a_file_of_other_content_is_not_meant_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("clips").mkdir()
    for name in ("a", "b"):
        Path(f"clips/{name}.mp4").write_bytes(name.encode())
    a, b, other = (hashlib.sha256(one).hexdigest() for one in (b"a", b"b", b"c"))
    labels = read_labels(table(Path("clips"), "a.mp4,nsfw,1,", "b.mp4,nsfw,1,"))
    results = [
        {"source": "a.mp4", "sha256": other},
        {"source": "b.mp4", "sha256": other},
        {"source": "elsewhere/b.mp4", "sha256": b},
    ]
    assert match_sources(labels, results) == {"clips/b.mp4": "elsewhere/b.mp4"}
    results[0]["sha256"] = a
    assert match_sources(labels, results)["clips/a.mp4"] == "a.mp4"


def test_sources_match_by_path_then_name_then_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("clips").mkdir()
    Path("clips/c.mp4").write_bytes(b"c")
    digest = "2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6"
    rows = (
        "a.mp4,nsfw,1,",
        "b.mp4,nsfw,1,",
        "c.mp4,nsfw,1,",
        "d.mp4,nsfw,1,",
        "https://h/e?s=1,nsfw,1,",
    )
    labels = read_labels(table(Path("clips"), *rows))
    expected = Source("url", "https://h/e?s=1", mask_url("https://h/e?s=1"))
    results = [
        element("a.mp4", {}, sha256=None),
        element(str(tmp_path / "clips" / "a.mp4"), {}, sha256=None),
        element("b.mp4", {}, sha256=None),
        element("elsewhere/x.mp4", {}, sha256=digest),
        *(
            element(one.shown, {}, sha256=None, source_id=one.identity)
            for one in (expected, replace(expected, location="https://h/e?s=2"))
        ),
    ]
    assert match_sources(labels, results) == {
        "clips/a.mp4": str(tmp_path / "clips" / "a.mp4"),
        "clips/b.mp4": "b.mp4",
        "clips/c.mp4": "elsewhere/x.mp4",
        "https://h/e?s=1": expected.identity,
    }
