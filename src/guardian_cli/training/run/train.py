"""`guardian train` for one model: data in, a registered version and its report out.

    listing -> gallery -> groups -> folds -> networks -> metrics -> artifact -> version

Each arrow leaves something in the run's folder, so the same command again goes on from there; the
version is registered last, once, and the folder goes when that is done.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardian_cli import __version__
from guardian_cli.errors import MissingError
from guardian_cli.training.data.listing import choose_positive
from guardian_cli.training.data.simulate import Simulation
from guardian_cli.training.model.backbones import ClipBackbone, TinyBackbone
from guardian_cli.training.run.directory import open_workplace, take_fingerprint
from guardian_cli.training.run.learning import REPORT_NAME, Learning, learn
from guardian_cli.training.run.publishing import publish

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from guardian_cli.lifecycle.platform import Registry
    from guardian_cli.training.data.frames import Reader
    from guardian_cli.training.data.listing import LeftOut, Listing
    from guardian_cli.training.evaluation.report import TrainReport
    from guardian_cli.training.model.backbones import Backbone, BackboneName, Tower
    from guardian_cli.training.progress import Reporter, TrainingProgress

# Simulated pictures are coarse: a small square shows all there is, in less than half the time.
SIMULATED_PX = 64
_SHOWN_LEFT_OUT = 10


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What to train. `data` None means simulated data, `simulated_items` how many of it."""

    model: str
    category: str
    data: Path | None = None
    positive: str | None = None
    backbone: BackboneName = "auto"
    epochs: int | None = None
    seed: int = 0
    simulated_items: int | None = None


@dataclass(frozen=True, slots=True)
class Tools:
    """What training needs of the outside: a reader of files, CLIP's weights, and ears.

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
    """Train, judge, log and register one model; `training` is the folder that runs work in.

    Raises UsageError for data that cannot be trained on, PlatformError for a registry that does not
    answer, MissingError when the backbone that was asked for can't be had.
    """
    listing, reader = _list_data(request, tools)
    positive = choose_positive(listing.labels, request.category, request.positive)
    tell_left_out(listing.left_out, tools.reporter)
    # A registry that does not answer is better known before the training than after.
    registry.versions(request.model)
    backbone, label = _choose_backbone(request, tools)
    fingerprint = take_fingerprint(
        listing,
        positive=positive,
        backbone=label,
        epochs=request.epochs,
        seed=request.seed,
        guardian=__version__,
    )
    with open_workplace(training, request.model, fingerprint) as place:
        if place.resumed:
            tools.reporter.note(f"{request.model}: going on with a training that was interrupted")
        if place.read(REPORT_NAME) is None:
            with reader() as read:
                learning = Learning(
                    request.model, request.category, listing, positive, request.seed, request.epochs
                )
                found = learn(learning, backbone, label, read, place, tools.progress, tools.workers)
            tell_left_out(found, tools.reporter)
        report = publish(place, registry, request.model, tools.reporter)
        place.remove()
    return report


def _list_data(
    request: TrainRequest, tools: Tools
) -> tuple[Listing, Callable[[], AbstractContextManager[Reader]]]:
    if request.data is not None:
        from guardian_cli.training.data.datasets import load_listing  # noqa: PLC0415 - for real files

        return load_listing(request.data), tools.open_reader
    simulation = Simulation(request.category, request.seed, request.simulated_items)
    tools.reporter.note(f"{request.model}: no --data, so it learns from simulated data")
    return simulation.listing(), lambda: nullcontext(simulation)


def _choose_backbone(request: TrainRequest, tools: Tools) -> tuple[Backbone, str]:
    """The backbone, and a label for it that changes when its numbers would."""
    simulated = request.data is None
    tiny = TinyBackbone(px=SIMULATED_PX) if simulated else TinyBackbone()
    if request.backbone == "tiny" or (request.backbone == "auto" and simulated):
        return tiny, tiny.name
    try:
        tower = tools.load_tower()
    except MissingError as error:
        if request.backbone == "clip":
            raise
        tools.reporter.note(
            f"{request.model}: {error}; it trains a small network of its own instead"
        )
        return tiny, tiny.name
    return ClipBackbone(tower), f"clip {tower.label}"


def tell_left_out(left_out: Sequence[LeftOut], reporter: Reporter) -> None:
    """Name the first files that are not trained on, and say how many more there are."""
    # Contradictions first: they are mistakes in the labels, which nothing else would show.
    ordered = sorted(left_out, key=lambda one: not one.contradiction)
    for one in ordered[:_SHOWN_LEFT_OUT]:
        reporter.warn(f"left out: {one.line}")
    if len(ordered) > _SHOWN_LEFT_OUT:
        reporter.warn(f"left out: {len(ordered) - _SHOWN_LEFT_OUT} more files; the report has them")
