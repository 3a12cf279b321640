"""What goes to which stream, and which exit code ends a run."""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from guardian_cli.cli import EXIT_INTERRUPTED
from guardian_cli.errors import MissingError, PlatformError, UsageError
from guardian_cli.verdict.policy import EXIT_ALLOW, EXIT_BLOCK, EXIT_ERROR, EXIT_REVIEW
from tests.guardian_process import COMMAND, Run, environment, guardian, restore_interrupts
from tests.tiny_clip import write_video

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

# The offline detector alone: it knows one category, needs no training and starts fast.
OFFLINE = "scan: {detectors: [opennsfw]}\ncategories: {violence: off}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "guardian.yaml").write_text(OFFLINE, encoding="utf-8")
    write_video(tmp_path / "calm.mp4", seconds=3, hot=None, size=(320, 180))
    return tmp_path


def scan(folder: Path, *arguments: str | Path, **more: str) -> Run:
    return guardian("scan", *arguments, folder=folder, **more)


def test_the_table_is_all_that_stdout_carries(folder: Path) -> None:
    run = scan(folder, "calm.mp4")
    assert run.code == 0, run.err
    assert "ALLOW" in run.out
    assert "calm.mp4" in run.out
    assert run.err == ""
    assert "\x1b" not in run.out + run.err


def test_json_is_one_document_and_jsonl_a_line_each(folder: Path) -> None:
    (folder / "broken.mp4").write_bytes(b"no video")
    run = scan(folder, "calm.mp4", "broken.mp4", "none.mp4", "--json")
    assert run.code == 3
    verdicts = [scan["verdict"] for scan in run.document["scans"]]
    assert verdicts == ["allow", "error", "error"]
    assert run.document["verdict"] == "error"
    run = scan(folder, "calm.mp4", "broken.mp4", "--jsonl", "--fail-on", "never")
    assert run.code == 3
    assert sorted(line["source"] for line in run.lines) == ["broken.mp4", "calm.mp4"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--every", "0", "calm.mp4"],
        ["--every", "nan", "calm.mp4"],
        ["--every", "often", "calm.mp4"],
        ["--evry", "1", "calm.mp4"],
        ["--decode", "quick", "calm.mp4"],
        ["--json", "--jsonl", "calm.mp4"],
        ["--config", "none.yaml", "calm.mp4"],
        ["--pretrained", "none/clip.pt", "calm.mp4"],
        ["--pretrained", "none/clip", "calm.mp4"],
        ["--pretrained", "./clip", "none.mp4"],
        ["rtsp://127.0.0.1:1/x"],
        ["empty-folder"],
        ["*.avi"],
        ["--resume", "none/out.jsonl", "calm.mp4"],
        ["--workers", "0", "calm.mp4"],
        ["--timeout", "0", "calm.mp4"],
        ["--frames", "calm.mp4"],
        ["--config", "no-category.yaml", "calm.mp4"],
    ],
)
def test_wrong_usage_is_exit_2_with_nothing_on_stdout(folder: Path, arguments: list[str]) -> None:
    (folder / "empty-folder").mkdir()
    (folder / "no-category.yaml").write_text("categories: {nsfw: off, violence: off}\n")
    if "--pretrained" in arguments:
        (folder / "guardian.yaml").unlink()
    run = scan(folder, *arguments)
    assert run.code == 2, run.err
    assert run.out == ""
    error, hint = run.err.splitlines()[-2:]
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")


@pytest.mark.parametrize(
    ("arguments", "warning"),
    [
        (["--for", "5"], "--for has no effect: none of the sources is a stream"),
        (["--model", "ViT-L-14"], "--model has no effect: clip is not in scan.detectors"),
        (["--precision", "bf16"], "--precision has no effect: clip is not in scan.detectors"),
    ],
)
def test_an_option_without_effect_is_said(folder: Path, arguments: list[str], warning: str) -> None:
    run = scan(folder, "none.mp4", *arguments, "--quiet")
    assert run.err == f"warning: {warning}\n"


def test_the_help_lists_the_exit_codes_that_a_scan_can_give() -> None:
    """4 is a registry's alone: an endpoint that fails degrades a scan and never ends it."""
    done = subprocess.run([*COMMAND, "scan", "--help"], capture_output=True, text=True, check=True)
    codes = done.stdout.split("Exit codes:")[1].split(".")[0]
    listed = {int(word) for word in re.findall(r"\d+", codes)}
    judged = {EXIT_ALLOW, EXIT_REVIEW, EXIT_BLOCK, EXIT_ERROR}
    errors = {one.exit_code for one in (UsageError, PlatformError, MissingError)}
    assert listed == judged | errors | {EXIT_INTERRUPTED}


@pytest.mark.parametrize("name", ["none.mp4", "ftp://127.0.0.1/x.mp4", "http://127.0.0.1:1/x.mp4"])
def test_what_is_not_there_is_exit_3(folder: Path, name: str) -> None:
    run = scan(folder, name, "--json")
    assert run.code == 3
    assert run.scan["verdict"] == "error"
    assert run.scan["error"]["message"]
    coverage = run.scan["coverage"]
    assert (coverage["frames_scored"], coverage["complete"]) == (0, False)


@pytest.mark.parametrize(
    "words", [["--help"], ["scan", "--help"], ["--version"], ["--schema", "scan"]]
)
def test_a_reader_that_goes_away_from_a_help_text(tmp_path: Path, words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*COMMAND, *words],
        env=environment(tmp_path),
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_failed_endpoint_is_told_of_even_with_quiet(folder: Path) -> None:
    settings = OFFLINE.replace("[opennsfw]", "[opennsfw, endpoint]")
    (folder / "guardian.yaml").write_text(settings, encoding="utf-8")
    run = scan(folder, "calm.mp4", "--quiet", NSFW_MODEL_ENDPOINT="http://127.0.0.1:1/score")
    assert run.code == 0
    assert run.err.startswith("warning: Model endpoint nsfw: http://127.0.0.1:1/score failed: ")


def test_a_reader_that_goes_away_ends_it_quietly(folder: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "scan", "calm.mp4", "none.mp4", "--jsonl"],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        error = process.stderr.read()
        assert process.wait(timeout=60) == 141
    assert error == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
@pytest.mark.parametrize("output", ["--json", "--jsonl", "--quiet"])
def test_an_output_that_cannot_be_written_is_exit_2(folder: Path, output: str) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [*COMMAND, "scan", "calm.mp4", output],
            cwd=folder,
            env=environment(folder),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 2
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def web(folder: Path) -> Iterator[str]:
    handler = functools.partial(QuietHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        return


def test_an_address_is_fetched_and_its_secrets_are_masked(folder: Path, web: str) -> None:
    address = web.replace("http://", "http://me:secret@") + "/calm.mp4?sig=token"
    run = scan(folder, address, "--json")
    assert run.code == 0, run.err
    assert run.scan["coverage"]["frames_scored"] >= 3
    assert "secret" not in run.out + run.err
    assert "token" not in run.out + run.err
    run = scan(folder, f"{web}/none.mp4", "--json")
    assert run.code == 3
    assert "404" in run.scan["error"]["message"]


def test_offline_fetches_nothing(folder: Path, web: str) -> None:
    run = scan(folder, f"{web}/calm.mp4", "--json", "--offline")
    assert run.code == 3
    assert run.scan["error"]["kind"] == "offline"


def test_stills_and_names_of_all_kinds(folder: Path) -> None:
    picture = np.full((90, 160, 3), 128, np.uint8)
    names = ["a b.png", "100%d.jpg", "ü.webp", "-dash.png", "with:colon.jpg", "noend"]
    for name in names:
        ok, data = cv2.imencode(".png", picture)
        assert ok
        (folder / name).write_bytes(data.tobytes())
    run = scan(folder, "--json", "--", *names)
    assert [scan["verdict"] for scan in run.document["scans"]] == ["allow"] * len(names), run.out


def test_without_weights_and_network_it_is_settled_soon(folder: Path) -> None:
    """One clear line; the offline detector steps in; violence is unscored."""
    (folder / "guardian.yaml").unlink()
    started_s = time.monotonic()
    run = scan(folder, "calm.mp4", "--json", HF_HUB_OFFLINE="0", HF_ENDPOINT="http://127.0.0.1:9")
    assert time.monotonic() - started_s < 60
    clip, other = run.scan["detectors"]
    assert (clip["name"], clip["status"]) == ("clip", "unavailable")
    assert (other["name"], other["status"]) == ("opennsfw", "ok")
    assert run.scan["categories"]["violence"]["score"] is None
    assert run.scan["categories"]["nsfw"]["score"] is not None
    assert run.code == 10
    warning, hint = run.err.splitlines()[:2]
    assert warning.startswith("warning: clip is not available: ")
    assert hint.startswith("hint: guardian doctor --fetch-weights")
    assert str(folder / ".cache" / "huggingface") in hint or str(folder / "huggingface") in hint
    assert len([line for line in run.err.splitlines() if "clip" in line]) == 1
    assert "warning: not scored: violence\nhint: guardian doctor" in run.err


def test_schema_and_version() -> None:
    done = subprocess.run(
        [*COMMAND, "--schema", "scan"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["$schema"].startswith("https://json-schema.org/")
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("guardian ")
    assert sys.version_info >= (3, 11)


def test_without_a_word_it_shows_its_help() -> None:
    done = subprocess.run([*COMMAND], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: guardian")
    assert done.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
def test_help_that_cannot_be_written_is_exit_2() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [*COMMAND, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert "No space left" in done.stderr


def test_a_list_on_a_closed_stdin_is_exit_2(folder: Path) -> None:
    command = f"{' '.join(COMMAND)} scan - <&-"
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no source was named" in done.stderr


def test_switched_off_everything_is_unscored_and_reviewed(folder: Path) -> None:
    (folder / "guardian.yaml").write_text("scan: {detectors: [endpoint]}\n", encoding="utf-8")
    run = scan(folder, "calm.mp4", "--json", "--no-endpoints")
    assert run.code == 10
    assert run.scan["categories"]["nsfw"]["score"] is None


def test_interrupted_while_it_starts_it_is_quiet(folder: Path) -> None:
    """A pipe in the place of the settings file holds it at a known moment of its start."""
    os.mkfifo(folder / "settings")
    with (
        subprocess.Popen(
            [*COMMAND, "scan", "calm.mp4", "--config", "settings"],
            cwd=folder,
            env=environment(folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=restore_interrupts,  # noqa: PLW1509 - no thread runs here
            text=True,
        ) as process,
        (folder / "settings").open("w"),
    ):
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")
