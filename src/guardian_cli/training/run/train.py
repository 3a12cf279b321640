"""`guardian train` for one model: data in, a registered version and its report out.

    dataset -> stored frames -> groups -> folds -> networks -> metrics -> artifact -> version

Each arrow leaves something in the run's directory, so the same command again goes on from there;
the version is registered last, once, and the directory goes when that is done.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from guardian_cli import __version__
from guardian_cli.errors import MissingError
from guardian_cli.serving.format import save_model
from guardian_cli.training.data.dataset import check_classes, choose_positive, load_dataset
from guardian_cli.training.data.frame_store import drop_contradictions, store_frames
from guardian_cli.training.data.grouping import group_samples
from guardian_cli.training.data.simulate import Simulation
from guardian_cli.training.data.splits import CROSS_VALIDATED_UP_TO, plan_splits
from guardian_cli.training.evaluation.calibration import describe_facts, score_by_features
from guardian_cli.training.evaluation.metrics import HeldOutScores, caveats, measure
from guardian_cli.training.evaluation.plots import draw_plots
from guardian_cli.training.evaluation.report import (
    PreparedData,
    describe_data,
    describe_duplicates,
    describe_metrics,
)
from guardian_cli.training.model.backbones import ClipBackbone, TinyBackbone
from guardian_cli.training.model.trainer import train_folds
from guardian_cli.training.run.directory import open_directory, take_fingerprint
from guardian_cli.training.run.publishing import (
    ARTIFACT_NAME,
    PLOTS_NAME,
    REPORT_NAME,
    describe_environment,
    publish,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from guardian_cli.lifecycle.platform import Registry, Reporter
    from guardian_cli.training.data.dataset import Dataset, LeftOut
    from guardian_cli.training.data.frame_store import Reader
    from guardian_cli.training.evaluation.report import TrainReport
    from guardian_cli.training.model.backbones import Backbone, BackboneName, Tower
    from guardian_cli.training.progress import TrainingProgress
    from guardian_cli.training.run.directory import RunDirectory

# Simulated pictures are coarse: a small square shows all there is, in less than half the time.
SIMULATED_PX = 64
_SHOWN_LEFT_OUT = 10


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What to train. `data` None means simulated data, `simulated_samples` how many of it."""

    model: str
    category: str
    data: Path | None = None
    positive: str | None = None
    backbone: BackboneName = "auto"
    epochs: int | None = None
    seed: int = 0
    simulated_samples: int | None = None


@dataclass(frozen=True, slots=True)
class Tools:
    """What training needs from outside: a reader of files, CLIP's weights, where progress goes.

    `load_tower` raises MissingError when the weights can't be had; `workers` files are read at a
    time.
    """

    open_reader: Callable[[], AbstractContextManager[Reader]]
    load_tower: Callable[[], Tower]
    progress: TrainingProgress
    reporter: Reporter
    workers: int = 2


def train_model(
    request: TrainRequest, registry: Registry, training: Path, tools: Tools
) -> TrainReport:
    """Train, test, log and register one model; `training` is the folder that runs work in.

    Raises UsageError for data that cannot be trained on, PlatformError for a registry that does not
    answer, MissingError when the backbone that was asked for can't be had.
    """
    if request.data is not None:
        dataset, open_reader = load_dataset(request.data, request.category), tools.open_reader
    else:
        tools.reporter.note(f"{request.model}: no --data, so it learns from simulated data")
        simulation = Simulation(request.category, request.seed, request.simulated_samples)
        dataset, open_reader = simulation.dataset(), lambda: nullcontext(simulation)
    positive = choose_positive(dataset.labels, request.category, request.positive)
    show_left_out(dataset.left_out, tools.reporter)
    # A registry that does not answer is better known before the training than after.
    registry.versions(request.model)
    backbone = choose_backbone(request, tools)
    fingerprint = take_fingerprint(
        dataset,
        positive=positive,
        backbone=backbone.label,
        epochs=request.epochs,
        seed=request.seed,
        guardian=__version__,
    )
    with open_directory(training, request.model, fingerprint) as directory:
        if directory.resumed:
            tools.reporter.note(f"{request.model}: going on with a training that was interrupted")
        # The report is written last: where there is one, only publishing is left.
        if directory.read(REPORT_NAME) is None:
            with open_reader() as read:
                learn(request, dataset, positive, backbone, read, directory, tools)
        report = publish(directory, registry, request.model, tools.reporter)
        directory.remove()
    return report


def choose_backbone(request: TrainRequest, tools: Tools) -> Backbone:
    """CLIP where it can be had, else a network of our own; simulated data needs no more than that.

    Raises MissingError when CLIP was asked for and can't be had.
    """
    simulated = request.data is None
    tiny = TinyBackbone(px=SIMULATED_PX) if simulated else TinyBackbone()
    if request.backbone == "tiny" or (request.backbone == "auto" and simulated):
        return tiny
    try:
        return ClipBackbone(tools.load_tower())
    except MissingError as error:
        if request.backbone == "clip":
            raise
        tools.reporter.note(
            f"{request.model}: {error}; it trains a small network of its own instead"
        )
        return tiny


def digests_of(left_out: Sequence[LeftOut]) -> set[str]:
    """The digests of files that were tried: they are no news to the next training."""
    found = set()
    for one in left_out:
        with suppress(OSError), open(one.path, "rb") as file:  # noqa: PTH123 - a path as text
            found.add(hashlib.file_digest(file, "sha256").hexdigest())
    return found


def show_left_out(left_out: Sequence[LeftOut], reporter: Reporter) -> None:
    """Name the first files that are not trained on, and say how many more there are."""
    # Contradictions first: they are mistakes in the labels, which nothing else would show.
    ordered = sorted(left_out, key=lambda one: not one.contradiction)
    for one in ordered[:_SHOWN_LEFT_OUT]:
        reporter.warn(f"left out: {one.line}")
    if len(ordered) > _SHOWN_LEFT_OUT:
        reporter.warn(f"left out: {len(ordered) - _SHOWN_LEFT_OUT} more files; the report has them")


def learn(
    request: TrainRequest,
    dataset: Dataset,
    positive: str,
    backbone: Backbone,
    read: Reader,
    directory: RunDirectory,
    tools: Tools,
) -> None:
    """Train and test, and leave artifact, plots and report in the directory, the report last."""
    import numpy as np
    import torch

    folder, progress = directory.folder, tools.progress
    data = prepare_data(request, dataset, positive, backbone, read, folder, tools)
    bags = backbone.prepare(
        data.store,
        data.positive,
        folder,
        lambda done, total: progress.step("computing features", done, total),
    )
    # The same seed must give the same numbers, so no algorithm is chosen by a race.
    torch.backends.cudnn.deterministic = True
    recipe = backbone.recipe
    settings = replace(
        recipe,
        epochs=request.epochs or recipe.epochs,
        # A bag of one picture takes less room: twice as many fit into a batch.
        bags=2 * recipe.bags if data.store.max_frames == 1 else recipe.bags,
        seed=request.seed,
        device="cuda" if torch.cuda.is_available() else "cpu",
    )
    trained = train_folds(data.plan, backbone, bags, settings, directory, progress)
    # Data sets leak their label through resolution, frame rate and length: a model that beats what
    # the containers alone give away by little has not learned to see.
    facts = describe_facts([one.facts for one in data.store.stored])
    held_out = HeldOutScores(
        np.array([data.positive[at] for at in trained.positions], dtype=bool),
        [data.grouping.groups[at] for at in trained.positions],
        trained.scores,
        trained.temporal,
        score_by_features(facts, data.positive, data.plan.folds)[trained.positions],
    )
    metrics = measure(held_out, seed=request.seed)
    card = replace(
        backbone.card(request.model, request.category),
        temperature=trained.calibration.temperature,
        bias=trained.calibration.bias,
        # "Over all scores" may lie over 1, which no card can hold.
        threshold=min(1.0, metrics.threshold),
        data_digest=data.digest,
    )
    shutil.rmtree(folder / ARTIFACT_NAME, ignore_errors=True)
    save_model(folder / ARTIFACT_NAME, card, backbone.export(trained.network))
    draw_plots(folder / PLOTS_NAME, held_out, metrics)
    report = {
        "metrics": describe_metrics(metrics),
        "data": describe_data(data),
        "training": {
            "backbone": backbone.label,
            "seed": request.seed,
            "method": data.plan.method,
            "networks": [len(history) for history in trained.histories],
            "settings": asdict(settings),
            "calibration": asdict(trained.calibration),
            "environment": describe_environment(),
        },
        "histories": [[asdict(epoch) for epoch in one] for one in trained.histories],
        "notes": [*describe_duplicates(data), *caveats(metrics)],
        "digests": sorted({one.sha256 for one in data.store.stored} | digests_of(data.unusable)),
    }
    directory.write(REPORT_NAME, report)
    show_left_out(data.unusable, tools.reporter)


def prepare_data(
    request: TrainRequest,
    dataset: Dataset,
    positive_label: str,
    backbone: Backbone,
    read: Reader,
    folder: Path,
    tools: Tools,
) -> PreparedData:
    """Read every file once, find what belongs together, and split what can be used.

    Raises UsageError where the data is too little, PlatformError where pictures cannot be kept.
    """
    store, unreadable = store_frames(
        folder,
        dataset.samples,
        read,
        px=backbone.px,
        frames=backbone.video_frames,
        views=backbone.views,
        workers=tools.workers,
        on_progress=lambda done, total: tools.progress.step("reading files", done, total),
    )
    store, contradictions = drop_contradictions(store)
    unusable = (*unreadable, *contradictions)
    samples = [one.sample for one in store.stored]
    check_classes(samples, (*dataset.left_out, *unusable), positive_label)
    positive = tuple(sample.label == positive_label for sample in samples)
    names = [sample.group for sample in samples]
    grouping = group_samples(store, names, positive, seed=request.seed)
    plan = plan_splits(
        grouping.groups,
        positive,
        [sample.split for sample in samples],
        seed=request.seed,
        # There is as much simulated data as one likes, so one held-out part says enough.
        cross_validate_up_to=0 if dataset.simulated else CROSS_VALIDATED_UP_TO,
    )
    # Every file's bytes, label, group and split: the same in any order and place.
    lines = sorted(
        json.dumps([one.sha256, one.sample.label, one.sample.group, one.sample.split])
        for one in store.stored
    )
    digest = "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return PreparedData(dataset, positive_label, store, unusable, positive, grouping, plan, digest)
