"""`guardian train` as it is typed: streams, exit codes, and a kill -9 in the middle."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import jsonschema
import numpy as np
import pytest

from guardian_cli.lifecycle.local.platform import LocalPlatform
from guardian_cli.reports.schemas import load_schema

if TYPE_CHECKING:
    from pathlib import Path

GUARDIAN = [sys.executable, "-m", "guardian_cli"]


def guardian(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*GUARDIAN, *args], cwd=folder, capture_output=True, text=True, timeout=280, check=False
    )


def draw_files(folder: Path, count: int = 15) -> Path:
    """Pictures that are told apart by what is in them: stripes, or none."""
    import cv2

    rng = np.random.default_rng(0)
    for number in range(2 * count):
        coarse = rng.integers(0, 256, (6, 6, 3)).astype(np.uint8)
        picture = cv2.resize(coarse, (96, 80), interpolation=cv2.INTER_CUBIC)
        name = "nsfw" if number % 2 else "fine"
        if number % 2:
            picture[::4] = 255
        (folder / name).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name / f"{number}.png"), picture)
    return folder


COMMAND = [
    "train", "nsfw-detector", "--data", "data", "--epochs", "2", "--backbone", "tiny", "--json",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A project in which the command has run to its end, and what it said."""
    project = tmp_path_factory.mktemp("trained")
    data = draw_files(project / "data")
    (data / "nsfw" / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    return project, guardian(project, *COMMAND)


@pytest.mark.slow
def test_one_document_on_stdout_and_the_target_first_on_stderr(
    trained: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    _, done = trained
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, load_schema("train"))
    lines = done.stderr.splitlines()
    assert lines[0].startswith("target: local (.guardian/ in ")
    assert any("left out: data/nsfw/broken.jpg: " in line for line in lines)
    # Stripes make a PNG large: its size alone tells the classes apart, and nothing can beat that.
    assert "no better than metadata: not worth deploying" in document["conclusion"]
    assert lines[-2] == f"warning: nsfw-detector: version 1: {document['conclusion']}"
    assert lines[-1].startswith("hint: more files of both classes")
    assert "Warning" not in done.stderr
    assert document["data"]["n"] == 30


@pytest.mark.slow
def test_a_killed_training_is_finished_by_the_same_command(
    trained: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    project, done = trained
    whole = json.loads(done.stdout)
    home = project / ".guardian" / "training" / "nsfw-detector"
    process = subprocess.Popen(
        [*GUARDIAN, *COMMAND], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    # Checkpoints appear as the training gets on: the second one means that it is in the middle.
    while process.poll() is None and not list(home.glob("*/fold-1.pt")):
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    again = guardian(project, *COMMAND)
    assert "going on with a training that was interrupted" in again.stderr
    resumed = json.loads(again.stdout)
    assert resumed["metrics"] == whole["metrics"]
    versions = LocalPlatform(project).registry.versions("nsfw-detector")
    assert [one.version for one in versions] == ["1", "2"]
    assert resumed["version"] == "2"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nsfw-detector", "--data", "gone"], "gone: no such file or folder"),
        (["nsfw-detector", "--data", "data.csv"], "row 1: no column 'label'"),
        (["--data", "data.csv"], "--data is for one model"),
        (["nsfw-detector", "--compute", "cluster"], "has no clusters"),
        (["nsfw"], "guardian.yaml has no model 'nsfw'"),
    ],
)
def test_wrong_use_is_one_line_a_hint_and_exit_code_2(
    tmp_path: Path, project: Path, args: list[str], message: str
) -> None:
    (project / "data.csv").write_text("path,class\n")
    done = guardian(project, "train", *args)
    assert done.returncode == 2
    assert done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert message in errors[0]
    assert done.stderr.splitlines()[-1].startswith("hint:")
