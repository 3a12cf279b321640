"""guardian as a library: what the verb gives, quiet, and from any thread."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import requests
import uvicorn

import guardian_cli
from guardian_cli import Scanner
from guardian_cli.cli import run
from guardian_cli.errors import ConfigError, UsageError
from tests.conftest import REPOSITORY
from tests.guardian_process import environment, guardian
from tests.media.drawing import draw, steady
from tests.scoring_server import ScoringServer, Step
from tests.test_architecture import HEAVY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Image = NDArray[np.uint8]

REVIEWED, BLOCKED = 128, 255


def brightness(image: Image) -> float:
    """What the endpoint of these tests scores: black is 0, white is 1."""
    return float(image.mean()) / 255


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with settings, one model behind an endpoint, and uploads of every verdict."""
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    for name, level in {"calm": 20, "doubtful": REVIEWED, "bright": BLOCKED}.items():
        cv2.imwrite(str(uploads / f"{name}.png"), np.full((48, 64, 3), level, np.uint8))
    dark = [np.full((96, 160, 3), 16, np.uint8)] * 50
    draw(tmp_path / "video.mp4", steady(2), pictures=dark)
    (uploads / "broken.mp4").write_bytes(b"no video")
    with ScoringServer(brightness) as server:
        settings = {
            "scan": {"detectors": ["endpoint"]},
            "categories": {"nsfw": {"endpoint": server.uri}, "violence": False},
        }
        (tmp_path / "guardian.yaml").write_text(json.dumps(settings), encoding="utf-8")
        yield tmp_path


@pytest.fixture
def scanner(folder: Path) -> Iterator[Scanner]:
    with Scanner.from_config(folder / "guardian.yaml", workers=2) as scanner:
        yield scanner


def run_python(code: str, folder: Path) -> tuple[int, str, str]:
    """Run a program in a folder; return its exit code, stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_import_is_light(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "begun_s = time.process_time()\n"
        "import guardian_cli\n"
        "took_s = time.process_time() - begun_s\n"
        "print(took_s, *{name.partition('.')[0] for name in sys.modules})\n"
    )

    runs = [run_python(code, tmp_path)[1].split() for _ in range(5)]
    assert not set(runs[0]) & (HEAVY | {"pydantic", "typer", "dotenv"})
    assert min(float(took_s) for took_s, *_ in runs) < 0.03


def test_the_package_has_no_other_names() -> None:
    assert guardian_cli.__all__ == ["Result", "Scanner", "__version__"]
    with pytest.raises(AttributeError, match="scanner"):
        _ = guardian_cli.scanner  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "options",
    [
        {"every_s": 0.0},
        {"timeout_s": -1.0},
        {"workers": 0},
        {"model_config": "none.json"},
        {"pretrained": "none/clip.pt"},
        {"for_s": 0.0},
        {"max_bytes": 0},
        {"decode": "half"},
        {"device": "tpu"},
        {"precision": "fp8"},
        {"categories": "nsfw"},
    ],
)
def test_what_makes_no_sense_is_raised_at_once(folder: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Scanner.from_config(folder / "guardian.yaml", **options)


def test_settings_that_are_wrong_or_not_there_are_raised_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        Scanner.from_config(tmp_path / "none.yaml")
    path = tmp_path / "guardian.yaml"
    path.write_text("scan: {evry: 1}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="every"):
        Scanner.from_config(path)
    path.write_text("categories: {nsfw: off, violence: off}\n", encoding="utf-8")
    with pytest.raises(UsageError, match="no category"):
        Scanner.from_config(path)


def test_private_addresses_are_refused_unless_the_file_allows_them(tmp_path: Path) -> None:
    path = tmp_path / "guardian.yaml"
    for text, meant in (("{}", "refuse"), ("scan: {private_addresses: allow}", "allow")):
        path.write_text(text, encoding="utf-8")
        config = Scanner.from_config(path)._settings.config
        assert config.scan.private_addresses == meant


@pytest.mark.slow
def test_where_nothing_can_score_is_raised_and_may_be_tried_again(tmp_path: Path) -> None:
    text = "scan: {detectors: [clip]}\ncategories: {nsfw: off}\n"
    (tmp_path / "guardian.yaml").write_text(text, encoding="utf-8")
    code = """
from guardian_cli import Scanner, errors
with Scanner.from_config(offline=True) as scanner:
    for attempt in (scanner.load, lambda: scanner.scan("video.mp4")):
        try:
            attempt()
        except errors.MissingError as error:
            assert "nothing can score a frame" in str(error)
        else:
            raise AssertionError
"""
    assert run_python(code, tmp_path) == (0, "", "")


@pytest.mark.slow
def test_results_are_the_documents_of_the_verb(folder: Path) -> None:
    names = ["uploads/calm.png", "uploads/doubtful.png", "uploads/broken.mp4", "video.mp4", "none"]
    with contextlib.chdir(folder), Scanner.from_config("guardian.yaml", frames=True) as scanner:
        results = [scanner.scan(name) for name in names]
        assert scanner.warnings == ()
    assert [result.verdict for result in results] == ["allow", "review", "error", "allow", "error"]
    assert results[1].reasons
    assert results[1].categories["nsfw"].score == pytest.approx(0.5, abs=0.01)
    assert results[3].coverage.complete
    run = guardian("scan", *names, "--json", "--frames", folder=folder)
    expected = run.document["scans"]
    found = [json.loads(json.dumps(result.to_dict())) for result in results]
    for one in (*expected, *found):
        del one["timing"]
        del one["made"]["when"]
        for detector in one["detectors"]:
            detector.pop("latency_ms", None)
    assert found == expected


@pytest.mark.slow
def test_many_sources_end_once_each(folder: Path, scanner: Scanner) -> None:
    uploads = folder / "uploads"
    found = list(scanner.scan_many([uploads, folder / "video.mp4", uploads / "calm.png"]))
    assert {Path(one.source).name: one.verdict for one in found} == {
        "calm.png": "allow",
        "doubtful.png": "review",
        "bright.png": "block",
        "broken.mp4": "error",
        "video.mp4": "allow",
    }
    assert len(found) == 5
    assert list(scanner.scan_many([])) == []
    assert {len(list(scanner.scan_many(one))) for one in (uploads, str(uploads))} == {4}
    (folder / "empty").mkdir()
    for named in ("empty", "*.avi"):
        with pytest.raises(UsageError):
            scanner.scan_many([folder / named])
    with pytest.raises(UsageError, match="folder"):
        scanner.scan(uploads)
    with pytest.raises(UsageError, match="no end"):
        scanner.scan("rtsp://127.0.0.1:1/x")
    assert scanner.scan(f"{uploads}/*.png").verdict == "error"
    # Among others it is one result more, as is a name that means something to the verb.
    several = scanner.scan_many(["rtsp://127.0.0.1:1/x", "-", uploads / "bright.png"])
    assert {one.source: one.verdict for one in several} == {
        "rtsp://127.0.0.1:1/x": "error",
        "./-": "error",
        str(uploads / "bright.png"): "block",
    }


@pytest.mark.slow
def test_what_is_stored_can_be_decided_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, store = folder / "guardian.yaml", folder / "store"
    with Scanner.from_config(config, store=store, frames=True) as scanner:
        found = {one.source: one for one in scanner.scan_many([folder / "uploads"])}
    run(["replay", str(store), "--config", str(config), "--json"])
    again = {one["source"]: one for one in json.loads(capsys.readouterr().out)["scans"]}
    assert {name: one["verdict"] for name, one in again.items()} == {
        name: one.verdict for name, one in found.items()
    }


@pytest.mark.slow
def test_the_sheet_of_all_that_was_scanned_is_written_at_the_end(folder: Path) -> None:
    config, report = folder / "guardian.yaml", folder / "report"
    with Scanner.from_config(config, report=report) as scanner:
        found = [*scanner.scan_many([folder / "uploads"]), scanner.scan(folder / "video.mp4")]
        assert not (report / "index.html").exists()
    pages = [page.read_text("utf-8") for page in (report / "sources").glob("*.html")]
    assert len(pages) == len({one.source for one in found})
    assert all(any(Path(one.source).name in page for page in pages) for one in found)
    assert list((report / "stills").glob("*.jpg"))
    with Scanner.from_config(config, report=report, stills=False) as scanner:
        scanner.scan(folder / "video.mp4")
    assert not list((report / "stills").glob("*.jpg"))
    with (
        Scanner.from_config(config, report=folder / "uploads") as scanner,
        pytest.raises(UsageError, match="holds other things"),
    ):
        scanner.load()


def test_whoever_stops_reading_begins_nothing_more(folder: Path) -> None:
    picture = (folder / "uploads" / "calm.png").read_bytes()
    many = folder / "many"
    many.mkdir()
    for number in range(60):
        (many / f"{number}.png").write_bytes(picture + bytes(number))
    with Scanner.from_config(folder / "guardian.yaml", workers=1) as scanner:
        results = scanner.scan_many([many])
        next(iter(results))
        del results
        assert scanner.scan(folder / "video.mp4").verdict == "allow"


@pytest.mark.slow
def test_any_thread_may_scan(folder: Path, scanner: Scanner) -> None:
    names = ["uploads/calm.png", "uploads/doubtful.png", "uploads/bright.png", "video.mp4"]
    barrier, verdicts = threading.Barrier(8), [""] * 8

    def scan(number: int) -> None:
        # The first scan loads the detectors, and these are all the first.
        barrier.wait(timeout=30)
        verdicts[number] = scanner.scan(folder / names[number % 4]).verdict

    threads = [threading.Thread(target=scan, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert verdicts == ["allow", "review", "block", "allow"] * 2


def test_a_closed_scanner_scans_nothing_and_closes_again(folder: Path) -> None:
    unused = Scanner.from_config(folder / "guardian.yaml")
    unused.close()
    scanner = Scanner.from_config(folder / "guardian.yaml")
    assert scanner.scan(folder / "video.mp4").verdict == "allow"
    scanner.close()
    scanner.close()
    for one in (unused, scanner):
        with pytest.raises(UsageError, match="closed"):
            one.scan(folder / "video.mp4")
        with pytest.raises(UsageError, match="closed"):
            one.scan_many([folder])


def test_closing_ends_what_is_under_way(folder: Path) -> None:
    file = folder / "guardian.yaml"
    settings = json.loads(file.read_text(encoding="utf-8"))
    raised = []

    def scan(scanner: Scanner) -> None:
        try:
            scanner.scan(folder / "uploads" / "calm.png")
        except UsageError as error:
            raised.append(str(error))

    with ScoringServer(usual=Step(hang=True)) as server:
        settings["categories"]["nsfw"]["endpoint"] = server.uri
        file.write_text(json.dumps(settings), encoding="utf-8")
        scanner = Scanner.from_config(file)
        thread = threading.Thread(target=scan, args=(scanner,))
        thread.start()
        server.wait_for(1)
        scanner.close()
        thread.join(60)
    assert raised == ["this Scanner was closed while it scanned"]


@pytest.mark.slow
def test_nothing_is_printed_and_nothing_of_the_process_changed(folder: Path) -> None:
    code = """
import os, signal, sys
import cv2  # which sets LD_LIBRARY_PATH
import guardian_cli

def state():
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    streams = [(stream.errors, stream.encoding) for stream in (sys.stdout, sys.stderr)]
    return handlers, streams, dict(os.environ), os.getcwd(), sys.excepthook, os.umask(0o022)

os.umask(0o022)
before = state()
scanner = guardian_cli.Scanner.from_config()
verdicts = [one.verdict for one in scanner.scan_many(["uploads", "video.mp4"])]
assert sorted(verdicts) == ["allow", "allow", "block", "error", "review"], verdicts
assert state() == before
"""
    # It is not closed: the end of the process does that, without a word.
    assert run_python(code, folder) == (0, "", "")


def examples() -> list[str]:
    text = (REPOSITORY / "docs" / "library.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_examples_of_the_page_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    *short, handler = examples()
    names: dict[str, Any] = {}
    with contextlib.chdir(folder):
        for example in short:
            exec(example, names)
        assert json.loads(names["record"])["verdict"] == "allow"
        assert len(names["verdicts"]) == 5
        exec(handler, names)
        with serving(names["app"]) as address:
            answers = {
                name: requests.put(
                    f"{address}/uploads/{name}",
                    data=(folder / "uploads" / name).read_bytes(),
                    timeout=60,
                )
                for name in ("calm.png", "doubtful.png", "bright.png", "broken.mp4")
            }
    assert {name: answer.status_code for name, answer in answers.items()} == {
        "calm.png": 201,
        "doubtful.png": 202,
        "bright.png": 422,
        "broken.mp4": 422,
    }
    assert answers["bright.png"].json()["verdict"] == "block"
    assert [one["source"] for one in names["review_queue"]] == ["doubtful.png"]
    assert capsys.readouterr().out == ""


@contextlib.contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an application on loopback, in a thread; gives its address."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error")
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    # Whoever connects while the application starts waits for it.
    socket.listen()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
