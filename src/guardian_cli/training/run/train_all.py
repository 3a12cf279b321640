"""`guardian train` as it is typed: which models, where, with which tools."""

from __future__ import annotations

import dataclasses
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from guardian_cli.errors import GuardianError, PlatformError, UsageError
from guardian_cli.lifecycle.platform import Clustered, TrainingJob, WorkspaceOptions
from guardian_cli.media.frames import DecodeSettings
from guardian_cli.settings import calm_threads, count_cores
from guardian_cli.training.data.dataset import choose_positive, link_dataset, load_dataset
from guardian_cli.training.data.reader import SHORT_SIDE_PX, open_reader
from guardian_cli.training.evaluation.report import TrainReport, add_left_out
from guardian_cli.training.model.backbones import load_tower
from guardian_cli.training.progress import TrainingProgress
from guardian_cli.training.run.train import Tools, TrainRequest, show_left_out, train_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guardian_cli.console import Console
    from guardian_cli.lifecycle.models import Model
    from guardian_cli.lifecycle.platform import Platform
    from guardian_cli.settings import Settings
    from guardian_cli.training.data.dataset import LeftOut
    from guardian_cli.training.model.backbones import BackboneName

# Where runs work, also those whose platform is somewhere else.
TRAINING_FOLDER = Path(".guardian") / "training"


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What the command line says."""

    data: Path | None = None
    positive: str | None = None
    backbone: BackboneName = "auto"
    epochs: int | None = None
    seed: int = 0
    compute: str | None = None
    simulated: bool = False


def train_all(
    platform: Platform,
    settings: Settings,
    models: Sequence[Model],
    options: TrainOptions,
    console: Console,
) -> tuple[list[TrainReport], GuardianError | None]:
    """Train each model; what was trained, and the first failure of those that were not.

    Raises UsageError for options that make no sense together, PlatformError without a workspace.
    """
    if options.data is not None and options.simulated:
        raise UsageError("--data and --simulated exclude each other", hint="leave one of them out")
    if options.data is not None and len(models) > 1:
        raise UsageError(
            f"--data is for one model; there are {len(models)}",
            hint=f"guardian train {models[0].name} --data {options.data}",
        )
    calm_threads()
    make_workspace(platform, console)
    done: list[TrainReport] = []
    failures: list[GuardianError] = []
    for model in models:
        try:
            done.append(_train_one(platform, settings, model, options, console))
        except GuardianError as error:
            # Of several models the others are trained all the same.
            if len(models) == 1:
                raise
            console.warn(f"{model.name}: {error}")
            failures.append(error)
    return done, next(iter(failures), None)


def make_workspace(platform: Platform, console: Console) -> None:
    """Make the workspace where it is embedded; one that costs money is never made here.

    Raises PlatformError for one that is missing or not complete.
    """
    options = WorkspaceOptions(thorough=False)
    found = platform.look_at_workspace(options)
    if found.complete:
        return
    if platform.target != "local":
        raise PlatformError(
            f"the workspace is not complete: {', '.join(found.missing)}", hint="guardian setup"
        )
    platform.create_workspace(options)
    console.note(f"made the workspace {found.name}")


def _train_one(
    platform: Platform, settings: Settings, model: Model, options: TrainOptions, console: Console
) -> TrainReport:
    if options.data is None and not options.simulated:
        # Simulated data is for the first step: it never follows real data by accident.
        versions = platform.registry.versions(model.name)
        if real := [one.version for one in versions if not one.simulated]:
            raise UsageError(
                f"{model.name} has versions from real data already ({', '.join(real[-3:])}), and no"
                " --data is named",
                hint=f"guardian train {model.name} --data PATH, or --simulated if that is meant",
            )
    request = TrainRequest(
        model.name,
        model.category,
        options.data.expanduser() if options.data else None,
        options.positive,
        options.backbone,
        options.epochs,
        options.seed,
    )
    if options.compute is not None:
        return train_on_cluster(platform, options.compute, request, console)
    with make_tools(settings, model.name, console) as tools:
        return train_model(request, platform.registry, TRAINING_FOLDER, tools)


@contextmanager
def make_tools(settings: Settings, model: str, console: Console) -> Iterator[Tools]:
    """Make the tools for a training on this machine."""
    scan = settings.config.scan
    limits = DecodeSettings(
        short_side_px=SHORT_SIDE_PX,
        timeout_s=scan.timeout_s,
        memory_mb=scan.memory_mb,
        # A decoder for each core: more threads in it would only get in each other's way.
        threads=1,
    )
    load = partial(load_tower, settings.config.clip, console.note, offline=settings.hub_offline)
    with TrainingProgress(model, console) as progress:
        yield Tools(partial(open_reader, limits), load, progress, console, count_cores())


def train_on_cluster(
    platform: Platform, compute: str, request: TrainRequest, console: Console
) -> TrainReport:
    """Send a training to a cluster of the platform. Raises UsageError where it has none."""
    if not isinstance(platform, Clustered):
        raise UsageError(
            f"--compute {compute}: the target {platform.target} has no clusters",
            hint="leave --compute out",
        )
    arguments = dataclasses.asdict(request)
    # The data goes as an upload of its own, with a place of its own there.
    del arguments["data"]
    with tempfile.TemporaryDirectory(prefix="guardian-data-") as scratch:
        table: Path | None = None
        left_out: tuple[LeftOut, ...] = ()
        if request.data is not None:
            # What cannot be trained on is better known before it is sent than after.
            dataset = load_dataset(request.data, request.category)
            choose_positive(dataset.labels, request.category, request.positive)
            left_out = dataset.left_out
            show_left_out(left_out, console)
            table = link_dataset(dataset, Path(scratch))
        outcome = platform.train(TrainingJob(request.model, compute, arguments, table))
    data = add_left_out(outcome.report["data"], left_out)
    version, notes = outcome.version.version, tuple(outcome.report["notes"])
    return TrainReport(**{**outcome.report, "version": version, "notes": notes, "data": data})
