"""Listings: folders, CSVs, which class is positive, and one line for whatever is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.errors import UsageError
from guardian_cli.training.data.dataset import choose_positive, link_dataset, load_dataset

if TYPE_CHECKING:
    from pathlib import Path


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def write_csv(folder: Path, text: str | bytes) -> Path:
    path = folder / "data.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_folder_gives_each_file_its_class(tmp_path: Path) -> None:
    touch(tmp_path, "fight/a.mp4", "fight/deep/b.mp4", "nofight/c.jpg", "nofight/.hidden.jpg")
    touch(tmp_path, "nofight/readme.txt", "notes.txt", ".git/x.jpg")
    dataset = load_dataset(tmp_path)
    found = [
        (sample.path.relative_to(tmp_path).as_posix(), sample.label) for sample in dataset.samples
    ]
    assert found == [
        ("fight/a.mp4", "fight"),
        ("fight/deep/b.mp4", "fight"),
        ("nofight/c.jpg", "nofight"),
    ]
    assert [one.where.endswith("readme.txt") for one in dataset.left_out] == [True]
    assert dataset.labels == ("fight", "nofight")


def test_folders_named_like_splits_hold_the_classes(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.jpg", "train/b/2.jpg", "test/a/3.jpg", "test/b/4.jpg")
    samples = load_dataset(tmp_path).samples
    assert [(sample.label, sample.split) for sample in samples] == [
        ("a", "test"), ("b", "test"), ("a", "train"), ("b", "train")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["a.jpg"], "no sub-folder"),
        (["a/1.jpg", "b/readme.txt"], r"/b: this class is empty"),
        (["train/a/1.jpg", "test/a/readme.txt"], r"/test/a: this class is empty"),
    ],
)
def test_a_folder_that_makes_no_classes_is_an_error(
    tmp_path: Path, files: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        load_dataset(touch(tmp_path, *files))


def test_nothing_there_is_an_error_that_says_what_is_taken(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder") as raised:
        load_dataset(tmp_path / "nothing")
    assert "CSV" in str(raised.value.hint)


def test_a_csv_as_windows_saves_it(tmp_path: Path) -> None:
    touch(tmp_path, "pictures/a.jpg", "pictures/ü b.jpg", "c.jpg")
    text = "Path;Label;Group;Split\r\npictures\\a.jpg;1;g1;train\r\n\r\n"
    text += '"pictures/ü b.jpg";0;;valid\r\nc.jpg;0;g2;TEST\r\n'
    dataset = load_dataset(write_csv(tmp_path, b"\xef\xbb\xbf" + text.encode()))
    assert dataset.left_out == ()
    assert [(sample.label, sample.group, sample.split) for sample in dataset.samples] == [
        ("1", "g1", "train"),
        ("0", None, "val"),
        ("0", "g2", "test"),
    ]
    assert all(sample.path.is_file() for sample in dataset.samples)
    assert dataset.samples[1].where.endswith("data.csv, row 4")


def test_rows_without_a_file_or_a_label_are_left_out_by_name_and_row(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg", "twice.jpg", "both.jpg")
    rows = ["path,label", "a.jpg,x", "gone.jpg,x", "b.jpg,", ",y", "twice.jpg,x", "twice.jpg,x"]
    rows += ["both.jpg,x", "both.jpg,y", "b.jpg,y"]
    table, both = write_csv(tmp_path, "\n".join(rows)), tmp_path / "both.jpg"
    dataset = load_dataset(table)
    assert [sample.path.name for sample in dataset.samples] == ["a.jpg", "twice.jpg", "b.jpg"]
    assert [one.line.partition("data.csv, ")[2] for one in dataset.left_out] == [
        "row 3: gone.jpg: no such file",
        "row 4: b.jpg: no label",
        "row 5: no path",
        f"row 7: {tmp_path / 'twice.jpg'}: is listed twice",
        f"row 8: {both}: contradiction: labelled 'x' here, 'y' at both.jpg ({table}, row 9)",
        f"row 9: {both}: contradiction: labelled 'y' here, 'x' at both.jpg ({table}, row 8)",
    ]
    assert [one.contradiction for one in dataset.left_out] == [False] * 4 + [True] * 2


def test_what_is_uploaded_lists_as_it_did_here(tmp_path: Path) -> None:
    touch(tmp_path, "a/b/1.JPG", "2.mp4")
    text = "path,label,group,split\na/b/1.JPG,x,g,train\n2.mp4,y,,test\n"
    dataset = load_dataset(write_csv(tmp_path, text))
    there = load_dataset(link_dataset(dataset, tmp_path / "upload"))
    assert [(one.label, one.group, one.split) for one in there.samples] == [
        (one.label, one.group, one.split) for one in dataset.samples
    ]
    assert [one.path.name for one in there.samples] == ["000000.jpg", "000001.mp4"]
    assert all(one.path.read_bytes() == b"x" for one in there.samples)


def test_another_spelling_of_a_path_is_the_same_file(tmp_path: Path) -> None:
    touch(tmp_path, "sub/a.jpg", "b.jpg", "c.jpg", "d.jpg")
    (tmp_path / "link.jpg").symlink_to("c.jpg")
    (tmp_path / "hard.jpg").hardlink_to(tmp_path / "d.jpg")
    rows = ["path,label", "sub/a.jpg,x", "./sub/../sub/a.jpg,y", "b.jpg,x", "sub/../b.jpg,x"]
    rows += ["c.jpg,x", "link.jpg,y", "d.jpg,y", "hard.jpg,y"]
    dataset = load_dataset(write_csv(tmp_path, "\n".join(rows)))
    assert [sample.path.name for sample in dataset.samples] == ["b.jpg", "d.jpg"]
    told = [one.line.partition("data.csv, ")[2] for one in dataset.left_out]
    assert [line.partition(":")[0] for line in told if "contradiction" in line] == [
        "row 2", "row 3", "row 6", "row 7"
    ]  # fmt: skip
    assert [line.partition(":")[0] for line in told if "listed twice" in line] == ["row 5", "row 9"]


def test_a_link_from_one_class_folder_into_another_is_a_contradiction(tmp_path: Path) -> None:
    touch(tmp_path, "fight/a.mp4", "fight/b.mp4", "nofight/c.mp4")
    (tmp_path / "nofight" / "d.mp4").symlink_to(tmp_path / "fight" / "a.mp4")
    dataset = load_dataset(tmp_path)
    assert [sample.path.name for sample in dataset.samples] == ["b.mp4", "c.mp4"]
    assert [one.line for one in dataset.left_out] == [
        f"{tmp_path / one}: contradiction: labelled {here!r} here, {there!r} at {tmp_path / other}"
        for one, here, there, other in [
            ("fight/a.mp4", "fight", "nofight", "nofight/d.mp4"),
            ("nofight/d.mp4", "nofight", "fight", "fight/a.mp4"),
        ]
    ]


def test_a_csv_of_missing_files_says_how_many_and_where(tmp_path: Path) -> None:
    rows = ["path,label", *(f"gone-{number}.mp4,fight" for number in range(5)), "b.mp4,"]
    with pytest.raises(UsageError) as raised:
        load_dataset(write_csv(tmp_path, "\n".join(rows)))
    table = tmp_path / "data.csv"
    assert str(raised.value) == (
        f"{table}: no file that can be trained on; left out (5 × no such file, 1 × no label): "
        f"{table}, row 2: gone-0.mp4: no such file; {table}, row 3: gone-1.mp4: no such file; "
        f"{table}, row 4: gone-2.mp4: no such file; and 3 more"
    )
    assert "the CSV's own folder" in str(raised.value.hint)


def test_one_class_is_said_before_its_name_is_asked_about(tmp_path: Path) -> None:
    touch(tmp_path, "data/cats/a.jpg")
    with pytest.raises(UsageError, match="one class only, 'cats'"):
        load_dataset(tmp_path / "data")
    touch(tmp_path, "a.jpg")
    table = write_csv(tmp_path, "path,label\na.jpg,fight\ngone.jpg,nofight\n")
    with pytest.raises(
        UsageError, match=r"one class only, 'fight'.*1 × no such file.*row 3: gone\.jpg"
    ):
        load_dataset(table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("path,label\n", "no row"),
        ("file,label\na.jpg,1\n", "row 1: no column 'path'; there are: 'file', 'label'"),
        ("path,class\na.jpg,1\n", "row 1: no column 'label'"),
        (f"{'x' * 99},{'y,' * 99}", "there are: 'x{39}…', 'y', .* and [0-9]+ more$"),
        ("path,label,label\na.jpg,1,1\n", "row 1: two columns"),
        ("path,label,split\na.jpg,1,holdout\n", "row 2: split 'holdout' is none of"),
        ("path,label,split\na.jpg,1,train\nb.jpg,0,\n", "row 3: no split"),
        (
            "path,label,group,split\na.jpg,1,g,train\nb.jpg,0,g,test\n",
            "row 3: group 'g' is in test here and in train before .*row 2",
        ),
        (b"path,label\na.jpg,\xff\xfe\n", "row 2: this is not UTF-8"),
    ],
)
def test_a_doubtful_csv_is_one_line_with_the_row(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    with pytest.raises(UsageError, match=message) as raised:
        load_dataset(write_csv(tmp_path, text))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("labels", "category", "named", "expected"),
    [
        (["fight", "nofight"], "violence", None, "fight"),
        (["NSFW", "neutral"], "nsfw", None, "NSFW"),
        (["NSFW", "porn", "neutral"], "nsfw", "porn", "porn"),
        (["porn", "neutral"], "nsfw", None, "porn"),
        (["0", "1"], "gore", None, "1"),
        (["gore", "calm"], "gore", None, "gore"),
        (["a", "b"], "nsfw", "b", "b"),
        (["A", "b"], "nsfw", "a", "A"),
    ],
)
def test_the_positive_class_is_found_by_name(
    labels: list[str], category: str, named: str | None, expected: str
) -> None:
    assert choose_positive(labels, category, named) == expected


@pytest.mark.parametrize(
    ("labels", "named", "message"),
    [
        (["cats", "dogs"], None, "which class is nsfw.*'cats', 'dogs'"),
        (["porn", "unsafe", "ok"], None, "'porn', 'unsafe' all fit.*'ok'"),
        # The class that is not chosen would be taught as harmless.
        (["NSFW", "neutral", "porn"], None, "'NSFW', 'porn' all fit.*'neutral'"),
        (["0", "1", "nsfw"], None, "'1', 'nsfw' all fit"),
        (["cats", "dogs"], "birds", "no class is named 'birds'; there are: 'cats', 'dogs'"),
    ],
)
def test_an_unclear_positive_class_lists_what_was_seen(
    labels: list[str], named: str | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        choose_positive(labels, "nsfw", named)
    assert raised.value.hint


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_reading_of_a_csv(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    table = write_csv(folder, b"path,label\n" + data)
    said = ""
    try:
        load_dataset(table)
    except UsageError as error:
        said = str(error)
    assert "\n" not in said


def test_a_table_of_several_categories_is_each_models_own(tmp_path: Path) -> None:
    """As `evaluate --mistakes` writes it: only the rows of the category count, 1 is its name."""
    touch(tmp_path, *(f"{name}.mp4" for name in "abcd"))
    rows = [
        "path,category,label,group,verdict",
        "a.mp4,nsfw,1,one,allow",
        "b.mp4,nsfw,safe,,review",
        "a.mp4,violence,0,one,review",
        "c.mp4,NSFW,1,,allow",
        "d.mp4,violence,1,,allow",
    ]
    table = write_csv(tmp_path, "\n".join(rows))
    found = [(one.path.name, one.label, one.group) for one in load_dataset(table, "nsfw").samples]
    assert found == [("a.mp4", "nsfw", "one"), ("b.mp4", "safe", None), ("c.mp4", "nsfw", None)]
    violence = load_dataset(table, "violence")
    assert violence.labels == ("0", "violence")
    with pytest.raises(UsageError, match="no row of gore"):
        load_dataset(table, "gore")
