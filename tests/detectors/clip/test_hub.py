from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from guardian_cli.detectors.clip.hub import DownloadProgress, Hub, HubFile
from guardian_cli.errors import MissingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WEIGHTS = bytes(range(256)) * 4000
FILE = HubFile.read("owner/name/")


class FakeHub(ThreadingHTTPServer):
    """Serves `owner/name` as the model hub does; `files` maps names to content."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.status = 200
        self.asked: list[str] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        content = self.server.files.get(self.path.removeprefix("/owner/name/resolve/main/"))
        if content is None:
            self.send_response(404 if self.server.status == 200 else self.server.status)
            self.send_header("X-Error-Code", "EntryNotFound")
            content = b""
        else:
            self.send_response(self.server.status)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub_server() -> Iterator[FakeHub]:
    with FakeHub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def black_hole() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def find(hub: Hub, told: list[str] | None = None, *, offline: bool = False) -> Path:
    return hub.find(FILE, "a/b", offline=offline, tell=([] if told is None else told).append)


@pytest.mark.parametrize(
    ("entry", "repository", "names"),
    [
        ("o/n/", "o/n", ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")),
        ("o/n/x.bin", "o/n", ("x.safetensors", "x.bin")),
        ("o/n/x.safetensors", "o/n", ("x.safetensors",)),
    ],
)
def test_an_entry_names_a_repository_and_files(
    entry: str, repository: str, names: tuple[str, ...]
) -> None:
    assert HubFile.read(entry) == HubFile(repository, names)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILE.names)
def test_a_download_shows_its_progress_and_is_then_in_the_cache(
    hub_server: FakeHub, tmp_path: Path, name: str
) -> None:
    hub_server.files = {name: WEIGHTS}
    hub = Hub(hub_server.endpoint, tmp_path)
    told = ["start"]
    path = find(hub, told)
    assert path.name == name
    assert path.read_bytes() == WEIGHTS
    assert told[1] == f"downloading a/b from {hub_server.endpoint}"
    assert told[-1] == "a/b: 1 of 1 MB (100%)"
    asked = len(hub_server.asked)
    assert find(hub, offline=True) == find(hub) == path
    assert len(hub_server.asked) == asked


@pytest.mark.slow
def test_offline_asks_nobody(hub_server: FakeHub, tmp_path: Path) -> None:
    hub_server.files = {FILE.names[0]: WEIGHTS}
    with pytest.raises(MissingError, match="not in the cache, and this is offline"):
        find(Hub(hub_server.endpoint, tmp_path), offline=True)
    assert hub_server.asked == []


@pytest.mark.slow
@pytest.mark.parametrize("status", [200, 403, 503])
def test_a_token_in_the_address_of_a_mirror_is_shown_nowhere(
    hub_server: FakeHub, tmp_path: Path, status: int
) -> None:
    hub_server.status = status
    told: list[str] = []
    with pytest.raises(MissingError) as caught:
        find(Hub(hub_server.endpoint.replace("//", "//me:secret@"), tmp_path), told)
    assert "secret" not in f"{caught.value} {told}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "message"),
    [(200, "has no weights of a/b"), (503, r"can't be reached \(HTTP 503"), (407, "HTTP 407")],
)
def test_a_hub_that_has_nothing_for_us_is_one_line(
    hub_server: FakeHub, tmp_path: Path, status: int, message: str
) -> None:
    hub_server.status = status
    with pytest.raises(MissingError, match=message):
        find(Hub(hub_server.endpoint, tmp_path))


@pytest.mark.slow
def test_a_hub_that_refuses_is_one_line(hub_server: FakeHub, tmp_path: Path) -> None:
    hub_server.status = 403
    with pytest.raises(MissingError, match="the download of a/b failed: ") as caught:
        find(Hub(hub_server.endpoint, tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_hub_that_never_answers_is_given_up_within_three_seconds(
    black_hole: str, tmp_path: Path
) -> None:
    started = time.monotonic()
    with pytest.raises(MissingError, match=r"can't be reached \(no answer in time"):
        find(Hub(black_hole, tmp_path))
    assert time.monotonic() - started < 3


def test_nobody_at_home_is_settled_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(MissingError, match=r"can't be reached \(connection refused"):
        find(Hub(f"http://127.0.0.1:{port}", tmp_path))


@pytest.mark.slow
def test_the_environments_hub_is_the_one_that_is_asked(black_hole: str, tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from guardian_cli.detectors.clip import load_clip, Prompts\n"
        "from guardian_cli.errors import MissingError\n"
        "started = time.monotonic()\n"
        "try:\n"
        "    load_clip('ViT-B-32', 'laion2b_s34b_b79k', {'x': Prompts(('a',), ('b',))})\n"
        "except MissingError as error:\n"
        "    print(time.monotonic() - started, 'torch' in sys.modules, error, sep='|')\n"
    )
    environment = {**os.environ, "HF_ENDPOINT": black_hole, "HF_HOME": str(tmp_path)}
    environment.pop("HF_HUB_OFFLINE", None)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    took_s, torch_loaded, message = done.stdout.strip().split("|")
    assert float(took_s) < 3
    assert torch_loaded == "False"
    assert black_hole in message
    assert done.stderr == ""


def test_progress_is_told_at_the_end_and_not_of_unknown_sizes() -> None:
    told: list[str] = []
    progress = type("P", (DownloadProgress,), {"what": "m", "tell": staticmethod(told.append)})
    with progress(total=2_000_000) as bar:
        bar.update(1_000_000)
        bar.update(1_000_000)
    with progress(total=None) as bar:
        bar.update(5)
    assert told == ["m: 2 of 2 MB (100%)"]
