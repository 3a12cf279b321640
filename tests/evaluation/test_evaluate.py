"""The verb on results that are kept: figures, mistakes, pictures, and a fragment that loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from guardian_cli.cli import run
from guardian_cli.reports.schemas import load_schema
from guardian_cli.settings import load_settings
from guardian_cli.training.data.dataset import list_csv
from tests.evaluation.elements import element, failed, write_results

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(rows: Sequence[tuple[str, str]], results: Sequence[Mapping[str, Any]]) -> None:
    lines = ["path,category,label", *(f"{path},nsfw,{label}" for path, label in rows)]
    Path("labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_results(Path("results.jsonl"), results)


def noise(clean: int, positives: int) -> None:
    rng = np.random.default_rng(0)
    scores = [*rng.beta(1, 8, clean), *rng.uniform(0.7, 0.9, positives)]
    rows = [(f"{at}.mp4", "nsfw" if at >= clean else "other") for at in range(len(scores))]
    write(rows, [element(row[0], {"nsfw": float(s)}) for row, s in zip(rows, scores, strict=True)])


def evaluate(*words: str) -> int:
    return run(["evaluate", "labels.csv", "--results", "results.jsonl", *words])


@pytest.mark.slow
def test_figures_counts_and_mistakes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(f"p{at}.mp4", "1") for at in range(8)] + [(f"n{at}.mp4", "0") for at in range(8)]
    results = [element(name, {"nsfw": 0.9 if name[0] == "p" else 0.1}) for name, _ in rows]
    results[0] = element("p0.mp4", {"nsfw": 0.2})
    results[15] = element("n7.mp4", {"nsfw": 0.6})
    rows += [("bad.mp4", "1"), ("dark.mp4", "0"), ("lost.mp4", "0")]
    results += [failed("bad.mp4"), element("dark.mp4", {"nsfw": None})]
    write(rows, results)
    for name in ("p0.mp4", "n7.mp4", "bad.mp4", "dark.mp4"):
        Path(name).touch()
    Path("out").mkdir()
    assert evaluate("--json", "--plot", "p.png", "--mistakes", "out/mistakes.csv") == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    Draft202012Validator(load_schema("evaluate")).validate(document)
    nsfw = document["categories"]["nsfw"]
    counts = {"videos": 19, "positives": 9, "errors": 1, "unscored": 1, "missing": 1}
    assert {name: nsfw[name] for name in counts} == counts
    assert nsfw["review"]["recall"]["value"] == 0.875
    assert nsfw["review"]["false_alarms"]["value"] == 0.125
    assert nsfw["block"]["false_alarms"]["value"] == 0.0
    assert nsfw["thresholds"] == {"review": 0.5, "block": 0.8}
    assert nsfw["interval"] == nsfw["auc"]["interval"]
    assert "1 of 19 videos could not be scanned" in err
    assert Path("p.png").read_bytes().startswith(b"\x89PNG")
    assert Path("out/mistakes.csv").read_text(encoding="utf-8") == (
        "path,category,label,group,verdict\n../p0.mp4,nsfw,1,,allow\n../n7.mp4,nsfw,0,,review\n"
        "../bad.mp4,nsfw,1,,error\n../dark.mp4,nsfw,0,,unscored\n"
    )
    samples, left_out = list_csv(Path("out/mistakes.csv"), "nsfw")
    assert [one.label for one in samples] == ["nsfw", "0", "nsfw", "0"]
    assert left_out == []
    assert evaluate() == 0
    assert "review recall        0.875  (95%: " in capsys.readouterr().out


def test_too_few_positives_are_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise(30, 1)
    assert evaluate("--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["categories"]["nsfw"]["auc"] == {"value": None, "interval": None}
    assert "nsfw: 1 positive video with a score: too few to tell" in err
    assert evaluate("--calibrate", "out.yaml") == 2
    assert "too few to calibrate on" in capsys.readouterr().err
    assert not Path("out.yaml").exists()


def test_calibrated_thresholds_load(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise(80, 20)
    assert evaluate("--calibrate", "out.yaml", "--false-alarms", "5%", "--json") == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    Draft202012Validator(load_schema("evaluate")).validate(document)
    fitted = document["categories"]["nsfw"]["calibration"]
    category = load_settings(Path("out.yaml"), environ={}).config.categories["nsfw"]
    assert (category.review, category.block) == (fitted["review"], fitted["block"])
    assert fitted["samples"] == 61
    text = Path("out.yaml").read_text(encoding="utf-8")
    assert '"labels.csv", sha256:' in text
    assert str(folder) not in text
    assert "evaluate without --results looks closer" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--false-alarms", "1%"], "without --calibrate"),
        (["--calibrate", "out.yaml", "--false-alarms", "0"], "hint: --false-alarms 1%"),
        (["--calibrate", "none/out.yaml"], "no such folder"),
        (["--plot", "."], "not a regular file"),
        (["--plot", "x", "--mistakes", "./x"], "the same file"),
        (["--mistakes", "results.jsonl"], "written over what is read"),
        (["--mistakes", "labels.csv"], "written over what is read"),
    ],
)
def test_wrong_usage(
    folder: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    noise(30, 10)
    assert evaluate(*words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "hint: " in err


def test_results_of_other_files_are_no_evaluation(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write([("a.mp4", "1")], [element("b.mp4", {"nsfw": 0.1})])
    assert evaluate() == 2
    assert "none of the labelled files has a result, such as a.mp4" in capsys.readouterr().err


def test_calibrated_results_are_not_calibrated_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise(30, 10)
    lines = [json.loads(line) for line in Path("results.jsonl").read_text().splitlines()]
    lines[0]["made"]["calibration"] = {"nsfw": f"sha256:{'0' * 64}"}
    write_results(Path("results.jsonl"), lines)
    assert evaluate("--calibrate", "out.yaml") == 2
    assert "calibrated already" in capsys.readouterr().err


def test_a_folder_has_no_label(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "clips").mkdir()
    write([("clips", "1")], [])
    assert run(["evaluate", "labels.csv"]) == 2
    assert "labels.csv, row 2: clips is a folder" in capsys.readouterr().err
