"""docs/watching.md, typed word for word in this process."""

from __future__ import annotations

import re
import shlex
import shutil
import textwrap
from typing import TYPE_CHECKING

import pytest
from examples.draw_year import draw_year

from guardian_cli.cli import run
from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (REPOSITORY / "docs" / "watching.md").read_text(encoding="utf-8")


def blocks(mark: str) -> list[str]:
    """The indented blocks that follow a mark."""
    found = re.findall(rf"<!-- {mark} -->\n\n((?:    .*\n)+)", PAGE)
    return [textwrap.dedent(block) for block in found]


@pytest.mark.slow
def test_the_year_goes_as_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    draw_year(tmp_path)
    (tmp_path / "guardian.yaml").write_text(blocks("guardian.yaml")[0], encoding="utf-8")
    said: dict[str, str] = {}
    try:
        for line in "".join(blocks("walk-through")).splitlines():
            program, *arguments = shlex.split(line, comments=True)
            if program == "cp":
                shutil.copy(*arguments)
                continue
            expected = re.search(r"# ends with (\d+)", line)
            code = run(arguments)
            shown = capsys.readouterr()
            said[arguments[0]] = shown.out + shown.err
            assert code == (int(expected[1]) if expected else 0), f"{line}\n{said[arguments[0]]}"
    finally:
        run(["endpoints", "--stop", "--quiet"])
    assert re.search(r"psi +nsfw .* alert", said["monitor"])
    assert "svg" in (tmp_path / "monitor.html").read_text(encoding="utf-8")
    mistakes = (tmp_path / "mistakes.csv").read_text(encoding="utf-8").splitlines()
    assert mistakes[0] == "path,category,label,group,verdict"
    assert any(line.startswith("autumn/labelled/") for line in mistakes[1:])
    assert "32 new labels, at least 10 are wanted" in said["retrain"]
    assert "only the new one" in " ".join(said["compare"].split())
    assert "gate passed: " in said["rollback"]
    assert "knows autumn" in said["rollback"]
    assert "0 USD a month" in said["endpoints"]
