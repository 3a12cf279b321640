"""`guardian scan --shard` on several machines, and `guardian merge` of what they wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from jsonschema import Draft202012Validator

from guardian_cli.cli import run
from guardian_cli.reports.schemas import load_schema
from tests.guardian_process import guardian
from tests.scoring_server import ScoringServer

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

COUNT = 3
PICTURES = 8


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Pictures and a broken video, scanned at once (one.jsonl) and in three shards (N.jsonl)."""
    folder = tmp_path_factory.mktemp("batch")
    uploads = folder / "uploads"
    uploads.mkdir()
    for number in range(PICTURES):
        picture = np.full((48, 64, 3), number * 30, np.uint8)
        cv2.imwrite(str(uploads / f"{number}.png"), picture)
    (uploads / "broken.mp4").write_bytes(b"no video")
    with ScoringServer(lambda image: float(image.mean()) / 255) as server:
        settings = {
            "scan": {"detectors": ["endpoint"]},
            "categories": {"nsfw": {"endpoint": server.uri}, "violence": False},
        }
        (folder / "guardian.yaml").write_text(json.dumps(settings), encoding="utf-8")
        scan = ["scan", str(uploads), "--config", str(folder / "guardian.yaml"), "--quiet"]
        assert run([*scan, "--output", f"jsonl={folder / 'one.jsonl'}"]) == 11
        for index in range(1, COUNT + 1):
            part = f"jsonl={folder / f'{index}.jsonl'}"
            assert run([*scan, "--shard", f"{index}/{COUNT}", "--output", part]) in {0, 3, 10, 11}
        yield folder


def lines_of(path: Path) -> dict[str, Any]:
    """Results by source, without what may differ between two scans of the same; all valid."""
    found = {}
    for text in path.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        Draft202012Validator(load_schema("scan")).validate(line)
        del line["timing"], line["made"]["when"]
        for detector in line["detectors"]:
            detector.pop("latency_ms", None)
        found[line["source"]] = line
    return found


def parts(batch: Path, *numbers: int) -> list[str]:
    return [str(batch / f"{number}.jsonl") for number in numbers or range(1, COUNT + 1)]


def test_shards_and_one_process_give_the_same_documents(
    batch: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = [lines_of(batch / f"{number}.jsonl") for number in range(1, COUNT + 1)]
    assert sum(len(shard) for shard in shards) == PICTURES + 1
    assert all(line["shard"]["count"] == COUNT for shard in shards for line in shard.values())
    out = tmp_path / "all.jsonl"
    sheet = tmp_path / "sheet"
    outputs = ["--output", f"jsonl={out}", "--report", str(sheet)]
    assert run(["merge", *parts(batch), *outputs]) == 11
    assert len(list((sheet / "sources").glob("*.html"))) == PICTURES + 1
    assert lines_of(out) == lines_of(batch / "one.jsonl")
    said = capsys.readouterr()
    assert "9 sources: " in said.out
    assert said.err == "3 parts: 9 sources\n"
    # As of one scan, and again from its own output.
    assert run(["merge", str(out), "--json", "--fail-on", "never", "--quiet"]) == 3
    document = json.loads(capsys.readouterr().out)
    Draft202012Validator(load_schema("scan")).validate(document)
    assert document["verdict"] == "block"
    assert [scan["source"] for scan in document["scans"]] == sorted(lines_of(out))
    assert run(["merge", str(out), "--jsonl"]) == 11
    assert capsys.readouterr().out == out.read_text(encoding="utf-8")


@pytest.mark.parametrize("fail_on", ["review", "never"])
def test_a_missing_shard_is_never_a_pass(
    batch: Path, fail_on: str, capsys: pytest.CaptureFixture[str]
) -> None:
    calm = [
        number
        for number in range(1, COUNT + 1)
        if {one["verdict"] for one in lines_of(batch / f"{number}.jsonl").values()} <= {"allow"}
    ]
    lost = next(number for number in range(1, COUNT + 1) if number not in calm[:1])
    given = parts(batch, *({1, 2, 3} - {lost}))
    assert run(["merge", *given, "--json", "--fail-on", fail_on, "--quiet"]) in {3, 11}
    said = capsys.readouterr()
    document = json.loads(said.out)
    Draft202012Validator(load_schema("scan")).validate(document)
    assert document["verdict"] in {"error", "block"}
    assert document["missing"]["shards"] == [lost]
    assert f"shard {lost}/{COUNT} missing: " in said.err


def test_a_part_that_comes_late_completes_what_was_merged(
    batch: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also over a part, and again: what was merged no longer says which shard it is of."""
    whole = str(tmp_path / "whole.jsonl")
    options = ["--output", f"jsonl={whole}", "--fail-on", "never", "--quiet"]
    assert run(["merge", *parts(batch, 1, 2), *options]) in {3, 11}
    assert "missing" in capsys.readouterr().err
    for _ in range(2):
        assert run(["merge", whole, *parts(batch, 3), *options]) == 3
        assert capsys.readouterr().err == ""
    assert lines_of(Path(whole)) == lines_of(batch / "one.jsonl")
    document = str(tmp_path / "whole.json")
    first = ["--output", f"json={document}", "--fail-on", "never", "--quiet"]
    assert run(["merge", *parts(batch, 1, 2), *first]) in {3, 11}
    capsys.readouterr()
    assert run(["merge", document, *parts(batch, 3), "--fail-on", "never", "--json"]) == 3
    assert "missing" not in json.loads(capsys.readouterr().out)
    # Of another batch's results none fills a gap.
    lines = Path(whole).read_text("utf-8").replace("/uploads/", "/others/")
    Path(whole).write_text(lines, encoding="utf-8")
    assert run(["merge", whole, *parts(batch, 3), *options]) in {3, 11}
    assert "missing" in capsys.readouterr().err


def test_who_could_not_read_a_file_does_not_make_it_two(
    batch: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (batch / "1.jsonl").read_text("utf-8").splitlines()
    failed = []
    for line in map(json.loads, lines):
        line["source"] = line["source"].replace("/uploads/", "/mounted-elsewhere/")
        failed.append(json.dumps({**line, "verdict": "error", "sha256": None}))
    (tmp_path / "b.jsonl").write_text("\n".join(failed) + "\n", encoding="utf-8")
    given = [*parts(batch), str(tmp_path / "b.jsonl")]
    out = tmp_path / "all.jsonl"
    assert run(["merge", *given, "--output", f"jsonl={out}"]) == 11
    assert lines_of(out) == lines_of(batch / "one.jsonl")
    capsys.readouterr()


def test_a_part_that_a_kill_cut_off_is_told_of(
    batch: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = max(
        (batch / f"{number}.jsonl" for number in (1, 2, 3)), key=lambda one: len(lines_of(one))
    )
    torn = tmp_path / "torn.jsonl"
    torn.write_bytes(whole.read_bytes()[:-40])
    others = [one for one in parts(batch) if one != str(whole)]
    assert run(["merge", str(torn), *others, "--fail-on", "never"]) in {3, 11}
    assert f"shard {whole.stem}/{COUNT} is incomplete: 1 of " in capsys.readouterr().err


def test_a_folder_of_parts_and_empty_parts(
    batch: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2, 3):
        (tmp_path / f"{number}.jsonl").write_bytes((batch / f"{number}.jsonl").read_bytes())
    (tmp_path / "empty.jsonl").touch()
    assert run(["merge", str(tmp_path), "--quiet"]) == 11
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("what", ["missing", "interrupted"])
def test_what_a_document_lacks_stays_missing(
    batch: Path, tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever reads it again, as a part or for a report."""
    (calm,) = [
        line
        for line in (batch / "one.jsonl").read_text("utf-8").splitlines()
        if json.loads(line)["source"].endswith("/0.png")
    ]
    document = {
        "schema": "guardian.scan/1", "guardian": "0.2.0", "verdict": "error",
        "scans": [json.loads(calm)], "skipped": {"hidden": 2}, "interrupted": what == "interrupted",
    }  # fmt: skip
    if what == "missing":
        document["missing"] = {"shards": [2], "shard_count": 2, "sources": 4}
    (tmp_path / "d.json").write_text(json.dumps(document), encoding="utf-8")
    outputs = [f"{name}={tmp_path / name}" for name in ("json", "md", "sarif")]
    options = [word for one in outputs for word in ("--output", one)]
    for verb, code in (("merge", 3), ("report", 0)):
        more = [str(tmp_path / "sheet")] if verb == "report" else []
        assert run([verb, str(tmp_path / "d.json"), *more, *options]) == code
        again = json.loads((tmp_path / "json").read_text("utf-8"))
        assert again["verdict"] == "error"
        assert again.get("missing") == document.get("missing")
        assert again["interrupted"] is (what == "interrupted")
        assert again["skipped"] == {"hidden": 2}
        assert (tmp_path / "md").read_text("utf-8").startswith("### guardian: error\n")
        (sarif,) = json.loads((tmp_path / "sarif").read_text("utf-8"))["runs"]
        assert not sarif["invocations"][0]["executionSuccessful"]
    told = (tmp_path / "sheet" / "index.html").read_text("utf-8")
    assert {"missing": "4 more were", "interrupted": "some sources were"}[what] in told
    capsys.readouterr()


@pytest.mark.parametrize("whole", [{"missing": 3}, {"interrupted": "no"}, {"skipped": [1]}])
def test_a_document_that_says_anything_else_is_refused(
    tmp_path: Path, whole: dict[str, Any]
) -> None:
    path = tmp_path / "d.json"
    path.write_text(json.dumps({"schema": "guardian.scan/1", "scans": [], **whole}))
    assert run(["report", str(path), str(tmp_path / "sheet")]) == 2
    assert not (tmp_path / "sheet").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no such file"),
        ("", "nothing to merge"),
        ("[1, 2]", "holds no results"),
        ('{"schema": "guardian.scan/2", "source": "a", "verdict": "allow"}\n', "not a result"),
        ('{"schema": "guardian.scan/1", "source": "a", "verdict": "fine"}\n', "not a result"),
        ("\0\1\2", "holds no results"),
    ],
)
def test_what_is_no_part_is_exit_2_with_nothing_on_stdout(
    tmp_path: Path, text: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    part = tmp_path / "part.jsonl"
    if text is not None:
        part.write_text(text, encoding="utf-8")
    assert run(["merge", str(part), "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err.lower()
    assert "hint: " in err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--json", "--jsonl"],
        ["--output", "jsonl=none/all.jsonl"],
        ["--output", "exe=all"],
        ["--output", "jsonl"],
        ["--fail-on", "sometimes"],
    ],
)
def test_wrong_usage(batch: Path, arguments: list[str]) -> None:
    given = parts(batch) if arguments else []
    assert run(["merge", *given, *arguments]) == 2


def test_an_empty_shard_is_no_error(batch: Path, tmp_path: Path) -> None:
    """Nothing is loaded for it, and what it writes is empty."""
    picture, part = batch / "uploads" / "1.png", tmp_path / "part.jsonl"
    scan = ["scan", str(picture), "--config", str(batch / "guardian.yaml"), "--quiet"]
    for index in range(1, 20):
        code = run([*scan, "--shard", f"{index}/19", "--output", f"jsonl={part}"])
        if not part.read_bytes():
            break
    assert (code, part.read_bytes()) == (0, b"")
    done = guardian("scan", picture, "--shard", f"{index}/19", "--json", folder=tmp_path)
    assert (done.code, done.document["verdict"], done.document["scans"]) == (0, "allow", [])
    assert done.err == f"shard {index}/19: 0 of 1 source\n"
    assert guardian("scan", picture, "--shard", "20/19", folder=tmp_path).code == 2


def test_shards_of_real_media_are_the_documents_of_one_process(
    shared_data: Path, batch: Path, tmp_path: Path
) -> None:
    """A sample of all kinds, broken ones as well."""
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    media = sorted(path for path in (shared_data / "data").rglob("*") if path.is_file())
    for number, path in enumerate(media[::12]):
        (uploads / f"{number}-{path.name}").symlink_to(path)
    scan = ["scan", str(uploads), "--config", str(batch / "guardian.yaml"), "--every", "5", "-q"]
    assert run([*scan, "--output", f"jsonl={tmp_path / 'one.jsonl'}"]) in {3, 11}
    for index in (1, 2):
        part = f"jsonl={tmp_path / f'{index}.jsonl'}"
        assert run([*scan, "--shard", f"{index}/2", "--output", part]) in {3, 11}
    assert run(["merge", *parts(tmp_path, 1, 2), "--output", f"jsonl={tmp_path / 'all.jsonl'}"])
    one, joined = lines_of(tmp_path / "one.jsonl"), lines_of(tmp_path / "all.jsonl")
    assert len(one) > 30
    assert joined == one


def test_a_part_becomes_the_whole_and_no_table(batch: Path, tmp_path: Path) -> None:
    part = tmp_path / "1.jsonl"
    part.write_bytes((batch / "1.jsonl").read_bytes())
    before = part.read_bytes()
    assert run(["merge", str(part), "--output", f"csv={part}"]) == 2
    assert part.read_bytes() == before
    assert run(["merge", str(part), "--output", f"jsonl={part}"]) in {3, 11}
    assert len(part.read_bytes().splitlines()) == len(before.splitlines())
