"""`guardian train` as it is typed: which models, where, with which tools."""

from __future__ import annotations

import dataclasses
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from guardian_cli.errors import GuardianError, PlatformError, UsageError
from guardian_cli.lifecycle.platform import Clustered, TrainingJob, WorkspaceOptions
from guardian_cli.media.frames import DecodeSettings
from guardian_cli.settings import calm_threads, count_cores
from guardian_cli.training.data import choose_positive
from guardian_cli.training.listings import load_listing
from guardian_cli.training.parcel import pack_listing
from guardian_cli.training.progress import ShownTraining
from guardian_cli.training.reading import SHORT_SIDE_PX, open_reader
from guardian_cli.training.report import TrainReport, add_left_out
from guardian_cli.training.train import Tools, TrainRequest, tell_left_out, train_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guardian_cli.console import Console
    from guardian_cli.lifecycle.models import Model
    from guardian_cli.lifecycle.platform import Platform, Registry
    from guardian_cli.settings import Settings
    from guardian_cli.training.backbones import BackboneName, Tower
    from guardian_cli.training.data import LeftOut

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
    _make_workspace(platform, console)
    done: list[TrainReport] = []
    failures: list[GuardianError] = []
    for model in models:
        request = TrainRequest(
            model.name,
            model.category,
            options.data.expanduser() if options.data else None,
            options.positive,
            options.backbone,
            options.epochs,
            options.seed,
        )
        try:
            if options.data is None and not options.simulated:
                _check_simulated(platform.registry, model.name)
            if options.compute is not None:
                done.append(_train_there(platform, options.compute, request, console))
            else:
                done.append(_train_here(platform, settings, request, console))
        except GuardianError as error:
            if len(models) == 1:
                raise
            console.warn(f"{model.name}: {error}")
            failures.append(error)
    return done, next(iter(failures), None)


def _check_simulated(registry: Registry, model: str) -> None:
    """Simulated data is for the first step: raise UsageError once there is a real version."""
    real = [one.version for one in registry.versions(model) if not one.simulated]
    if real:
        raise UsageError(
            f"{model} has versions from real data already ({', '.join(real[-3:])}), and no --data"
            " is named",
            hint=f"guardian train {model} --data PATH, or --simulated if that is meant",
        )


def _train_here(
    platform: Platform, settings: Settings, request: TrainRequest, console: Console
) -> TrainReport:
    with make_tools(settings, request.model, console) as tools:
        return train_model(request, platform.registry, TRAINING_FOLDER, tools)


@contextmanager
def make_tools(settings: Settings, model: str, console: Console) -> Iterator[Tools]:
    """What a training needs of the outside, on this machine."""
    scan = settings.config.scan
    limits = DecodeSettings(
        short_side_px=SHORT_SIDE_PX,
        timeout_s=scan.timeout_s,
        memory_mb=scan.memory_mb,
        threads=1,
    )
    with ShownTraining(model, console) as progress:
        yield Tools(
            open_reader=lambda: open_reader(limits),
            load_tower=lambda: _load_tower(settings, console),
            progress=progress,
            reporter=console,
            workers=count_cores(),
        )


def _load_tower(settings: Settings, console: Console) -> Tower:
    from guardian_cli.training.towers import load_tower  # noqa: PLC0415 - only CLIP needs it

    return load_tower(settings.config.clip, console.note, offline=settings.hub_offline)


def _train_there(
    platform: Platform, compute: str, request: TrainRequest, console: Console
) -> TrainReport:
    """Send a training to a cluster of the platform."""
    if not isinstance(platform, Clustered):
        raise UsageError(
            f"--compute {compute}: the target {platform.target} has no clusters",
            hint="leave --compute out",
        )
    arguments = dataclasses.asdict(request)
    del arguments["data"]
    with tempfile.TemporaryDirectory(prefix="guardian-data-") as scratch:
        table: Path | None = None
        left_out: tuple[LeftOut, ...] = ()
        if request.data is not None:
            # What cannot be trained on is better known before it is sent than after.
            listing = load_listing(request.data)
            choose_positive(listing.labels, request.category, request.positive)
            left_out = listing.left_out
            tell_left_out(left_out, console)
            table = pack_listing(listing, Path(scratch))
        outcome = platform.train(TrainingJob(request.model, compute, arguments, table))
    data = add_left_out(outcome.report["data"], left_out)
    version, notes = outcome.version.version, tuple(outcome.report["notes"])
    return TrainReport(**{**outcome.report, "version": version, "notes": notes, "data": data})


def _make_workspace(platform: Platform, console: Console) -> None:
    """The embedded workspace is made when it is needed; one that costs money never is."""
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
