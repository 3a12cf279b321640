"""A training as a job: what is sent, and the names by which it is found again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardian_cli.lifecycle.azure.client import quiet_sdk
from guardian_cli.lifecycle.azure.jobs import Lines, describe, fingerprint, training_environment
from guardian_cli.lifecycle.platform import TrainingJob

if TYPE_CHECKING:
    from pathlib import Path


def job(data: Path | None = None, **arguments: object) -> TrainingJob:
    return TrainingJob("nsfw-detector", "cpu", {"seed": 0, **arguments}, data)


def test_the_same_training_has_the_same_name_and_another_another(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.png").write_bytes(b"a")
    seen = {fingerprint(job()), fingerprint(job(seed=1)), fingerprint(job(data))}
    assert len(seen) == 3
    assert fingerprint(job(data)) == fingerprint(job(data))
    (data / "b.png").write_bytes(b"b")
    assert fingerprint(job(data)) not in seen
    table = tmp_path / "data.csv"
    table.write_text("path,label\n")
    assert fingerprint(job(table)) not in {fingerprint(job()), fingerprint(job(data))}


def test_a_job_is_guardian_s_own_command(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with quiet_sdk():
        sent = describe(job(data), "name-1", tmp_path)
        without = describe(job(), "name-1", tmp_path)
    assert sent.command == (
        "python -m guardian_cli.training.job request.json --data ${{inputs.data}} "
        "--model ${{outputs.model}} --report ${{outputs.report}}"
    )
    assert (sent.name, sent.compute) == ("name-1", "cpu")
    assert sent.inputs["data"].type == "uri_folder"
    assert "--data" not in without.command


def test_the_environment_s_version_is_a_digest_of_what_is_in_it() -> None:
    with quiet_sdk():
        one, other = training_environment(), training_environment()
    assert one.version == other.version
    assert len(one.version) == 12
    libraries = one.conda_file["dependencies"][-1]["pip"]
    assert any(name.startswith("torch") for name in libraries)
    assert not any("extra" in name for name in libraries)


def test_lines_are_handed_on_whole() -> None:
    told: list[str] = []
    lines = Lines(told.append)
    for piece in ("on", "e\ntwo\r\n", "\n   \n", "thr", "ee"):
        assert lines.write(piece) == len(piece)
    assert told == ["one", "two"]
    lines.close()
    assert told == ["one", "two", "three"]
