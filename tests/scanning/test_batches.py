"""Folders, kill -9, Ctrl-C, and going on where a batch was left."""

from __future__ import annotations

import functools
import http.server
import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.guardian_process import COMMAND, Run, environment, guardian, restore_interrupts
from tests.scanning.test_command import OFFLINE, QuietHandler
from tests.scoring_server import ScoringServer, Step
from tests.tiny_clip import write_video

pytestmark = pytest.mark.slow

COUNT = 24


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "guardian.yaml").write_text(OFFLINE, encoding="utf-8")
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


def test_a_result_stands_for_the_same_content_and_settings_alone(folder: Path) -> None:
    for number in range(4, COUNT):
        (folder / "uploads" / f"{number:02d}.mp4").unlink()
    first = guardian("scan", "uploads", "--resume", "d.jsonl", "--json", folder=folder)
    assert first.code == 0
    made = [scan["made"] for scan in first.document["scans"]]
    assert made[0]["weights"]["opennsfw"].startswith("sha256:")
    assert len({one["fingerprint"] for one in made}) == 1
    run = guardian("scan", "uploads", "--resume", "d.jsonl", "--jsonl", folder=folder)
    assert (run.code, run.out) == (0, "")
    assert "4 done already\n" in run.err
    (folder / "uploads" / "03.mp4").write_bytes(b"changed")
    run = guardian("scan", "uploads", "--resume", "d.jsonl", "--jsonl", folder=folder)
    assert [line["source"] for line in run.lines] == ["uploads/03.mp4"]
    assert "3 done already, 1 again: 1 other content\n" in run.err
    assert run.code == 3
    run = guardian("scan", "uploads/01.mp4", "--resume", "d.jsonl", "--json", folder=folder)
    assert run.code == 0, "the failed one is not of this call"
    assert [scan["source"] for scan in run.document["scans"]] == ["uploads/01.mp4"]
    strict = OFFLINE.replace("off}", "off, nsfw: {review: 0, block: 0}}")
    (folder / "guardian.yaml").write_text(strict, encoding="utf-8")
    run = guardian("scan", "uploads/01.mp4", "--resume", "d.jsonl", "--json", folder=folder)
    assert run.code == 11, "lenient thresholds made the one that is held"
    assert "0 done already, 1 again: 1 other settings\n" in run.err


def test_an_address_is_fetched_again_and_scanned_again_when_it_holds_something_else(
    folder: Path,
) -> None:
    uploads = folder / "uploads"
    handler = functools.partial(QuietHandler, directory=str(uploads))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}/00.mp4?token=1"

    def scan() -> Run:
        return guardian("scan", address, "--resume", "d.jsonl", "--jsonl", folder=folder)

    try:
        assert len(scan().lines) == 1
        assert scan().lines == []
        (uploads / "00.mp4").write_bytes(b"changed")
        assert len(scan().lines) == 1
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("blow", "output"), [(signal.SIGINT, ["--json"]), (signal.SIGTERM, []), (signal.SIGINT, [])]
)
def test_interrupted_it_gives_what_is_finished_and_leaves_no_process(
    folder: Path, blow: int, output: list[str]
) -> None:
    settings = OFFLINE.replace("[opennsfw]", "[opennsfw, endpoint]")
    (folder / "guardian.yaml").write_text(settings, encoding="utf-8")
    # The picture needs one request, and it goes first; all that come later hang.
    cv2.imwrite(str(folder / "uploads" / "0.png"), np.full((90, 160, 3), 9, np.uint8))
    with ScoringServer(script=[Step()] * 4, usual=Step(hang=True)) as server:
        arguments = ("--resume", "d.jsonl", "--workers", "1", *output)
        process = begin(folder, *arguments, NSFW_MODEL_ENDPOINT=server.uri)
        server.wait_for(6)
        # What has been answered is judged and written before long, on a busy machine as well.
        waiting = threading.Event()
        while not (folder / "d.jsonl").read_bytes() and process.poll() is None:
            waiting.wait(0.02)
        workers = children_of(process.pid)
        assert workers
        os.kill(process.pid, blow)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    held = [json.loads(line) for line in (folder / "d.jsonl").read_text().splitlines()]
    assert {line["verdict"] for line in held} <= {"allow", "review", "error"}
    assert held, "at least the first one had ended"
    if output:
        document = Run(130, out, err).document
        assert document["interrupted"] is True
        assert [s["source"] for s in document["scans"]] == sorted(s["source"] for s in held)
    else:
        assert f"{len(held)} source" in out
        assert out.endswith(f"; {COUNT + 1 - len(held)} more were not scanned\n")
    assert "Traceback" not in err
    assert err.endswith("interrupted\n")
    assert "d.jsonl holds" in err
    assert "Model endpoint" not in err
    assert "terminate called" not in err
    assert gone(workers), "a decoder outlived guardian"
