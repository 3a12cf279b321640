"""How good verdicts are on labelled videos: numbers of arrays, each with a 95% interval.

Intervals are bootstraps over whole groups, since clips of one source are not independent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardian_cli.reports.text import count
from guardian_cli.training.data.splits import MAX_PARTS, Fold, assign_parts
from guardian_cli.training.evaluation.calibration import score_by_features
from guardian_cli.training.evaluation.metrics import (
    auc,
    calibration_bins,
    calibration_error,
    grouped_interval,
    weighted_auc,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

# Fewer videos of a class than this tell nothing; fewer than ROUGH_BELOW little.
MIN_OF_CLASS = 3
ROUGH_BELOW = 20
SEED = 0


@dataclass(frozen=True, slots=True)
class Figure:
    """A number in 0..1 with the ends of its 95% interval; None where there is too little data."""

    value: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class AtThreshold:
    """What a threshold does: of those flagged how many are positive, of positives how many are
    flagged, and of the clean ones how many are.
    """

    precision: Figure
    recall: Figure
    false_alarms: Figure


@dataclass(frozen=True, slots=True)
class Bin:
    """Videos of like scores: how many, their mean score, and how many of them are positive."""

    videos: int
    mean_score: float
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """The labelled videos of one category that have a score, in one order.

    `reached` is 0, 1 or 2 for allow, review, block; `media` is as in guardian.scan/1.
    """

    positive: Bools
    scores: Floats
    reached: NDArray[np.int64]
    groups: Sequence[int]
    media: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Figures:
    """All that is measured of one category; `notes` say in words what there is too little of."""

    auc: Figure
    metadata_auc: Figure
    review: AtThreshold
    block: AtThreshold
    ece: float | None
    reliability: tuple[Bin, ...]
    notes: tuple[str, ...]


def measure(scored: Scored) -> Figures:
    """Measure a category."""
    positive, reached = scored.positive, scored.reached
    enough = {}
    notes = []
    for side, name in ((True, "positive"), (False, "clean")):
        videos = int((positive == side).sum())
        # One group alone could not be resampled: every draw would be the same.
        independent = count_groups(positive == side, scored.groups)
        enough[side] = videos >= MIN_OF_CLASS and independent > 1
        if not enough[side]:
            notes.append(f"{count(videos, f'{name} video')} with a score: too few to tell")
        elif videos < ROUGH_BELOW:
            notes.append(f"only {count(videos, f'{name} video')}: the intervals are wide")

    def at(threshold: int) -> AtThreshold:
        flagged, nothing = reached >= threshold, Figure()
        return AtThreshold(
            ratio(positive, flagged, scored.groups) if all(enough.values()) else nothing,
            ratio(flagged, positive, scored.groups) if enough[True] else nothing,
            ratio(flagged, ~positive, scored.groups) if enough[False] else nothing,
        )

    # One class alone has recall, or false alarms; precision and the curves need both.
    both = all(enough.values())
    guesses = score_media(scored) if both else None
    counts, means, shares = calibration_bins(positive, scored.scores) if both else ((), (), ())
    bins = zip(counts, means, shares, strict=True)
    return Figures(
        area(positive, scored.scores, scored.groups) if both else Figure(),
        Figure() if guesses is None else area(positive, guesses, scored.groups),
        at(1),
        at(2),
        calibration_error(positive, scored.scores) if both else None,
        tuple(Bin(int(count), float(mean), float(share)) for count, mean, share in bins),
        tuple(notes),
    )


def area(positive: Bools, scores: Floats, groups: Sequence[int]) -> Figure:
    """The area under the ROC curve."""
    value = auc(positive, scores)
    # An AUC is known no better than the rarer of its two classes.
    rarer = min(count_groups(positive, groups), count_groups(~positive, groups))
    return _figure(value, lambda weights: weighted_auc(positive, scores, weights), groups, rarer)


def ratio(of_these: Bools, among: Bools, groups: Sequence[int]) -> Figure:
    """The share of `of_these` among those in `among`; none where nothing is."""
    import numpy as np

    # As matrices, so that all draws of the bootstrap are two products instead of a loop.
    hits, all_of_them = (of_these & among).astype(float), among.astype(float)
    if not among.any():
        return Figure()

    def measured(weights: Floats) -> Floats:
        total = weights @ all_of_them
        shares: Floats = np.full(len(weights), np.nan)
        np.divide(weights @ hits, total, out=shares, where=total > 0)
        return shares

    return _figure(
        float(hits.sum() / all_of_them.sum()), measured, groups, count_groups(among, groups)
    )


def score_media(scored: Scored) -> Floats | None:
    """Score every video by its width, height, length and codec alone: what a data set leaks.

    By a regression that has not seen its group; None where the groups are too few for that.
    """
    import numpy as np

    positive = scored.positive.tolist()
    sides = {side: count_groups(scored.positive == side, scored.groups) for side in (True, False)}
    parts = None
    # As many parts as can all hold both classes: with more, each regression learns from more.
    for number in range(min(MAX_PARTS, *sides.values()), 1, -1):
        parts = parts or assign_parts(scored.groups, positive, number, SEED)
    if parts is None:
        return None
    codecs = sorted({str(one.get("codec")) for one in scored.media})
    rows = []
    for one in scored.media:
        width, height = max(one.get("width") or 1, 1), max(one.get("height") or 1, 1)
        length_s = one.get("duration_s") or 1.0
        # In logarithms: twice as large means the same for a small picture and a large one.
        sizes = [width, height, width / height, max(length_s, 1e-3)]
        kinds = [one.get("kind") == "video", *(str(one.get("codec")) == name for name in codecs)]
        rows.append([*map(math.log, sizes), *map(float, kinds)])
    every = range(len(positive))
    folds = [
        Fold(
            tuple(at for at in every if parts[at] != part),
            (),
            tuple(at for at in every if parts[at] == part),
        )
        for part in range(max(parts) + 1)
    ]
    return score_by_features(np.array(rows, float), positive, folds)


def _figure(
    value: float, measured: Callable[[Floats], Floats], groups: Sequence[int], independent: int
) -> Figure:
    """A value with its interval; `independent` is of how many groups it is."""
    # Every draw of what was always, or never, seen is the same: a bootstrap of it has no width and
    # says nothing of what was not seen. There the exact binomial interval (Clopper and Pearson,
    # 1934) of the number of groups is taken.
    low, high = grouped_interval(measured, groups, seed=SEED)
    if low == high and value in {0.0, 1.0}:
        bound = 1 - 0.025 ** (1 / independent)
        low, high = (0.0, bound) if value == 0.0 else (1.0 - bound, 1.0)
    return Figure(value, (low, high))


def count_groups(side: Bools, groups: Sequence[int]) -> int:
    """How many groups there are on one side."""
    return len({group for group, is_there in zip(groups, side, strict=True) if is_there})
