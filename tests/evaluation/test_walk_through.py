"""What docs/deciding.md walks through does what it says, on drawn videos and by real scans."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from examples import draw_labelled
from jsonschema import Draft202012Validator

from guardian_cli.cli import run
from guardian_cli.reports.results_file import read_results
from guardian_cli.reports.schemas import load_schema
from tests.conftest import REPOSITORY
from tests.guardian_process import tiny_options

if TYPE_CHECKING:
    from tests.tiny_clip import TinyClip

# Enough to calibrate on, few enough to wait for.
VIDEOS = 30


@pytest.mark.slow
def test_thresholds_on_your_own_material(
    tmp_path: Path,
    tiny_clip: TinyClip,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = (REPOSITORY / "docs" / "deciding.md").read_text(encoding="utf-8")
    section = text.split("## Thresholds on your own material")[1]
    drawing, *verbs = re.findall(r"^    (python .*|guardian .*)$", section, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    draw_labelled.main(shlex.split(drawing.replace("600", str(VIDEOS)))[2:])
    monkeypatch.chdir(tmp_path / "stars")
    capsys.readouterr()
    said = ""
    for command in verbs:
        _, *words = shlex.split(command)
        target = words[words.index(">") + 1] if ">" in words else None
        words = words[: words.index(">")] if target else words
        options = [] if words[0] == "compare" else [*tiny_options(tiny_clip), "--offline"]
        code = run([*words, *options])
        out, err = capsys.readouterr()
        assert code == 0, err
        said += err
        if target:
            Path(target).write_text(out, encoding="utf-8")
    assert "cannot show a rate of 1.00%: that takes 299 at least" in said
    assert "fitted to other" not in said
    assert "prompts:" in Path("calibrated.yaml").read_text(encoding="utf-8")
    old, new = (
        {line["source"]: line for line in read_results(Path(name))}
        for name in ("old.jsonl", "new.jsonl")
    )
    assert len(old) == len(new) == VIDEOS
    clean = {
        row[0]
        for row in csv.reader(Path("labels.csv").read_text().splitlines())
        if row[2] == "other"
    }
    flagged = [name for name in clean if new[name]["verdict"] != "allow"]
    assert len(flagged) <= 1
    for name, one in new.items():
        Draft202012Validator(load_schema("scan")).validate(one)
        assert one["made"]["fingerprint"] != old[name]["made"]["fingerprint"]
        assert one["made"]["calibration"].keys() == {"red-star"}
    assert "Verdicts: old.jsonl" in Path("flips.md").read_text(encoding="utf-8")
    assert Path("before.png").stat().st_size > 10_000
    assert Path("mistakes.csv").is_file()
