"""The scoring script under Azure's own inference server, in an environment of its own."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time
import venv
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from guardian_cli.serving.packaging import list_requirements, write_scoring_folder
from tests.serving.models import CARD, draw_jpeg, save_constant_model

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

PACKAGE = "azureml-inference-server-http==1.5.1"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the server, its own pydantic, and after them our torch and pillow."""
    folder = tmp_path_factory.mktemp("inference") / "venv"
    venv.create(folder, with_pip=True, symlinks=True)
    python = folder / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*install, PACKAGE], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or "no reason given").splitlines()[-1]
        pytest.skip(f"{PACKAGE} could not be installed: {last}")
    own = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    # Torch is gigabytes: it is borrowed, and found only after what the server brought.
    borrowed = folder / "borrowed"
    borrow(borrowed)
    (Path(own) / "borrowed.pth").write_text(f"{borrowed}\n", encoding="utf-8")
    return python


def borrow(folder: Path) -> None:
    """Link what a tiny model needs, with all that this needs itself, into a folder."""
    folder.mkdir()
    wanted, seen = [line.split("==")[0] for line in list_requirements(CARD)], set()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        for file in found.files or ():
            top, target = file.parts[0], Path(str(found.locate_file(file.parts[0])))
            if top not in {"..", "__pycache__"} and not (folder / top).exists():
                (folder / top).symlink_to(target.resolve())
        needs = [one for one in found.requires or () if "extra ==" not in one]
        wanted += [re.split(r"[^A-Za-z0-9._-]", one)[0] for one in needs]


@pytest.fixture(params=[0.0])
def port(request: pytest.FixtureRequest, tmp_path: Path, python: Path) -> Iterator[int]:
    """The port of a server with a model whose logit is the parameter."""
    save_constant_model(tmp_path / "mounted" / "1" / "model", request.param)
    script = write_scoring_folder(tmp_path / "code")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    command = [
        *(str(python), "-m", "azureml_inference_server_http.amlserver", "--port", str(port)),
        *("--entry_script", str(script), "--model_dir", str(tmp_path / "mounted")),
    ]
    environ = {**os.environ, "AZUREML_MODEL_DIR": str(tmp_path / "mounted")}
    # The code beside the script must do: nothing of this repository may be found.
    environ.pop("PYTHONPATH", None)
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=tmp_path, env=environ, start_new_session=True
        )
    try:
        _wait(server, port, tmp_path / "log")
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert server.poll() is None, log.read_text()
        try:
            if call(port, "GET", "/")[0] == 200:
                return
        except OSError:
            continue
    raise AssertionError(log.read_text())


def call(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method, path, body=data, headers={"Content-Type": "application/json"})
    response = connection.getresponse()
    text = response.read()
    headers = {name.lower(): value for name, value in response.getheaders()}
    connection.close()
    is_json = headers.get("content-type", "").startswith("application/json")
    return response.status, json.loads(text) if is_json else text, headers


def frames(*pictures: bytes) -> dict[str, Any]:
    rows = [[base64.b64encode(one).decode()] for one in pictures]
    return {"input_data": {"columns": ["image"], "index": [*range(len(rows))], "data": rows}}


def test_frames_are_scored_and_bad_requests_are_400(port: int) -> None:
    status, scores, _ = call(port, "POST", "/score", frames(draw_jpeg(0), draw_jpeg(255)))
    assert (status, scores) == (200, pytest.approx([0.5, 0.5]))
    for bad in (b"not json", {"wrong": 1}, frames(b"no jpeg")):
        status, answer, headers = call(port, "POST", "/score", bad)
        assert status == 400
        assert answer["message"]
        assert headers["x-ms-run-function-failed"] == "False"
    assert call(port, "POST", "/score", frames())[:2] == (200, [])
    assert call(port, "POST", "/score", frames(draw_jpeg()))[0] == 200


@pytest.mark.parametrize("port", [float("nan")], indirect=True)
def test_a_model_that_fails_is_500_and_says_so_without_a_traceback(port: int) -> None:
    status, answer, headers = call(port, "POST", "/score", frames(draw_jpeg()))
    assert status == 500
    assert answer == {"message": "the model failed: ModelFaultError"}
    assert headers["x-ms-run-function-failed"] == "True"
    assert call(port, "GET", "/")[0] == 200
