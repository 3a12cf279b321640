"""A training as a job: what is sent, and the names by which it is found again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from guardian_cli.lifecycle.azure.client import quiet_sdk
from guardian_cli.lifecycle.azure.jobs import LineWriter, fingerprint, job_entity
from guardian_cli.lifecycle.platform import TrainingJob

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def job(data: Path | None = None, **arguments: object) -> TrainingJob:
    return TrainingJob("nsfw-detector", "cpu", {"seed": 0, **arguments}, data)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A CSV with one file beside it."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"a")
    table = folder / "data.csv"
    table.write_text("path,label\na.png,nsfw\n")
    return table


def test_the_same_training_has_the_same_name_and_another_another(table: Path) -> None:
    seen = {fingerprint(job()), fingerprint(job(seed=1)), fingerprint(job(table))}
    assert len(seen) == 3
    assert fingerprint(job(table)) == fingerprint(job(table))
    # Where it lies is another folder each time.
    moved = table.parent.rename(table.parent.with_name("moved")) / table.name
    assert fingerprint(job(moved)) in seen
    (moved.parent / "a.png").write_bytes(b"other")
    assert fingerprint(job(moved)) not in seen
    moved.write_text("path,label\na.png,fine\n")
    assert fingerprint(job(moved)) not in seen


def test_a_job_is_guardian_s_own_command(table: Path, tmp_path: Path) -> None:
    with quiet_sdk():
        sent = job_entity(job(table), "name-1", tmp_path)
        without = job_entity(job(), "name-1", tmp_path)
    assert sent.command == (
        "python -m guardian_cli.training.run.job request.json --data ${{inputs.data}}/data.csv "
        "--model ${{outputs.model}} --report ${{outputs.report}}"
    )
    assert (sent.name, sent.compute) == ("name-1", "cpu")
    assert sent.inputs["data"].type == "uri_folder"
    assert sent.inputs["data"].path == str(table.parent)
    assert "--data" not in without.command


def test_the_environment_s_version_is_a_digest_of_what_is_in_it(tmp_path: Path) -> None:
    with quiet_sdk():
        one, other = (job_entity(job(), name, tmp_path).environment for name in ("a-1", "a-2"))
    assert one.version == other.version
    assert len(one.version) == 12
    libraries = one.conda_file["dependencies"][-1]["pip"]
    assert any(name.startswith("torch") for name in libraries)
    assert not any("extra" in name for name in libraries)


def test_lines_are_handed_on_whole() -> None:
    told: list[str] = []
    lines = LineWriter(told.append)
    for piece in ("on", "e\ntwo\r\n", "\n   \n", "thr", "ee"):
        assert lines.write(piece) == len(piece)
    assert told == ["one", "two"]
    lines.close()
    assert told == ["one", "two", "three"]
