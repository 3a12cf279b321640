"""From a listing to a finished artifact, its plots and its report, all in the run's folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from guardian_cli.serving.format import save_model
from guardian_cli.training.baseline import score_by_metadata
from guardian_cli.training.data import check_classes
from guardian_cli.training.evaluation import FALSE_POSITIVES, caveats, gather, measure
from guardian_cli.training.folds import Trainer
from guardian_cli.training.frames import build_gallery, drop_contradictions
from guardian_cli.training.grouping import group_items
from guardian_cli.training.loop import LoopSettings
from guardian_cli.training.plots import draw_plots
from guardian_cli.training.report import add_left_out, metrics_part
from guardian_cli.training.splits import CROSS_VALIDATED_UP_TO, plan_splits
from guardian_cli.training.tracking import describe_environment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardian_cli.training.backbones import Backbone
    from guardian_cli.training.data import LeftOut, Listing
    from guardian_cli.training.evaluation import Judged, Metrics
    from guardian_cli.training.folds import Trained
    from guardian_cli.training.frames import Gallery, Reader
    from guardian_cli.training.grouping import Grouping
    from guardian_cli.training.progress import TrainingProgress
    from guardian_cli.training.splits import SplitPlan
    from guardian_cli.training.workplace import Workplace

REPORT_NAME = "report.json"
ARTIFACT_NAME = "artifact"
PLOTS_NAME = "plots"


@dataclass(frozen=True, slots=True)
class Learning:
    """What is learned from what."""

    model: str
    category: str
    listing: Listing
    positive: str
    seed: int
    epochs: int | None


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """What stands between reading the data and the report."""

    gallery: Gallery
    positive: Sequence[bool]
    grouping: Grouping
    plan: SplitPlan
    left_out: tuple[LeftOut, ...]
    digest: str


def learn(
    learning: Learning,
    backbone: Backbone,
    label: str,
    read: Reader,
    place: Workplace,
    progress: TrainingProgress,
    workers: int,
) -> tuple[LeftOut, ...]:
    """Train, judge, and leave artifact, plots and report in the folder, the report last.

    Returns the files that gave no picture, or contradict each other.
    """
    gallery, unreadable = build_gallery(
        place.folder,
        learning.listing.items,
        read,
        px=backbone.px,
        frames=backbone.video_frames,
        workers=workers,
        tell=lambda done, total: progress.step("reading files", done, total),
    )
    gallery, contradictions = drop_contradictions(gallery)
    left_out = (*unreadable, *contradictions)
    found = _look(learning, gallery, left_out)
    bags = backbone.prepare(
        gallery,
        found.positive,
        place.folder,
        lambda done, total: progress.step("computing features", done, total),
    )
    settings = _settings(learning, backbone, images=gallery.most_frames == 1)
    trained = Trainer(backbone, bags, settings, place, progress).train(found.plan)
    facts = [entry.facts for entry in gallery.entries]
    metadata = score_by_metadata(facts, found.positive, found.plan.folds)
    judged = gather(trained.results, found.positive, found.grouping.groups, metadata)
    metrics = measure(judged, seed=learning.seed)
    _save(learning, backbone, trained, metrics, judged, found.digest, place)
    place.write(REPORT_NAME, _report(learning, label, settings, found, trained, metrics))
    return left_out


def _look(learning: Learning, gallery: Gallery, unusable: tuple[LeftOut, ...]) -> _Found:
    items = [entry.item for entry in gallery.entries]
    left_out = (*learning.listing.left_out, *unusable)
    check_classes(items, left_out, learning.positive)
    positive = [item.label == learning.positive for item in items]
    grouping = group_items(gallery, [item.group for item in items], positive, seed=learning.seed)
    plan = plan_splits(
        grouping.groups,
        positive,
        [item.split for item in items],
        seed=learning.seed,
        cross_validate_up_to=0 if learning.listing.simulated else CROSS_VALIDATED_UP_TO,
    )
    return _Found(gallery, positive, grouping, plan, left_out, _digest(gallery))


def _digest(gallery: Gallery) -> str:
    """One name for the data: every file's bytes, label, group and split, in any order and place."""
    lines = sorted(
        json.dumps([one.sha256, one.item.label, one.item.group, one.item.split])
        for one in gallery.entries
    )
    return "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _settings(learning: Learning, backbone: Backbone, *, images: bool) -> LoopSettings:
    import torch

    recipe = backbone.recipe
    cuda = torch.cuda.is_available()
    # The same seed must give the same numbers, so no algorithm is chosen by a race.
    torch.backends.cudnn.deterministic = True
    return LoopSettings(
        epochs=learning.epochs or recipe.epochs,
        patience=recipe.patience,
        learning_rate=recipe.learning_rate,
        bags=2 * recipe.bags if images else recipe.bags,
        frames=recipe.frames,
        seed=learning.seed,
        device="cuda" if cuda else "cpu",
    )


def _save(
    learning: Learning,
    backbone: Backbone,
    trained: Trained,
    metrics: Metrics,
    judged: Judged,
    digest: str,
    place: Workplace,
) -> None:
    shutil.rmtree(place.folder / ARTIFACT_NAME, ignore_errors=True)
    card = replace(
        backbone.card(learning.model, learning.category),
        temperature=trained.calibration.temperature,
        bias=trained.calibration.bias,
        threshold=min(1.0, metrics.operating.threshold),
        data_digest=digest,
    )
    save_model(place.folder / ARTIFACT_NAME, card, backbone.export(trained.network))
    draw_plots(place.folder / PLOTS_NAME, judged, metrics)


def _report(
    learning: Learning,
    label: str,
    settings: LoopSettings,
    found: _Found,
    trained: Trained,
    metrics: Metrics,
) -> dict[str, Any]:
    return {
        "metrics": metrics_part(metrics, FALSE_POSITIVES),
        "data": _data_part(learning, found),
        "training": {
            "backbone": label,
            "seed": learning.seed,
            "method": found.plan.method,
            "networks": [len(history) for history in trained.histories],
            "settings": asdict(settings),
            "calibration": asdict(trained.calibration),
            "environment": describe_environment(),
        },
        "histories": [[asdict(epoch) for epoch in one] for one in trained.histories],
        "notes": [*_data_notes(found), *caveats(metrics)],
    }


def _data_part(learning: Learning, found: _Found) -> dict[str, Any]:
    entries, folds = found.gallery.entries, found.plan.folds
    videos = sum(entry.facts.duration_s is not None for entry in entries)
    data = {
        "source": learning.listing.source,
        "simulated": learning.listing.simulated,
        "digest": found.digest,
        "kind": "videos" if videos == len(entries) else "mixed" if videos else "images",
        "positive": learning.positive,
        "labels": dict(sorted(Counter(entry.item.label for entry in entries).items())),
        "n": len(entries),
        "positives": sum(found.positive),
        "groups": found.grouping.count,
        "near_duplicates": {
            "pairs": found.grouping.pairs,
            "conflicts": found.grouping.conflicts,
            "distance": found.grouping.distance,
            "dropped": len(found.plan.dropped),
        },
        "folds": [
            {"train": len(one.train), "val": len(one.val), "test": len(one.test)} for one in folds
        ],
    }
    return add_left_out(data, found.left_out)


def _data_notes(found: _Found) -> list[str]:
    notes = []
    grouping = found.grouping
    if grouping.pairs and not any(entry.item.group for entry in found.gallery.entries):
        notes.append(
            f"{grouping.pairs} pairs of files look alike; {len(found.positive)} files were kept"
            f" together in {grouping.count} groups"
        )
    if grouping.conflicts:
        notes.append(
            f"{grouping.conflicts} pairs of files look alike and have different labels:"
            " one of each may be labelled wrongly"
        )
    if found.plan.dropped:
        notes.append(
            f"{len(found.plan.dropped)} files of train or val look like files of test: they were"
            " not trained on"
        )
    return notes
