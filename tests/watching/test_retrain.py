"""When a model is due, and what becomes of it: cut off anywhere, the next run finishes it."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from guardian_cli.config import Config, RetrainSection
from guardian_cli.console import Console
from guardian_cli.errors import ConfigError, PlatformError, UsageError
from guardian_cli.files import hold_lock
from guardian_cli.settings import Settings, load_settings
from guardian_cli.training.data.dataset import load_dataset
from guardian_cli.training.evaluation.report import TrainReport
from guardian_cli.training.run.publishing import DIGESTS_NAME
from guardian_cli.watching.retrain import Retrainer, Situation, choose_sections, decide
from tests.lifecycle.fake_platform import Faults, Killed
from tests.lifecycle.harness import DETECTOR, MODEL, Harness
from tests.watching.results import draw_results, write_results

if TYPE_CHECKING:
    from pathlib import Path

    from guardian_cli.watching.retrain import Retraining

LABELS = RetrainSection(data="labels.csv", min_new_labels=3)
ALL = RetrainSection(
    data="x", min_new_labels=3, on=("labels", "drift", "age"), results="a", reference="b",
    max_age_days=30,
)  # fmt: skip


@pytest.mark.parametrize(
    ("section", "found", "due", "words"),
    [
        (LABELS, Situation("1", "1", 3, 9), True, "3 new labels, at least 3"),
        (LABELS, Situation("1", "1", 2, 9), False, "2 new labels of the 3"),
        (ALL, Situation("1", "1", 0, 9, alerts=("psi of nsfw",)), True, "drift: psi of nsfw"),
        (ALL, Situation("1", "1", 0, 9, age_days=31.0), True, "31 days old, over 30"),
        (ALL, Situation("1", "1", 0, 9, age_days=9.0), False, "no drift; version 1 is 9 days old"),
        (ALL, Situation("1", "2", 0, 9, ("psi",), waiting="2"), False, "waits to be promoted"),
    ],
)
def test_due_and_why(section: RetrainSection, found: Situation, due: bool, words: str) -> None:
    decided, reasons = decide(section, found)
    assert decided is due
    assert words in "; ".join(reasons)


@dataclass
class Project:
    """A model with a champion that has learned from six files, on a platform in memory."""

    folder: Path
    harness: Harness = field(default_factory=Harness)
    trained: int = 0
    kill_training: str = ""

    def write(self, count: int, name: str = "labels.csv") -> Path:
        """Label so many files, half of them positive."""
        rows = ["path,category,label,group,verdict"]
        for number in range(count):
            (self.folder / f"{number}.png").write_bytes(b"file %d" % number)
            rows.append(f"{number}.png,nsfw,{number % 2},,allow")
        rows.append("0.png,violence,1,,allow")
        table = self.folder / name
        table.write_text("\n".join(rows), encoding="utf-8")
        return table

    def train(
        self, platform: Any, settings: Any, models: Any, options: Any, console: Any
    ) -> tuple[list[TrainReport], None]:
        """Register a version with its digests, as a training does."""
        if self.kill_training == "before":
            raise Killed
        self.trained += 1
        version = self.register(options.data)
        if self.kill_training == "after":
            raise Killed
        return [TrainReport(MODEL, version, None, {}, {}, {})], None

    def register(self, data: Path) -> str:
        samples = load_dataset(data, "nsfw").samples
        kept = self.folder / f"model-{len(self.versions)}"
        kept.mkdir()
        digests = [hashlib.sha256(one.path.read_bytes()).hexdigest() for one in samples]
        (kept / DIGESTS_NAME).write_text("\n".join(digests))
        tags = {"data": str(data), "auc": "0.9"}
        return self.harness.platform.registry.register(MODEL, kept, tags).version

    @property
    def versions(self) -> list[str]:
        return [one.version for one in self.harness.platform.registry.versions(MODEL)]

    def retrain(self, section: RetrainSection | None = None) -> Retraining:
        section = section or LABELS
        section = section.model_copy(update={"data": str(self.folder / "labels.csv")})
        console = Console(out=io.StringIO(), err=io.StringIO())
        retrainer = Retrainer(
            self.harness.platform, self.harness.releases, Settings(Config(), {}), console,
            self.folder / "retrain", self.train,
        )  # fmt: skip
        return retrainer.retrain(DETECTOR, section)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.register(made.write(6))
    made.harness.deploy(1)
    return made


def test_new_labels_make_a_challenger_with_the_champions_numbers_beside_it(
    project: Project,
) -> None:
    project.write(8)
    assert project.retrain().reasons == ("2 new labels of the 3 that are wanted",)
    project.write(10)
    done = project.retrain()
    assert (done.due, done.action, done.version) == (True, "deploy", "2")
    assert project.harness.state() == {"1": ("champion", 90), "2": ("challenger", 10)}
    assert done.release is not None
    assert [one.version for one in done.release.metrics] == ["2", "1"]
    [newest, *_] = project.harness.releases.history(DETECTOR)
    assert newest.why == "retrain: 4 new labels, at least 3 are wanted"
    # The next night: nothing that the challenger has not learned from.
    again = project.retrain()
    assert (again.due, project.versions) == (False, ["1", "2"])


@pytest.mark.parametrize("seed", [2, 3])
def test_drift_makes_it_due_once(project: Project, seed: int) -> None:
    write_results(project.folder / "spring.jsonl", draw_results(400, seed=1))
    shift = 1.0 if seed == 3 else 0.0
    write_results(project.folder / "now-1.jsonl", draw_results(400, seed=seed, shift=shift))
    section = RetrainSection(
        data="x", on=("drift",), results=str(project.folder / "now-*.jsonl"),
        reference=str(project.folder / "spring.jsonl"),
    )  # fmt: skip
    done = project.retrain(section)
    assert done.due is (seed == 3)
    if done.due:
        assert "wasserstein of nsfw" in done.reasons[0]
        waits = project.retrain(section)
        assert (waits.due, waits.action) == (False, "none")
        assert "waits to be promoted" in waits.reasons[0]


def test_without_a_champion_it_trains_and_deploys_nothing(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write(6)
    done = project.retrain()
    assert (done.action, done.version, project.harness.state()) == ("train", "1", {})
    assert not project.retrain().due


def test_a_second_one_at_the_same_time_does_nothing(project: Project) -> None:
    project.write(12)
    assert project.retrain(LABELS.model_copy(update={"min_new_labels": 99})).due is False
    with hold_lock(project.folder / "retrain" / f"{MODEL}.lock"):
        done = project.retrain()
    assert (done.due, project.trained) == (False, 0)
    assert "another guardian" in done.reasons[0]


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_in_training_the_next_run_finishes(project: Project, when: str) -> None:
    project.write(12)
    project.kill_training = when
    with pytest.raises(Killed):
        project.retrain()
    assert project.harness.state() == {"1": ("champion", 100)}
    project.kill_training = ""
    done = project.retrain()
    assert "cut off" in done.reasons[0]
    assert project.versions == ["1", "2"]
    assert project.harness.state() == {"1": ("champion", 90), "2": ("challenger", 10)}
    assert not project.retrain().due


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_every_call_no_second_version_is_trained(tmp_path: Path, after: bool) -> None:
    for number in range(1, 60):
        project = Project(tmp_path / str(number))
        project.folder.mkdir()
        project.register(project.write(6))
        project.harness.deploy(1)
        project.write(12)
        platform = project.harness.platform
        platform.calls.clear()
        platform.faults = Faults(kill_at=number, kill_after_effect=after)
        try:
            project.retrain()
        except Killed:
            state = project.harness.state()
            assert state["1"] == ("champion", 100) or state["2"] == ("challenger", 10)
            platform.faults = Faults()
            project.retrain()
        else:
            break
        assert project.versions == ["1", "2"]
        assert project.harness.state() == {"1": ("champion", 90), "2": ("challenger", 10)}
    assert number > 4


@pytest.mark.parametrize("rubbish", ["", "{", "[]", "{}", '{"reasons": ["x"]}'])
def test_a_note_that_is_none_is_passed_over(project: Project, rubbish: str) -> None:
    project.retrain()
    (project.folder / "retrain" / f"{MODEL}.digests.json").write_text(rubbish)
    (project.folder / "retrain" / f"{MODEL}.json").write_text(rubbish)
    assert project.retrain().reasons == ("0 new labels of the 3 that are wanted",)


def test_a_training_that_fails_is_no_retraining_under_way(project: Project) -> None:
    project.write(12)

    def fails(*_: Any) -> Any:
        raise UsageError("one class only")

    trains, project.train = project.train, fails  # type: ignore[method-assign,assignment]
    with pytest.raises(UsageError):
        project.retrain()
    project.train = trains  # type: ignore[method-assign]
    assert project.retrain().reasons == ("6 new labels, at least 3 are wanted",)


def test_a_deployment_that_fails_is_tried_again(project: Project) -> None:
    project.write(12)
    faults = project.harness.platform.faults
    faults.failing["version-2"] = "no module"
    with pytest.raises(PlatformError):
        project.retrain()
    assert project.harness.state() == {"1": ("champion", 100)}
    faults.failing.clear()
    assert project.retrain().version == "2"
    assert project.trained == 1


def test_a_model_without_the_section_is_a_usage_error() -> None:
    config = Config.model_validate({"models": {MODEL: {"category": "nsfw"}}})
    with pytest.raises(UsageError, match="no retrain section"):
        choose_sections(Settings(config, {}), [DETECTOR], named=True)


def test_on_is_a_key_though_yaml_has_another_idea_of_it(tmp_path: Path) -> None:
    text = "models: {nsfw-detector: {category: nsfw, retrain: {data: a.csv, on: [age]}}}\n"
    (tmp_path / "guardian.yaml").write_text(text)
    found = load_settings(folder=tmp_path, environ={}).config.models[MODEL].retrain
    assert found is not None
    assert found.on == ("age",)
    (tmp_path / "guardian.yaml").write_text(text.replace("age", "drift"))
    with pytest.raises(ConfigError, match="needs `results` and `reference`"):
        load_settings(folder=tmp_path, environ={})
