"""No library of guardian's reports to anybody: names asked for, connections, files left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.conftest import REPOSITORY
from tests.guardian_process import COMMAND, environment
from tests.tiny_clip import write_video

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

# Some libraries report nothing where they find one of these: the tests must not.
TESTING = ("CI", "GITHUB_ACTIONS", "TF_BUILD", "JENKINS_URL", "PYTEST_CURRENT_TEST")
HOOK = """\
import os, sys
def hook(event, args):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        place = args[1] if event in ("socket.connect", "socket.sendto") else args[0]
        if not isinstance(place, (str, bytes)) or event[7] == "g":
            with open(os.environ["WATCHED_LOG"], "a") as file:
                print(event, place, file=file)
sys.addaudithook(hook)
"""
OUTSIDE = ("unshare", "--map-root-user", "--net", "--mount")


@dataclass(frozen=True)
class Watched:
    """What came of a run: its exit code and stderr, what it asked the network for, its home."""

    code: int
    err: str
    asked: list[str]
    files: list[str]


def watched(folder: Path, *arguments: str) -> Watched:
    """Run guardian where there is no network and all that looks for one is written down."""
    hook, home, work = folder / "hook", folder / "home", folder / "work"
    for new in (hook, home, work):
        new.mkdir(exist_ok=True)
    (hook / "sitecustomize.py").write_text(HOOK, encoding="utf-8")
    log = folder / "asked.log"
    log.write_text("")
    env = environment(home, WATCHED_LOG=str(log), PYTHONPATH=f"{hook}{os.pathsep}{REPOSITORY}")
    for name in (*TESTING, "HF_HUB_OFFLINE", "XDG_CACHE_HOME"):
        env.pop(name, None)
    # -S: the resolver's own process is not watched.
    inside = (sys.executable, "-S", "-m", "tests.watched_network", str(log))
    done = subprocess.run(
        [*OUTSIDE, *inside, *COMMAND, *arguments],
        cwd=work,
        env=env,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    files = sorted(str(one.relative_to(home)) for one in home.rglob("*") if one.is_file())
    return Watched(done.returncode, done.stderr, log.read_text().split("\n")[:-1], files)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    allowed = subprocess.run([*OUTSIDE, "true"], capture_output=True, check=False).returncode == 0
    if not allowed:
        pytest.skip("no network namespace may be made here")
    (tmp_path / "work").mkdir()
    write_video(tmp_path / "work" / "calm.mp4", seconds=2, hot=None, size=(64, 48))
    return tmp_path


def test_offline_asks_nobody_and_leaves_no_file(folder: Path) -> None:
    run = watched(folder, "scan", "calm.mp4", "--offline", "--fail-on", "never")
    assert run.code == 0, run.err
    assert run.asked == []
    assert run.files == []


def test_a_scan_asks_the_model_hub_and_nobody_else(folder: Path) -> None:
    run = watched(folder, "scan", "calm.mp4", "--fail-on", "never")
    assert run.code == 0, run.err
    assert {one.split()[-1] for one in run.asked} <= {"huggingface.co"}, run.asked
    assert run.asked, "the watch sees nothing"
    assert run.files == []


def test_the_registry_asks_nobody(folder: Path) -> None:
    run = watched(folder, "setup")
    assert run.code == 0, run.err
    assert run.asked == []
    assert [one for one in run.files if "matplotlib" not in one] == []
