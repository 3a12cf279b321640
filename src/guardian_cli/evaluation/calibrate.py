"""From labelled videos to a category's scale and thresholds, for a stated rate of false alarms.

A false alarm is a clean video at `review` or over; the rate is per video, whatever its length (see
`verdict.calibration`). A video's `level` is the highest threshold that it would reach, before any
calibration, and `samples` how many pictures were looked at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import UsageError
from guardian_cli.evaluation.figures import SEED, Figure, count_groups, ratio
from guardian_cli.training.data.splits import MAX_PARTS, assign_parts
from guardian_cli.training.evaluation.calibration import fit_calibration
from guardian_cli.verdict.calibration import DIGITS, Calibration, logit, sigmoid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.evaluation.labels import Label

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Json = Mapping[str, Any]

# From so many videos on isotonic regression is better than a logistic curve (Niculescu-Mizil and
# Caruana, "Predicting Good Probabilities With Supervised Learning", 2005).
ISOTONIC_FROM = 1000
# With fewer, the tail that is fitted below would be a guess.
MIN_CLEAN = 20
MIN_POSITIVE = 5
# So likely must a video be positive to be blocked.
BLOCK_FROM = 0.8
# Noise alone blocks no video up to this length, however the threshold for review rises.
LONGEST_S = 4 * 3600.0
# A logistic curve is drawn in straight lines between so many points.
_CURVE_POINTS = 41
_MAX_POINTS = 64
# This much of the fused score is kept in the calibrated one, so that it rises everywhere: what has
# the same probability is still ordered, and thresholds can lie between.
_IDENTITY = 0.02
# The lower half of clean videos says nothing of the tail that a threshold cuts off.
_TAIL_FROM = 0.5
# How unlikely the highest clean videos must be, by the tail of the rest, to be of another kind.
_MISFIT = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """Labelled videos of one category, in one order."""

    positive: Bools
    levels: Floats
    samples: NDArray[np.int64]
    groups: Sequence[int]
    names: Sequence[str]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A category's scale and its thresholds on it.

    `false_alarms` and `recall` at `review` are of videos that the threshold was not chosen on:
    every group was judged by what the others say. `warnings` are for the user.
    """

    calibration: Calibration
    review: float
    block: float
    method: str
    clean: int
    positives: int
    false_alarms: Figure
    recall: Figure
    warnings: tuple[str, ...]


def parse_rate(text: str) -> float:
    """Read `1%` or `0.01`; UsageError for what is no rate over 0 and below 1."""
    try:
        rate = float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        rate = math.nan
    if not 0 < rate < 1:
        raise UsageError(
            f"--false-alarms {text}: not a rate over 0% and below 100%", hint="--false-alarms 1%"
        )
    return rate


def calibrate(
    name: str,
    rows: Sequence[tuple[Label, Json, int]],
    false_alarms: float,
    warn: Callable[[str], None],
) -> Fitted:
    """Fit one category's scale and thresholds to labelled results; the numbers are groups.

    Raises UsageError for results that are calibrated already, that are of several sampling
    intervals, or that are too few.
    """
    import numpy as np

    made = [result.get("made") or {} for _, result, _ in rows]
    if any(name in (one.get("calibration") or {}) for one in made):
        raise UsageError(
            f"{name}: these results are calibrated already, and a scale is fitted to what is not",
            hint="guardian evaluate LABELS.csv --calibrate OUT.yaml, without --results",
        )
    every = {float(one.get("every") or 1.0) for one in made}
    if len(every) > 1:
        raise UsageError(f"{name}: these results are of different sampling intervals: {every}")
    categories = [result["categories"][name] for _, result, _ in rows]
    if any("level" not in one for one in categories):
        warn(
            f"{name}: these results do not say which threshold they would reach: the highest frame"
            " is taken, which is too strict; evaluate without --results looks closer"
        )
    (every_s,) = every or {1.0}
    data = Levels(
        np.array([label.positive for label, _, _ in rows], dtype=bool),
        np.array([level_of(result, name) for _, result, _ in rows], dtype=float),
        np.array([samples_of(result, name, every_s) for _, result, _ in rows], dtype=np.int64),
        [group for _, _, group in rows],
        [label.written for label, _, _ in rows],
    )
    try:
        return fit(data, rate=false_alarms, every_s=every_s)
    except UsageError as error:
        raise UsageError(f"{name}: {error}", hint="label more videos") from error


def level_of(result: Json, category: str) -> float:
    """The highest threshold that a video would reach, or what it reaches at the most."""
    one = result["categories"][category]
    # Too strict, since one frame alone confirms nothing; but nothing above it was reached.
    peaks = [segment["peak"] for segment in one["segments"]]
    peaks += [
        score
        for frame in result.get("frames") or ()
        if (score := frame["scores"].get(category, {}).get("fused")) is not None
    ]
    return float(one.get("level", max([one["score"], *peaks])))


def samples_of(result: Json, category: str, every_s: float) -> int:
    """How many pictures the first pass saw, as far as the result tells."""
    one, coverage = result["categories"][category], result.get("coverage") or {}
    seen, length_s = coverage.get("frames_scored") or 1, coverage.get("duration_s")
    # A second pass looks again at what the first one found: no further chances for noise.
    by_length = seen if length_s is None else round(length_s / every_s) + 2
    return int(one.get("pictures", min(seen, by_length)))


def fit(data: Levels, *, rate: float, every_s: float) -> Fitted:
    """Fit the mapping, the thresholds and the correction by length.

    Raises UsageError where there are too few videos of a class to fit anything.
    """
    import numpy as np

    clean, positives = int((~data.positive).sum()), int(data.positive.sum())
    if clean < MIN_CLEAN or positives < MIN_POSITIVE:
        raise UsageError(
            f"{clean} clean and {positives} positive videos have a score: too few to calibrate on"
            f" ({MIN_CLEAN} and {MIN_POSITIVE} at least)"
        )
    points, method = fit_points(data.positive, data.levels)
    threshold, samples, scale, misfit = fit_threshold(data, ~data.positive, rate)
    warnings = list(_too_few(data, rate))
    if misfit is not None:
        warnings.append(
            f"the highest clean videos, such as {misfit}, are higher than the others' tail lets"
            " expect: see whether they are clean; thresholds for long videos rise more steeply"
        )
    calibration = Calibration(points, samples, round(scale, DIGITS))
    review = calibration.apply(sigmoid(threshold))
    # Noise grows with length: where `review` of a very long video rises past `block`, `block` has
    # to rise as well, or noise alone would block.
    longest = calibration.review_for(round(LONGEST_S / every_s), review, 1.0)
    block = max(BLOCK_FROM, longest)
    flagged = _judge_held_out(data, rate)
    if flagged is not None:
        false_alarms = ratio(flagged, ~data.positive, data.groups)
        recall = ratio(flagged, data.positive, data.groups)
    else:
        false_alarms = recall = Figure()
        warnings.append("too few groups to test the thresholds on videos that they do not know")
    needed = [calibration.review_for(int(one), review, 1.0) for one in data.samples]
    heights = np.array([calibration.apply(float(one)) for one in data.levels])
    # Scores end at 1: of videos that all reach it no threshold can let some pass.
    if np.mean((heights >= needed)[~data.positive]) > rate + 1e-9:
        warnings.append(
            "no threshold keeps this rate: too many clean videos have the highest score"
        )
    if np.mean((heights >= needed)[data.positive]) < 0.5:
        warnings.append("at this rate of false alarms most positive videos are missed")
    if not np.any(heights[data.positive] >= block):
        warnings.append(
            f"no positive video reaches block ({block:.4g}), as high as noise may get in"
            f" {LONGEST_S / 3600:g} hours: all of them are for review, until block is set lower"
        )
    return Fitted(
        calibration,
        review,
        block,
        method,
        clean,
        positives,
        false_alarms,
        recall,
        tuple(warnings),
    )


def fit_points(positive: Bools, levels: Floats) -> tuple[tuple[tuple[float, float], ...], str]:
    """Fit how likely a video of some level is positive; return points that rise, and how."""
    import numpy as np

    if len(levels) >= ISOTONIC_FROM:
        from sklearn.isotonic import IsotonicRegression

        method = "isotonic regression"
        steps = IsotonicRegression(y_min=0.0, y_max=1.0).fit(levels, positive.astype(float))
        # A step for every video would fill a settings file that people are to read.
        kept = np.linspace(0, len(steps.X_thresholds_) - 1, _MAX_POINTS).round().astype(int)
        x = steps.X_thresholds_[np.unique(kept)]
        y = steps.y_thresholds_[np.unique(kept)]
    else:
        method = "logistic regression"
        curve = fit_calibration(positive, levels)
        x = np.linspace(0.0, 1.0, _CURVE_POINTS)
        y = curve.scores(x)
    at = np.unique(np.concatenate([[0.0], x.round(DIGITS), [1.0]]))
    heights = (1 - _IDENTITY) * np.interp(at, x, y) + _IDENTITY * at
    points = [(0.0, round(float(heights[0]), DIGITS))]
    for one, height in zip(at[1:].tolist(), heights[1:].round(DIGITS).tolist(), strict=True):
        # Two steps may be one once they are rounded; the end is needed, whatever is before it.
        while one == 1.0 and len(points) > 1 and points[-1][1] >= height:
            points.pop()
        if height > points[-1][1]:
            points.append((one, height))
    return tuple(points), method


def fit_threshold(
    data: Levels, of_these: Bools, rate: float
) -> tuple[float, int, float, str | None]:
    """Choose the threshold, in log-odds, that at most `rate` of these clean videos reach.

    Returns it, the number of samples that it holds for, the Gumbel scale by which it rises with
    more, and the name of a video that does not fit, if there is one.
    """
    import numpy as np

    heights = np.array([logit(one) for one in data.levels[of_these]])
    counts = np.maximum(data.samples[of_these], 1)
    names = [name for name, is_one in zip(data.names, of_these, strict=True) if is_one]
    samples = max(1, int(np.median(counts)))
    longer = np.log(counts / samples)
    # The highest of many samples follows a Gumbel distribution, for most of what a single one may
    # follow (extreme value theory). With n times the samples it moves by scale * log n, so that is
    # how thresholds have to rise with a video's length.
    location, scale = fit_gumbel(heights, longer)
    # A standard error higher: one that is low by chance would flag more of long videos than of
    # short ones, the more so the longer they are.
    scale *= 1 + 1 / math.sqrt(max(1.0, (1 - _TAIL_FROM) * len(heights)))
    normal = heights - scale * np.maximum(longer, 0.0)
    order = np.argsort(-normal)
    allowed = math.floor(rate * len(normal) + 1e-9)
    if allowed:
        # Half-way between two videos: on one of them, rounding would decide whether it is flagged.
        threshold = float(normal[order[allowed - 1]] + normal[order[allowed]]) / 2
    else:
        # Over all of them, and at least as high as the fitted tail has it.
        tail = location - scale * math.log(-math.log1p(-rate))
        threshold = max(tail, float(normal[order[0]]) + 1e-3)
    # The highest of so many, were it of the fitted kind, is only this likely to lie so high.
    chance = len(normal) * math.exp(-(float(normal[order[0]]) - location) / max(scale, 1e-9))
    if chance >= _MISFIT or allowed < 2:
        return threshold, samples, scale, names[order[0]] if chance < _MISFIT else None
    # A second kind of error, rarer and higher: the slope through the highest videos themselves.
    ranks = range(max(1, allowed // 2))
    steep = max((normal[order[at]] - threshold) / math.log(allowed / (at + 1)) for at in ranks)
    return threshold, samples, max(scale, float(steep)), names[order[0]]


def fit_gumbel(heights: Floats, longer: Floats) -> tuple[float, float]:
    """Fit location and scale of a Gumbel distribution to the upper half of clean videos' heights.

    By maximum likelihood; a video of exp(`longer`) times the samples is shifted by scale * longer,
    and of one below the median only that is known.
    """
    import numpy as np
    from scipy.optimize import minimize

    cut = float(np.quantile(heights, _TAIL_FROM))
    above = heights > cut
    # Scores that are all alike leave the search no scale to begin with.
    spread = float(heights.std()) or 1e-3

    def loss(parameters: Floats) -> float:
        location, log_scale = parameters
        scale = math.exp(log_scale)
        seen = (heights[above] - location) / scale - longer[above]
        # exp(50) is beyond any sum here and far from overflow.
        hidden = np.clip((cut - location) / scale - longer[~above], -50, None)
        total = np.sum(seen + np.exp(np.clip(-seen, None, 50)) + log_scale)
        return float(total + np.sum(np.exp(-hidden)))

    # A Gumbel distribution of scale s has a standard deviation of s * pi / sqrt(6) = s / 0.78.
    found = minimize(
        loss, [cut, math.log(0.78 * spread)], method="Nelder-Mead", options={"maxiter": 2000}
    )
    return float(found.x[0]), math.exp(float(found.x[1]))


def _judge_held_out(data: Levels, rate: float) -> Bools | None:
    """Which videos a threshold flags that was chosen without them; None for too few groups."""
    import numpy as np

    # By group: a clip of a source that the threshold was chosen on would flatter it.
    parts = assign_parts(data.groups, data.positive.tolist(), MAX_PARTS, SEED)
    if parts is None:
        return None
    flagged = np.zeros(len(data.levels), dtype=bool)
    heights = np.array([logit(one) for one in data.levels])
    for part in range(MAX_PARTS):
        inside = np.array(parts) == part
        threshold, samples, scale, _ = fit_threshold(data, ~data.positive & ~inside, rate)
        longer = np.maximum(np.log(np.maximum(data.samples, 1) / samples), 0.0)
        flagged[inside] = (heights >= threshold + scale * longer)[inside]
    return flagged


def _too_few(data: Levels, rate: float) -> Iterator[str]:
    """Say where clean videos cannot show the rate: were it higher, none in so many would be luck.

    With none in n flagged, the 95% bound of the rate is 1 - 0.05^(1/n), nearly 3/n.
    """
    clean = count_groups(~data.positive, data.groups)
    wanted = math.ceil(math.log(0.05) / math.log1p(-rate))
    if clean < wanted:
        bound = 1 - 0.05 ** (1 / max(clean, 1))
        yield (
            f"{clean} independent clean videos cannot show a rate of {rate:.2%}: that takes"
            f" {wanted} at least; with these it may be as high as {bound:.1%}"
        )
