"""The gate before a promotion: who passes, who does not, and that a refusal changes nothing."""

from __future__ import annotations

import copy
import io
import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from guardian_cli.config import Config, GateSection
from guardian_cli.console import Console
from guardian_cli.errors import ConfigError, GateError, PlatformError, UsageError
from guardian_cli.evaluation.compare import compare_results
from guardian_cli.lifecycle.deploy import deploy_all, deploy_model
from guardian_cli.lifecycle.platform import ChangedMeanwhileError
from guardian_cli.lifecycle.release.plan import DeployRequest
from guardian_cli.lifecycle.release.roles import PENDING_TAG
from guardian_cli.settings import Settings, load_settings
from guardian_cli.watching.gate import PromotionGate, weigh
from tests.lifecycle.fake_platform import FakeCloud, FakePlatform, Faults, Killed
from tests.lifecycle.harness import DETECTOR, ENDPOINT, MODEL, Harness

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from guardian_cli.lifecycle.models import Model
    from guardian_cli.lifecycle.release.execute import Release

SECTION = {"max_flips": "10%", "min_auc": 0.9}


def result(number: int, score: float | None) -> dict[str, Any]:
    verdict = "error" if score is None else "review" if score >= 0.5 else "allow"
    category = {"nsfw": {"score": score, "verdict": verdict}}
    return {
        "source": f"{number}.mp4", "sha256": f"{number:064x}", "verdict": verdict, "reasons": [],
        "detectors": [], "categories": {} if score is None else category, "error": None,
    }  # fmt: skip


@dataclass
class Project:
    """A champion, a challenger, a gate on 20 labelled files, and what versions say of these."""

    folder: Path
    platform: FakePlatform
    scores: dict[str, list[float | None]] = field(default_factory=dict)
    gate: dict[str, Any] = field(default_factory=lambda: dict(SECTION))
    scanned: list[str] = field(default_factory=list)
    while_scanning: Any = None

    def __post_init__(self) -> None:
        rows = "".join(f"{number}.mp4,nsfw,{number % 2}\n" for number in range(20))
        (self.folder / "labels.csv").write_text(f"path,category,label\n{rows}0.mp4,gore,1\n")
        self.gate["data"] = str(self.folder / "labels.csv")
        self.harness = Harness(self.platform)
        for version in (1, 2):
            self.platform.registry.register(MODEL, self.folder, {"auc": "0.9"})
            self.scores[str(version)] = [0.9 if number % 2 else 0.1 for number in range(20)]
            self.harness.deploy(version)

    def scan(
        self, model: Model, version: str, sources: Sequence[str], settings: Any, console: Any
    ) -> list[dict[str, Any]]:
        self.scanned.append(version)
        if self.while_scanning is not None:
            self.while_scanning()
        return [
            {**result(at, score), "source": source}
            for at, (source, score) in enumerate(zip(sources, self.scores[version], strict=True))
        ]

    def promote(self, version: str = "2", **options: Any) -> Release:
        section = {"category": "nsfw", "gate": self.gate or None}
        config = Config.model_validate({"models": {MODEL: section}})
        console = Console(out=io.StringIO(), err=io.StringIO())
        gate = PromotionGate(self.platform, Settings(config, {}), console, self.scan)
        request = DeployRequest(version, promote=True, **options)
        return deploy_model(self.harness.releases, DETECTOR, request, gate)

    @property
    def why(self) -> str | None:
        return self.harness.releases.history(DETECTOR)[0].why


@pytest.fixture(params=[FakePlatform, FakeCloud])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    return Project(tmp_path, request.param())


def test_who_passes_is_promoted_and_the_history_says_what_was_passed(project: Project) -> None:
    project.promote(why="better in the dark")
    assert project.harness.state() == {"1": ("previous", 0), "2": ("champion", 100)}
    assert project.why == (
        "gate passed: 0 of 20 flipped (at most 10%), AUC 1.000 (at least 0.9); better in the dark"
    )
    # Once it is champion there is nothing to ask, and a rollback is asked nothing.
    project.scanned.clear()
    assert project.promote().action == "none"
    project.harness.rollback()
    assert project.scanned == []
    assert project.harness.state() == {"1": ("champion", 100), "2": ("previous", 0)}


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ([0.1 if number % 2 else 0.9 for number in range(20)], "20 of 20 flipped"),
        ([0.45 if number % 2 else 0.2 for number in range(20)], "10 of 20 flipped"),
        ([0.9 if number == 1 else 0.1 for number in range(20)], "AUC 0.550 (at least 0.9)"),
        ([None if number == 3 else 0.9 * (number % 2) for number in range(20)], "AUC 0.9"),
        ([None] * 20, "AUC 0.000"),
    ],
)
def test_who_does_not_pass_changes_nothing(
    project: Project, scores: list[float | None], words: str
) -> None:
    project.scores["2"] = scores
    project.gate["min_auc"] = 0.99 if words == "AUC 0.9" else 0.9
    before = copy.deepcopy(project.platform.world.endpoints)
    with pytest.raises(GateError) as refused:
        project.promote()
    assert refused.value.exit_code == 12
    assert words in str(refused.value)
    assert project.platform.world.endpoints == before
    assert f"guardian compare {MODEL}@1 {MODEL}@2 --on" in (refused.value.hint or "")


@pytest.mark.parametrize("flips", [-1, 1.5, True, "5", "x", "200%", "-1%", [5]])
def test_a_limit_of_flips_that_is_none_names_its_key(tmp_path: Path, flips: object) -> None:
    path = tmp_path / "guardian.yaml"
    gate = {"data": "x.csv", "max_flips": flips}
    path.write_text(json.dumps({"models": {MODEL: {"gate": gate}}}), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"gate\.max_flips: .*neither a number of flips nor"):
        load_settings(path)


def test_nothing_that_can_be_told_is_a_refusal() -> None:
    section = GateSection(data="x", max_flips=5, min_auc=0.5)
    _, failed = weigh(section, compare_results([], []), math.nan)
    assert len(failed) == 2


def test_without_a_gate_it_must_say_why_and_the_history_has_it(project: Project) -> None:
    project.scores["2"] = [None] * 20
    request = DeployRequest("2", promote=True, no_gate=True)
    releases = project.harness.releases
    with pytest.raises(UsageError, match="--no-gate needs --why"):
        deploy_all(releases, [DETECTOR], request, named=True)
    with pytest.raises(UsageError, match="for --promote"):
        deploy_all(releases, [DETECTOR], DeployRequest("2", no_gate=True, why="x"), named=True)
    project.promote(no_gate=True, why="the champion is broken")
    assert project.scanned == []
    assert project.why == "without a gate: the champion is broken"


def test_a_dry_run_asks_nothing(project: Project) -> None:
    project.scores["2"] = [None] * 20
    assert project.promote(dry_run=True).dry_run
    assert project.scanned == []
    notes = project.harness.reporter.notes
    assert any("at most 10% flips, an AUC of at least 0.9" in note for note in notes)


def test_a_model_without_a_gate_is_promoted_as_ever(project: Project) -> None:
    project.gate = {}
    project.promote(why="because")
    assert (project.why, project.scanned) == ("because", [])


def test_a_champion_that_changed_meanwhile_is_not_passed(project: Project) -> None:
    project.platform.registry.register(MODEL, project.folder, {})
    project.while_scanning = lambda: project.harness.deploy(3, promote=True)
    with pytest.raises(ChangedMeanwhileError, match="3 is the champion now"):
        project.promote()
    assert project.harness.state()["3"] == ("champion", 100)


@pytest.mark.parametrize("data", ["nothing.csv", "others.csv", "folder"])
def test_a_gate_that_cannot_be_asked_is_a_usage_error(project: Project, data: str) -> None:
    (project.folder / "others.csv").write_text("path,category,label\na.mp4,gore,1\n")
    (project.folder / "folder").mkdir()
    project.gate["data"] = str(project.folder / data)
    before = copy.deepcopy(project.platform.world.endpoints)
    with pytest.raises(ConfigError if data == "folder" else UsageError):
        project.promote()
    assert project.platform.world.endpoints == before


def test_a_version_that_did_not_score_is_no_pass(project: Project) -> None:
    def unavailable() -> None:
        raise PlatformError("the registry does not answer")

    project.while_scanning = unavailable
    before = copy.deepcopy(project.platform.world.endpoints)
    with pytest.raises(PlatformError):
        project.promote()
    assert project.platform.world.endpoints == before


@pytest.mark.parametrize(
    "faults", [Faults(), Faults(kill_after_effect=True), Faults(torn=True)], ids=str
)
def test_killed_at_every_call_the_same_command_finishes_it(tmp_path: Path, faults: Faults) -> None:
    for number in range(1, 60):
        folder = tmp_path / str(number)
        folder.mkdir()
        project = Project(folder, FakePlatform())
        project.platform.calls.clear()
        project.platform.faults = Faults(number, faults.kill_after_effect, faults.torn)
        try:
            project.promote()
        except Killed:
            endpoint = project.platform.world.endpoints[ENDPOINT]
            assert endpoint.traffic in (
                {"version-1": 90, "version-2": 10}, {"version-1": 0, "version-2": 100},
            )  # fmt: skip
            project.platform.faults = Faults()
            project.promote()
        else:
            break
        assert project.harness.state() == {"1": ("previous", 0), "2": ("champion", 100)}
        assert PENDING_TAG not in project.platform.world.endpoints[ENDPOINT].tags
    assert number > 3
