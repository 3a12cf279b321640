"""`guardian retrain`: is a model due, and if so train it and put it beside its champion.

    labels, results, the champion's age -> due or not, and why
    due -> train, register -> deploy as challenger

Nothing is promoted. A note of what is under way is kept, so that the same command again finishes
what was cut off; a lock keeps two of them, such as cron's, apart.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import GuardianError, UsageError
from guardian_cli.files import LockHeldError, hold_lock, make_private_folder, write_private
from guardian_cli.lifecycle.deploy import deploy_model
from guardian_cli.lifecycle.release.plan import DeployRequest
from guardian_cli.lifecycle.release.roles import own_endpoint, roles_on
from guardian_cli.training.data.dataset import load_dataset
from guardian_cli.training.run.publishing import DIGESTS_NAME
from guardian_cli.training.run.train_all import TrainOptions, train_all
from guardian_cli.watching.monitor import DRIFT, monitor
from guardian_cli.watching.reading import read_observations

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guardian_cli.config import RetrainSection
    from guardian_cli.console import Console
    from guardian_cli.lifecycle.models import Model
    from guardian_cli.lifecycle.platform import ModelVersion, Platform, Registry
    from guardian_cli.lifecycle.release.execute import Release, Releases
    from guardian_cli.settings import Settings
    from guardian_cli.training.evaluation.report import TrainReport

RETRAIN_FOLDER = Path(".guardian") / "retrain"


@dataclass(frozen=True, slots=True)
class Situation:
    """What decides whether a model is due.

    `new_labels` are files that neither the champion nor the newest version has learned from,
    `waiting` is a version newer than the champion that has learned from all there is.
    """

    champion: str | None
    newest: str | None
    new_labels: int
    files: int
    alerts: tuple[str, ...] = ()
    age_days: float | None = None
    waiting: str | None = None


@dataclass(frozen=True, slots=True)
class Retraining:
    """What became of one model: `reasons` say why it was due, or why not.

    `action` is none, train (what a dry run would do, or all there was to do without a champion) or
    deploy.
    """

    model: str
    due: bool
    reasons: Sequence[str]
    situation: Situation | None = None
    action: str = "none"
    report: TrainReport | None = None
    version: str | None = None
    release: Release | None = None


def decide(section: RetrainSection, found: Situation) -> tuple[bool, tuple[str, ...]]:
    """Say whether a model is due, and each reason for or against it. Pure."""
    due, against = [], []
    if "labels" in section.on:
        text = f"{found.new_labels} new labels"
        if found.new_labels >= section.min_new_labels:
            due.append(f"{text}, at least {section.min_new_labels} are wanted")
        else:
            against.append(f"{text} of the {section.min_new_labels} that are wanted")
    if "drift" in section.on:
        if found.alerts:
            due.append(f"drift: {', '.join(found.alerts)}")
        else:
            against.append("no drift")
    if "age" in section.on and found.champion is not None:
        days = f"version {found.champion} is {found.age_days or 0:.0f} days old"
        if (found.age_days or 0) > section.max_age_days:
            due.append(f"{days}, over {section.max_age_days}")
        else:
            against.append(f"{days} of {section.max_age_days}")
    if due and found.waiting is not None:
        # Tomorrow's run of cron would train the very same version again.
        waits = f"version {found.waiting} has learned from all of it and waits to be promoted"
        return False, (waits, *due)
    return bool(due), tuple(due or against)


@dataclass
class Retrainer:
    """Retrains models of one project, one at a time; `folder` holds its notes and locks."""

    platform: Platform
    releases: Releases
    settings: Settings
    console: Console
    folder: Path = RETRAIN_FOLDER
    train: Callable[..., tuple[list[TrainReport], GuardianError | None]] = train_all

    def look(self, model: Model, section: RetrainSection) -> Retraining:
        """Say whether a model is due, and change nothing. Raises UsageError, PlatformError."""
        situation = self._look(model, section)
        # What is due is decided without any I/O, so that every case can be tested.
        due, reasons = decide(section, situation)
        return Retraining(model.name, due, reasons, situation, "train" if due else "none")

    def retrain(self, model: Model, section: RetrainSection) -> Retraining:
        """Look, and do what is due. Raises UsageError, PlatformError; traffic is then as it was."""
        make_private_folder(self.folder)
        try:
            with hold_lock(self.folder / f"{model.name}.lock"):
                return self._retrain(model, section)
        except LockHeldError:
            busy = "another guardian is retraining it right now"
            return Retraining(model.name, due=False, reasons=(busy,))

    def _retrain(self, model: Model, section: RetrainSection) -> Retraining:
        note = self.folder / f"{model.name}.json"
        begun = _read_note(note)
        if begun is not None and not (begun.get("reasons") and "newest" in begun):
            begun = None
        found = self.look(model, section)
        situation, version = found.situation, None
        if begun is not None and situation is not None:
            reasons = ("a retraining that was cut off is finished", *begun["reasons"])
            found = replace(found, due=True, reasons=reasons)
            # It may have registered its version before it was cut off: hours that need not be spent
            # again.
            version = self._made_since(model, section, begun["newest"])
        if not found.due or situation is None:
            return found
        for reason in found.reasons:
            self.console.note(f"{model.name} is due: {reason}")
        if begun is None:
            begun = {"newest": situation.newest, "reasons": found.reasons}
            # Before the training: a run that is cut off leaves here what it was about.
            write_private(note, json.dumps(begun).encode())
        report = None
        if version is None:
            report = self._train(model, section, note)
            version = report.version
        release = None
        if situation.champion is None:
            # The first version would be champion at once: that is for people to say.
            first = f"guardian deploy {model.name} --version {version}"
            self.console.note(f"hint: {model.name} has no champion yet: {first}")
        else:
            why = f"retrain: {begun['reasons'][0]}"
            release = deploy_model(self.releases, model, DeployRequest(version, why=why))
        note.unlink()
        action = "train" if release is None else "deploy"
        return replace(found, action=action, report=report, version=version, release=release)

    def _train(self, model: Model, section: RetrainSection, note: Path) -> TrainReport:
        options = TrainOptions(data=Path(section.data))
        try:
            [report], _ = self.train(self.platform, self.settings, [model], options, self.console)
        except GuardianError:
            # Nothing was registered: the next run looks anew.
            note.unlink()
            raise
        return report

    def _made_since(self, model: Model, section: RetrainSection, newest: str | None) -> str | None:
        """The version that a retraining which was cut off has registered already, if it has."""
        versions = self.platform.registry.versions(model.name)
        source = versions[-1].tags.get("data", "").removeprefix("…") if versions else ""
        # One that somebody trained on other data meanwhile is theirs.
        is_ours = source and str(Path(section.data)).endswith(source)
        return versions[-1].version if is_ours and versions[-1].version != newest else None

    def _look(self, model: Model, section: RetrainSection) -> Situation:
        """Find out what decides; reads every file of the data once, for its digest."""
        registry = self.platform.registry
        versions = registry.versions(model.name)
        endpoint = own_endpoint(self.platform, model)
        role = roles_on(endpoint).champion if endpoint else None
        champion = next((one for one in versions if one.version == role), None)
        newest = versions[-1] if versions else None
        files = self._digests(model, Path(section.data))
        learned = read_digests(registry, champion) if champion is not None else set()
        # Mostly one version is both: what is fetched has all its weights, and once is enough.
        learned_last = learned
        if newest is not None and newest != champion:
            learned_last = read_digests(registry, newest)
        is_newer = newest is not None and newest != champion and champion is not None
        age_s = None
        if champion is not None and champion.created is not None:
            age_s = (datetime.now(UTC) - champion.created).total_seconds()
        return Situation(
            champion.version if champion else None,
            newest.version if newest else None,
            len(files - learned - learned_last),
            len(files),
            self._alerts(model, section) if "drift" in section.on else (),
            age_s / 86400 if age_s is not None else None,
            newest.version if newest is not None and is_newer and files <= learned_last else None,
        )

    def _alerts(self, model: Model, section: RetrainSection) -> tuple[str, ...]:
        """Which figures say that this model's videos, or their verdicts, are not what they were."""
        watched = read_observations(find_files(section.results), self.settings)
        usual = read_observations(find_files(section.reference), self.settings)
        found = monitor(watched, usual, self.settings.config.monitor)
        return tuple(
            one.title
            for _, one in found.alerts
            if one.name in DRIFT and one.category in {None, model.category}
        )

    def _digests(self, model: Model, data: Path) -> set[str]:
        """The digest of every labelled file; of one that has not changed since, from a note."""
        path = self.folder / f"{model.name}.digests.json"
        known = _read_note(path) or {}
        found: dict[str, list[Any]] = {}
        for sample in load_dataset(data, model.category).samples:
            try:
                stat = sample.path.stat()
                entry = known.get(str(sample.path))
                if not isinstance(entry, list) or entry[:2] != [stat.st_size, stat.st_mtime_ns]:
                    with sample.path.open("rb") as file:
                        digest = hashlib.file_digest(file, "sha256").hexdigest()
                    entry = [stat.st_size, stat.st_mtime_ns, digest]
            except OSError:
                # Training names what it cannot read.
                continue
            found[str(sample.path)] = entry
        # A dry run makes no folder, and so keeps no note.
        if self.folder.is_dir():
            write_private(path, json.dumps(found).encode())
        return {entry[2] for entry in found.values()}


def _read_note(path: Path) -> dict[str, Any] | None:
    """What an earlier run noted; None where it did not, or something else has written there."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def find_files(pattern: str | None) -> list[Path]:
    """The files of a path, whose name may be a pattern: one file of results for each night."""
    path = Path(pattern or "")
    if not any(mark in path.name for mark in "*?["):
        return [path]
    # Without a match the pattern itself, so that the error names what was asked for.
    return sorted(path.parent.glob(path.name)) or [path]


def read_digests(registry: Registry, version: ModelVersion) -> set[str]:
    """The digests of the files that a version has learned from; none where it does not tell."""
    with tempfile.TemporaryDirectory(prefix="guardian-version-") as scratch:
        folder = Path(scratch) / "model"
        registry.fetch(version.model, version.version, folder)
        found = next(iter(sorted(folder.rglob(DIGESTS_NAME))), None)
        return set(found.read_text(encoding="ascii").split()) if found else set()


def choose_sections(
    settings: Settings, models: Sequence[Model], *, named: bool
) -> list[tuple[Model, RetrainSection]]:
    """The models with a `retrain` section. Raises UsageError where there is none at all."""
    sections = settings.config.models
    found = [
        (model, section)
        for model in models
        if (section := sections[model.name].retrain) is not None
    ]
    if not found:
        name = models[0].name if named else "MODEL"
        raise UsageError(
            f"{models[0].name if named else 'no model'} has no retrain section in guardian.yaml",
            hint=f"models: {{{name}: {{retrain: {{data: labels.csv, min_new_labels: 100}}}}}}",
        )
    return found
