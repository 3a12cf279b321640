"""The README's walk-through, typed word for word."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from examples.draw_video import write_video

from tests.conftest import REPOSITORY
from tests.guardian_process import environment

README = REPOSITORY / "README.md"


def walk_through() -> list[str]:
    """The commands of the blocks that the README marks, in order."""
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(r"<!-- walk-through -->\n((?:    .*\n)+)", text)
    return [line.strip() for block in blocks for line in block.splitlines()]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_walk_through_works_as_it_is_written(tmp_path: Path) -> None:
    write_video(tmp_path / "video.mp4")
    commands = walk_through()
    assert len(commands) == 12
    said: dict[str, subprocess.CompletedProcess[str]] = {}
    try:
        for command in commands:
            program, *arguments = shlex.split(command)
            assert program == "guardian"
            done = subprocess.run(
                [sys.executable, "-m", "guardian_cli", *arguments],
                cwd=tmp_path,
                env=environment(tmp_path),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            said[command] = done
    finally:
        stop = [sys.executable, "-m", "guardian_cli", "endpoints", "--stop"]
        subprocess.run(stop, cwd=tmp_path, env=environment(tmp_path), check=False, timeout=60)
    scan = said["guardian scan video.mp4 --fail-on never"]
    assert re.search(r"nsfw endpoint http://127\.0\.0\.1:\d+/score: ok, 13 frames", scan.stdout)
    assert "version-2   challenger" in said["guardian deploy nsfw-detector --traffic 10"].stdout
    history = said["guardian rollback nsfw-detector --history"].stdout
    assert "missed a case" in history
    assert "fewer false alarms" in history
    key = re.search(r"_KEY=(\S+)", (tmp_path / ".env").read_text(encoding="utf-8"))
    assert key is not None
    assert not any(key.group(1) in done.stdout + done.stderr for done in said.values())


def test_every_verb_and_option_is_in_the_readme_or_the_help() -> None:
    text = README.read_text(encoding="utf-8")
    for verb in ("scan", "setup", "train", "deploy", "endpoints", "rollback"):
        assert f"guardian {verb}" in text


def test_the_documents_stand_alone() -> None:
    """No path of a machine, no issue number, no registry's host."""
    files = [README, REPOSITORY / "CHANGELOG.md", *(REPOSITORY / "docs").glob("*.md")]
    for path in [*files, *Path(REPOSITORY / "src").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        for banned in ("../shared", "/work/", "issue 2", "issue #"):
            assert banned not in text, f"{path.name}: {banned}"
