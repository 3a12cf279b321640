"""Sources in which nothing reaches a threshold, judged many at a time.

That is most of what is scanned. `verdict.category.judge_category` looks at one sample after
another; here is what it comes to where no sample of a source reaches `review`, no picture stays on
screen for longer than an interval, and no sample lies beside the grid: no refinement, no segment,
and the highest confirmed score. A property test holds both to the same results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardian_cli.store.scores import round_exactly
from guardian_cli.verdict.category import TIMELINE_CELLS, TIMELINE_DIGITS
from guardian_cli.verdict.result import CategoryVerdict
from guardian_cli.verdict.thresholds import round_score
from guardian_cli.verdict.timeline import FLASH_S, FLICKER_CONFIRMED, FLICKER_REACH, SAME_TIME_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.verdict.result import Verdict
    from guardian_cli.verdict.thresholds import Thresholds

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Numbers = NDArray[np.int64]


def find_calm(
    times: Floats,
    untils: Floats,
    starts: Numbers,
    fused: Mapping[str, Floats],
    thresholds: Mapping[str, Thresholds],
    every_s: float,
) -> Bools:
    """Which sources the functions here are for.

    The arrays are the frames of first passes, end to end; `starts` says where each source's begin,
    and has their end as well. NaN in `untils` and `fused` means that it is not known.
    """
    import numpy as np

    # No interval may be shorter than what counts as one time, least of all zero.
    every_s = max(every_s, SAME_TIME_S)
    number = np.floor((times + SAME_TIME_S) / every_s)
    on_grid = times - number * every_s <= SAME_TIME_S
    # As `timeline.as_shown` has it: grid times at which a picture is still there.
    repeats = np.ceil((untils - SAME_TIME_S) / every_s) > number + 1
    restless = repeats & (untils - times > SAME_TIME_S)
    is_first = np.zeros(len(times), np.bool_)
    is_first[starts[:-1][starts[:-1] < len(times)]] = True
    is_last = np.zeros(len(times), np.bool_)
    is_last[starts[1:] - 1] = True
    before = np.concatenate([[np.nan], untils[:-1]])
    before[is_first] = np.nan
    restless |= ~on_grid & ~is_last & (before > number * every_s + SAME_TIME_S)
    restless |= is_last & (untils - times > FLASH_S)
    steps = np.diff(times, prepend=-np.inf)
    restless |= ~is_first & ~(steps > SAME_TIME_S)
    lengths = np.diff(starts)
    calm = (lengths > 0) & ~_any(restless, starts)
    for name, scores in fused.items():
        if thresholds[name].rise_with_length:
            # Its thresholds are each source's own.
            return np.zeros(len(lengths), np.bool_)
        scored = ~np.isnan(scores)
        counts = _sum(scored, starts)
        # All frames are scored, or none: what is between is for the other path to explain.
        calm &= (counts == lengths) | (counts == 0)
        calm &= ~_any(scores >= thresholds[name].review, starts)
    return np.asarray(calm, np.bool_)


def judge_calm(
    times: Floats,
    starts: Numbers,
    fused: Floats,
    thresholds: Thresholds,
    unscored: Verdict,
    every_s: float,
    ends: Floats,
) -> list[CategoryVerdict]:
    """Judge one category of sources that are all calm; `ends` is where each ends, in seconds."""
    import numpy as np

    lengths = np.diff(starts)
    gap = FLICKER_REACH
    # Zeros around each source's scores: they confirm nothing, as the end of a video does not.
    at = np.arange(len(fused)) + gap * (1 + np.repeat(np.arange(len(lengths)), lengths))
    padded = np.zeros(len(fused) + gap * (len(lengths) + 1))
    padded[at] = np.nan_to_num(fused, nan=0.0)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * gap + 1)[at - gap]
    # So many of the samples around must be as high: the lowest of the highest ones confirms.
    flicker = np.partition(around, -FLICKER_CONFIRMED, axis=1)[:, -FLICKER_CONFIRMED]
    support = np.maximum(padded[at - 1], padded[at + 1])
    counts = np.minimum(padded[at], np.maximum(support, flicker))
    # A picture, or a video of one sample, has no neighbour that could confirm its score.
    single = np.repeat(lengths == 1, lengths)
    counts[single] = padded[at][single]
    # The first of the highest, by what counts and then by the score itself.
    highest = np.repeat(np.maximum.reduceat(counts, starts[:-1]), lengths)
    scores = np.where(counts == highest, padded[at], -1.0)
    peaks = np.flatnonzero(scores == np.repeat(np.maximum.reduceat(scores, starts[:-1]), lengths))
    best = peaks[np.searchsorted(peaks, starts[:-1])]
    verdicts = []
    is_scored = (~np.isnan(fused[starts[:-1]])).tolist()
    numbers = (one.tolist() for one in (counts[best], times[best], lengths))
    drawn = pool_calm(times, starts, fused, every_s, ends, thresholds)
    for score, at_s, samples, has_score, (step_s, timeline) in zip(
        *numbers, is_scored, drawn, strict=True
    ):
        verdict = CategoryVerdict(
            score if has_score else None,
            "allow" if has_score else unscored,
            at_s=at_s if has_score else None,
            scored=samples if has_score else 0,
            samples=samples,
            timeline=timeline,
            step_s=step_s,
            thresholds=thresholds,
        )
        verdicts.append(verdict)
    return verdicts


def pool_calm(
    times: Floats,
    starts: Numbers,
    fused: Floats,
    every_s: float,
    ends: Floats,
    thresholds: Thresholds,
) -> list[tuple[float, tuple[float | None, ...]]]:
    """Each source's `step_s` and `timeline`, as `verdict.category.pool` has them."""
    import numpy as np

    # A container may claim to end before the last frame that was seen in it.
    lengths = np.maximum(times[starts[1:] - 1], ends)
    steps = every_s * np.maximum(1.0, np.ceil(lengths / (every_s * TIMELINE_CELLS)))
    cells = np.ceil(np.where(lengths > 0.0, lengths, 1.0) / steps).astype(np.int64)
    cells = np.minimum(TIMELINE_CELLS, cells)
    begins = np.cumsum(cells) - cells
    owners = np.repeat(np.arange(len(cells)), np.diff(starts))
    at = ((times + SAME_TIME_S) / steps[owners]).astype(np.int64)
    at = begins[owners] + np.clip(at, 0, cells[owners] - 1)
    # Samples are in order, so those of one cell stand side by side.
    first = np.flatnonzero(np.diff(at, prepend=-1))
    # A cell without a sample shows the one before it.
    shown = np.full(int(cells.sum()), -1)
    shown[at[first]] = np.arange(len(first))
    shown = np.maximum.accumulate(shown)
    highest = np.maximum.reduceat(fused, first)[shown]
    before = at[first][shown] < np.repeat(begins, cells)
    highest[(shown < 0) | before] = np.nan
    values: list[float | None] = round_exactly(highest, TIMELINE_DIGITS).tolist()
    for at_cell in np.flatnonzero(np.isnan(highest)).tolist():
        values[at_cell] = None
    # Only near a threshold could rounding take a score to its other side.
    for at_cell in np.flatnonzero(highest >= thresholds.closes - 10**-TIMELINE_DIGITS).tolist():
        values[at_cell] = round_score(float(highest[at_cell]), thresholds, TIMELINE_DIGITS)
    return [
        (step_s, tuple(values[begin : begin + count]))
        for step_s, begin, count in zip(
            steps.tolist(), begins.tolist(), cells.tolist(), strict=True
        )
    ]


def _sum(flags: Bools, starts: Numbers) -> Numbers:
    import numpy as np

    # Not `reduceat`: for a source without frames it gives the value of its neighbour.
    totals = np.concatenate([[0], np.cumsum(flags)])
    return np.asarray(totals[starts[1:]] - totals[starts[:-1]], np.int64)


def _any(flags: Bools, starts: Numbers) -> Bools:
    return _sum(flags, starts) > 0
