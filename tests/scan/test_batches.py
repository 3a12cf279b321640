"""Folders, kill -9, Ctrl-C, and going on where a batch was left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.guardian_process import COMMAND, environment, guardian, restore_interrupts
from tests.scan.test_streams import NUDENET
from tests.scoring_server import ScoringServer, Step
from tests.tiny_clip import write_video

pytestmark = pytest.mark.slow

COUNT = 24


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pytest.importorskip("nudenet", reason="the extra `offline` is not installed")
    (tmp_path / "guardian.yaml").write_text(NUDENET, encoding="utf-8")
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    write_video(uploads / "00.mp4", seconds=1, hot=None, size=(160, 90))
    data = (uploads / "00.mp4").read_bytes()
    for number in range(1, COUNT):
        (uploads / f"{number:02d}.mp4").write_bytes(data)
    (uploads / "05.mp4").write_bytes(data[: len(data) // 3])
    (uploads / "06.mp4").write_bytes(b"")
    return tmp_path


def begin(folder: Path, *arguments: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "scan", "uploads", *arguments],
        cwd=folder,
        env=environment(folder, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=restore_interrupts,  # noqa: PLW1509 - no thread runs here
        text=True,
    )


def children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def gone(pids: list[int]) -> bool:
    waiting = threading.Event()
    for _ in range(100):
        if not any(is_alive(pid) for pid in pids):
            return True
        waiting.wait(0.1)
    return False


def test_a_folder_of_good_and_bad_files(folder: Path) -> None:
    run = guardian("scan", "uploads", "--jsonl", "--workers", "3", folder=folder)
    assert run.code == 3
    verdicts = {Path(line["source"]).name: line["verdict"] for line in run.lines}
    assert len(verdicts) == COUNT
    assert {name for name, verdict in verdicts.items() if verdict != "allow"} <= {
        "05.mp4",
        "06.mp4",
    }


def test_killed_it_goes_on_and_repeats_nothing(folder: Path) -> None:
    done = folder / "done.jsonl"
    process = begin(folder, "--resume", "done.jsonl", "--jsonl", "--workers", "2")
    assert process.stdout is not None
    first = [json.loads(process.stdout.readline()) for _ in range(5)]
    workers = children_of(process.pid)
    process.kill()
    process.wait(timeout=30)
    process.communicate()
    assert gone(workers), "a decoder outlived guardian"
    with done.open("a") as file:
        file.write('{"schema": "guardian.scan/1", "sour')
    held = {json.loads(line)["source"] for line in done.read_text().splitlines()[:-1]}
    assert {line["source"] for line in first} <= held
    run = guardian("scan", "uploads", "--resume", "done.jsonl", "--jsonl", folder=folder)
    again = {line["source"] for line in run.lines}
    failed = {
        line["source"]
        for line in map(json.loads, done.read_text().splitlines())
        if line["verdict"] == "error"
    }
    assert again & held <= failed
    assert len(again | held) == COUNT
    lines = [json.loads(line) for line in done.read_text().splitlines()]
    assert {line["source"] for line in lines} == again | held
    assert run.code == 3


def test_the_exit_code_covers_the_whole_file_and_changes_are_seen(folder: Path) -> None:
    for name in ("05.mp4", "06.mp4"):
        (folder / "uploads" / name).unlink()
    assert guardian("scan", "uploads", "--resume", "d.jsonl", folder=folder).code == 0
    run = guardian("scan", "uploads", "--resume", "d.jsonl", "--jsonl", folder=folder)
    assert (run.code, run.out) == (0, "")
    (folder / "uploads" / "03.mp4").write_bytes(b"changed")
    run = guardian("scan", "uploads", "--resume", "d.jsonl", "--jsonl", folder=folder)
    assert [line["source"] for line in run.lines] == ["uploads/03.mp4"]
    assert run.code == 3
    run = guardian("scan", "uploads/01.mp4", "--resume", "d.jsonl", "--json", folder=folder)
    assert run.code == 3
    assert len(run.document["scans"]) == COUNT - 2


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_no_process_and_a_valid_file(folder: Path, blow: int) -> None:
    settings = NUDENET.replace("[nudenet]", "[nudenet, endpoint]")
    (folder / "guardian.yaml").write_text(settings, encoding="utf-8")
    with ScoringServer(usual=Step(hang=True)) as server:
        process = begin(
            folder, "--resume", "d.jsonl", "--workers", "2", NSFW_MODEL_ENDPOINT=server.uri
        )
        server.wait_for(1)
        workers = children_of(process.pid)
        assert workers
        os.kill(process.pid, blow)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert "interrupted" in err
    assert "d.jsonl holds" in err
    assert "Model endpoint" not in err
    assert "terminate called" not in err
    assert gone(workers), "a decoder outlived guardian"
    for line in (folder / "d.jsonl").read_text().splitlines():
        assert json.loads(line)["verdict"] in {"allow", "review", "error"}
