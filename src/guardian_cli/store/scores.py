"""Fused scores of many sources at once, equal to the last bit to those of a scan."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardian_cli.detectors.fusion import DIGITS, SLACK
from guardian_cli.store.layout import error_column, score_column

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.config import FusionSection
    from guardian_cli.store.reader import Block
    from guardian_cli.store.rescoring import Rescored
    from guardian_cli.store.rules import Rules
    from guardian_cli.verdict.calibration import Calibration
    from guardian_cli.verdict.thresholds import Thresholds

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BlockScores:
    """A category's scores of a block's frames, NaN where there are none.

    `by_name` is what each detector answered. `low` and `high` bound the fused score where answers
    may be off, and are None where none may.
    """

    by_name: Mapping[str, Floats]
    fused: Floats
    low: Floats | None = None
    high: Floats | None = None

    def undecided(self, thresholds: Thresholds) -> NDArray[np.bool_] | None:
        """Which frames' errors could decide; None where none could."""
        import numpy as np

        if self.low is None or self.high is None:
            return None
        if thresholds.rise_with_length:
            # As `Thresholds.same_side` has it.
            moves = (self.low != self.high) & (self.high >= thresholds.closes)
            return np.asarray(moves & (self.low < thresholds.block), np.bool_)
        edges = (thresholds.closes, thresholds.review, thresholds.block)
        across = [(self.low < edge) & (edge <= self.high) for edge in edges]
        return across[0] | across[1] | across[2]


def score_block(
    block: Block, rules: Rules, category: str, rescored: Rescored | None
) -> BlockScores:
    """Fuse what counts for one category; `rescored` is CLIP's by other prompts."""
    import numpy as np

    by_name: dict[str, Floats] = {}
    lows: dict[str, Floats] = {}
    highs: dict[str, Floats] = {}
    for index, name in rules.stored_for(category):
        answers = block.column(score_column(index, name, category))
        off_by = np.nan_to_num(block.column(error_column(index, name, category)), nan=0.0)
        # Detectors of one name speak with one voice: the highest answer is theirs.
        for kept, moved in ((by_name, 0.0), (lows, -off_by), (highs, off_by)):
            answer = answers if kept is by_name else np.clip(answers + moved, 0.0, 1.0)
            kept[name] = np.fmax(kept.get(name, answer), answer)
    if rescored is not None:
        by_name["clip"], lows["clip"], highs["clip"] = rescored
    weights, calibration = rules.config.fusion, rules.thresholds[category].calibration

    def fuse(answers: Mapping[str, Floats]) -> Floats:
        return fuse_arrays(answers, weights, int(block.offsets[-1]), calibration)

    fused = fuse(by_name)
    # Where nothing is off there are no bounds to fuse, which saves two thirds of the work.
    if all(np.array_equal(lows[name], highs[name], equal_nan=True) for name in by_name):
        return BlockScores(by_name, fused)
    return BlockScores(by_name, fused, fuse(lows), fuse(highs))


def calibrate(fused: Floats, calibration: Calibration) -> Floats:
    """Map fused scores to the calibrated scale, each as a scan would."""
    import numpy as np

    # Each value once: `apply` is Python, and thousands of frames share a score.
    values, places = np.unique(fused, return_inverse=True)
    mapped = [one if math.isnan(one) else calibration.apply(one) for one in values.tolist()]
    return np.asarray(mapped, np.float64)[places]


def fuse_arrays(
    by_name: Mapping[str, Floats],
    weights: FusionSection,
    count: int,
    calibration: Calibration | None = None,
) -> Floats:
    """Fuse as `detectors.fusion.score_category` does, for (count,) frames at once."""
    import numpy as np

    answers = {name: read_scores(values) for name, values in by_name.items()}
    nothing = np.full(count, np.nan)
    clip = answers.pop("clip", nothing)
    custom = nothing
    for values in answers.values():
        # `fmax` passes over NaN: a detector that said nothing has no say.
        custom = np.fmax(custom, values)
    both = weights.custom * custom + weights.clip * clip
    alone = np.where(np.isnan(custom), weights.clip_only * clip, custom)
    fused = np.where(np.isnan(both), alone, both)
    fused = round_exactly(np.clip(fused, 0.0, 1.0))
    return fused if calibration is None else calibrate(fused, calibration)


def read_scores(values: Floats) -> Floats:
    """Read scores as `detectors.fusion.read_score` does: NaN for what is no number in 0..1."""
    import numpy as np

    sound = (values >= -SLACK) & (values <= 1.0 + SLACK)
    return round_exactly(np.where(sound, np.clip(values, 0.0, 1.0), np.nan))


def round_exactly(values: Floats, digits: int = DIGITS) -> Floats:
    """Round to `digits` decimals as `round` does, which is correct where NumPy's is only close.

    A quotient of whole numbers is the nearest double to the decimal; only the choice of the whole
    number can be wrong, and only where it is a near tie.
    """
    import numpy as np

    scaled = values * 10**digits
    rounded: Floats = np.rint(scaled) / 10**digits
    ties = np.flatnonzero(np.abs(scaled - np.floor(scaled) - 0.5) < 1e-6)
    rounded[ties] = [round(value, digits) for value in values[ties].tolist()]
    return rounded
