"""The use-case on a real registry: reports, left-out files, and interruption at every step."""

from __future__ import annotations

import io
import json
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from guardian_cli.console import Console
from guardian_cli.errors import MissingError, PlatformError, UsageError
from guardian_cli.files import hold_lock
from guardian_cli.lifecycle.local.platform import LocalPlatform
from guardian_cli.reports.training import training_part, training_table
from guardian_cli.serving.model import load_model
from guardian_cli.training.data.frame_store import UnreadableError
from guardian_cli.training.data.simulate import Simulation
from guardian_cli.training.progress import TrainingProgress
from guardian_cli.training.run.train import Tools, TrainRequest, train_model
from tests.lifecycle.fake_platform import FakeReporter
from tests.training.model.test_backbones import small_tower

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from guardian_cli.lifecycle.platform import ModelVersion, Registry, Tracking
    from guardian_cli.training.data.dataset import Sample
    from guardian_cli.training.data.frame_store import FileContent, Reader
    from guardian_cli.training.evaluation.report import TrainReport
    from guardian_cli.training.model.backbones import Tower
    from guardian_cli.training.model.trainer import Epoch

pytestmark = pytest.mark.slow


MODEL = "nsfw-detector"
REQUEST = TrainRequest(MODEL, "nsfw", epochs=2, seed=5, simulated_samples=40)
SCHEMA = Path(__file__).parents[3] / "src/guardian_cli/reports/schemas/train.json"


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


@dataclass
class Fuse:
    """Blows at the n-th thing that happens; 0 never does."""

    left: int = 0

    def burn(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


class FusedProgress(TrainingProgress):
    """Reports each step to a fuse."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__(MODEL, Console(quiet=True, out=io.StringIO(), err=io.StringIO()))
        self.fuse = fuse

    def step(self, stage: str, done: int, total: int) -> None:
        if done in (total // 2, total):
            self.fuse.burn()

    def epoch(self, fold: int, folds: int, epoch: Epoch, epochs: int) -> None:
        self.fuse.burn()


@dataclass
class FusedRegistry:
    """A registry whose process may die right before or after each call that matters."""

    inner: Registry
    fuse: Fuse

    def versions(self, model: str) -> Sequence[ModelVersion]:
        return self.inner.versions(model)

    def get(self, model: str, version: str) -> ModelVersion | None:
        return self.inner.get(model, version)

    def fetch(self, model: str, version: str, destination: Path) -> None:
        self.inner.fetch(model, version, destination)

    def tracking(self) -> Tracking:
        self.fuse.burn()
        return self.inner.tracking()

    def register(self, model: str, folder: Path, tags: Mapping[str, str]) -> ModelVersion:
        self.fuse.burn()
        made = self.inner.register(model, folder, tags)
        self.fuse.burn()
        return made


def no_tower() -> Tower:
    raise MissingError("the weights are not in the cache, and this is offline")


def tools(
    reporter: FakeReporter, fuse: Fuse | None = None, tower: Callable[[], Tower] = no_tower
) -> Tools:
    progress = FusedProgress(fuse or Fuse())
    return Tools(open_drawings, tower, progress, reporter)


def draw(sample: Sample, count: int) -> FileContent:
    """Draw what the file's name says: `simulated number`, or break as a file does."""
    words = sample.path.read_text().split()
    if words[0] == "broken":
        raise UnreadableError("no frame could be decoded")
    simulation = Simulation(words[0], 0, 400)
    number = int(words[1])
    return simulation(replace(sample, path=Path(f"{number:04d}")), count)


@contextmanager
def open_drawings() -> Iterator[Reader]:
    yield draw


def write_folder(folder: Path, category: str, count: int = 36) -> Path:
    for number in range(count):
        name = category if number % 2 == 0 else "fine"
        path = folder / name / f"{number:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Every number is of another scene, so that few of them look alike.
        path.write_text(f"{category} {number * 4 + number % 2}")
    return folder


def run(project: Path, request: TrainRequest, use: Tools, fuse: Fuse | None = None) -> TrainReport:
    registry = FusedRegistry(LocalPlatform(project).registry, fuse or Fuse())
    return train_model(request, registry, project / ".guardian" / "training", use)


def check_document(report: TrainReport) -> dict[str, Any]:
    part = training_part(report, "local")
    document = json.loads(json.dumps({"schema": "guardian.train/1", **part}, allow_nan=False))
    jsonschema.validate(document, json.loads(SCHEMA.read_text(encoding="utf-8")))
    return dict(document)


def shown(report: TrainReport) -> str:
    """The table as text, each run of white space one blank."""
    out = io.StringIO()
    Console(out=out, err=io.StringIO()).show(training_table(report))
    return " ".join(out.getvalue().split())


@dataclass(frozen=True)
class Trained:
    """A training that has ended, for those that only look at it."""

    project: Path
    report: TrainReport
    notes: Sequence[str]


@pytest.fixture(scope="module")
def trained(empty_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    project = shutil.copytree(empty_project, tmp_path_factory.mktemp("trained") / "project")
    reporter = FakeReporter()
    return Trained(project, run(project, REQUEST, tools(reporter)), reporter.notes)


def test_simulated_training_registers_a_marked_version_that_serves(
    trained: Trained, tmp_path: Path
) -> None:
    project, report = trained.project, trained.report
    document = check_document(report)
    assert document["data"]["simulated"]
    assert document["training"]["backbone"] == "tiny"
    assert document["training"]["method"] == "hold-out"
    assert any("simulated" in note for note in trained.notes)
    registry = LocalPlatform(project).registry
    (version,) = registry.versions(MODEL)
    assert version.version == report.version == "1"
    assert version.tags["data"] == "simulated"
    assert float(version.tags["auc"]) == pytest.approx(report.metrics["auc"], abs=1e-3)
    assert {"auc_low", "auc_high", "ece", "threshold", "metadata_auc", "seed"} <= set(version.tags)
    registry.fetch(MODEL, "1", tmp_path / "copy")
    card = load_model(tmp_path / "copy").card
    assert (card.category, card.data_digest) == ("nsfw", report.data["digest"])
    plots = {path.name for path in (tmp_path / "copy" / "plots").iterdir()}
    assert plots == {"roc.png", "precision-recall.png", "reliability.png"}
    left = [path.suffix for path in (project / ".guardian" / "training" / MODEL).iterdir()]
    assert left == [".lock"]


def test_the_run_in_mlflow_has_parameters_epochs_metrics_and_plots(trained: Trained) -> None:
    from mlflow.tracking import MlflowClient

    report = trained.report
    client = MlflowClient(LocalPlatform(trained.project).registry.tracking().uri)
    assert report.run_id is not None
    found = client.get_run(report.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.params["backbone"] == "tiny"
    assert found.data.params["data.digest"] == report.data["digest"]
    assert "version.torch" in found.data.params
    assert found.data.metrics["auc"] == pytest.approx(report.metrics["auc"])
    assert found.data.metrics["metadata_auc"] == pytest.approx(report.metrics["metadata_auc"])
    history = client.get_metric_history(report.run_id, "network_1.loss")
    assert [one.step for one in history] == [1, 2]
    assert len(client.list_artifacts(report.run_id, "plots")) == 3


def test_the_same_again_is_another_version_with_the_same_numbers(
    trained: Trained, tmp_path: Path
) -> None:
    project = shutil.copytree(trained.project, tmp_path / "project")
    first = trained.report
    second = run(project, REQUEST, tools(FakeReporter()))
    assert (first.version, second.version) == ("1", "2")
    assert first.metrics == second.metrics
    assert first.data == second.data
    other = run(project, replace(REQUEST, seed=6), tools(FakeReporter()))
    assert other.metrics != first.metrics


def test_killed_at_any_step_the_same_command_finishes_with_one_version(
    empty_project: Path, trained: Trained, tmp_path: Path
) -> None:
    step, blown = 0, True
    while blown:
        step += 1
        place = shutil.copytree(empty_project, tmp_path / f"killed-{step}")
        fuse, blown = Fuse(step), False
        try:
            report = run(place, REQUEST, tools(FakeReporter(), fuse), fuse)
        except Killed:
            blown = True
            reporter = FakeReporter()
            report = run(place, REQUEST, tools(reporter))
            assert any("going on" in note for note in reporter.notes)
        assert [one.version for one in LocalPlatform(place).registry.versions(MODEL)] == ["1"]
        assert report.metrics == trained.report.metrics
    assert step > 6


def test_real_files_are_cross_validated_and_what_is_broken_is_told(
    project: Path, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "data", "nsfw")
    (folder / "nsfw" / "000.jpg").write_text("broken")
    (folder / "fine" / "notes.txt").write_text("no picture")
    shutil.copyfile(folder / "nsfw" / "002.jpg", folder / "fine" / "copy.jpg")
    reporter = FakeReporter()
    report = run(project, replace(REQUEST, data=folder, epochs=1), tools(reporter))
    document = check_document(report)
    assert document["training"]["method"] == "cross-validation"
    assert document["metrics"]["n"] == document["data"]["n"] == 34
    assert document["data"]["left_out_count"] == 4
    assert document["data"]["contradictions"] == 2
    told = [line for line in reporter.warnings if "contradiction" in line]
    assert told == [
        f"left out: {folder}/{one}.jpg: contradiction: labelled {here!r} here, {there!r} at"
        f" {folder}/{other}.jpg"
        for one, here, there, other in [
            ("fine/copy", "fine", "nsfw", "nsfw/002"),
            ("nsfw/002", "nsfw", "fine", "fine/copy"),
        ]
    ]
    assert "4 left out (2 labelled in contradiction)" in shown(report)
    assert any("nsfw/000.jpg: no frame could be decoded" in line for line in reporter.warnings)
    assert any("fine/notes.txt" in line for line in reporter.warnings)
    assert any("small network of its own" in note for note in reporter.notes)
    assert any("cannot show a false-positive rate" in note for note in report.notes)


def test_clips_get_a_temporal_score_beside_the_frames(project: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", "violence", 24)
    request = TrainRequest("violence-detector", "violence", folder, epochs=1, backbone="tiny")
    report = run(project, request, tools(FakeReporter()))
    assert report.data["kind"] == "videos"
    assert report.metrics["temporal_auc"] is not None


def test_a_frozen_tower_is_the_default_where_there_is_one(project: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", "nsfw")
    report = run(project, replace(REQUEST, data=folder), tools(FakeReporter(), tower=small_tower))
    assert report.training["backbone"] == "clip small/random"
    LocalPlatform(project).registry.fetch(MODEL, "1", project / "copy")
    assert load_model(project / "copy").card.architecture == "clip-head"


def test_a_tower_that_was_asked_for_and_is_not_there_is_an_error(project: Path) -> None:
    with pytest.raises(MissingError):
        run(project, replace(REQUEST, backbone="clip"), tools(FakeReporter()))
    assert not LocalPlatform(project).registry.versions(MODEL)


def test_a_class_of_which_nothing_can_be_read_is_one_line(project: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", "nsfw", 6)
    for path in (folder / "nsfw").iterdir():
        path.write_text("broken")
    with pytest.raises(UsageError, match=r"no file of class 'nsfw'.*000\.jpg: no frame"):
        run(project, replace(REQUEST, data=folder), tools(FakeReporter()))


def test_two_at_once_on_the_same_data_do_not_meet(project: Path) -> None:
    home = project / ".guardian" / "training" / MODEL
    fuse = Fuse(1)
    with pytest.raises(Killed):
        run(project, REQUEST, tools(FakeReporter(), fuse))
    (lock,) = home.glob("*.lock")
    with hold_lock(lock), pytest.raises(PlatformError, match="another guardian is training"):
        run(project, REQUEST, tools(FakeReporter()))


def test_the_table_says_what_metadata_reaches(trained: Trained) -> None:
    for words in ("AUC", "metadata alone", "ECE", "threshold for 1%", "simulated", "seed 5"):
        assert words in shown(trained.report)
