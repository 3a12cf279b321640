"""Many calm sources at once come to the same as one after the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardian_cli.detectors.fusion import CategoryScore
from guardian_cli.store.calm import find_calm, judge_calm
from guardian_cli.verdict.category import judge_category
from guardian_cli.verdict.thresholds import Thresholds
from guardian_cli.verdict.timeline import Sample, windows_to_refine

LIMITS = {"x": Thresholds(0.5, 0.8), "y": Thresholds(0.3, 0.3)}
# Few values, so that ties and neighbours come; most of them below every threshold.
SCORE = st.sampled_from([0.0, 0.05, 0.1, 0.2, 0.24, 0.29]) | st.sampled_from([0.3, 0.5, 0.9])
STEP_S = st.sampled_from([1.0, 1.0, 1.0, 0.5, 0.3, 1.7, 3.0, 0.0])
SHOWN_S = st.sampled_from([0.04, 0.04, 0.04, None, 0.2, 0.9, 2.5])


@st.composite
def sources(draw: st.DrawFn) -> list[Sample]:
    found, time_s = [], draw(st.sampled_from([0.0, 0.0, 0.3, 5.5]))
    unscored = draw(st.sampled_from([(), (), ("y",), ("x", "y")]))
    for _ in range(draw(st.integers(1, 24))):
        shown_s = draw(SHOWN_S)
        scores = {name: CategoryScore(None if name in unscored else draw(SCORE)) for name in LIMITS}
        until_s = None if shown_s is None else round(time_s + shown_s, 6)
        found.append(Sample(time_s, scores, shown_until_s=until_s))
        time_s = round(time_s + draw(STEP_S), 6)
    return found


def number(value: float | None) -> float:
    return np.nan if value is None else value


@pytest.mark.slow
@settings(max_examples=80)
@given(
    st.lists(sources(), min_size=1, max_size=4),
    st.sampled_from([1.0, 0.5, 3.0]),
    st.sampled_from([0.0, 9.0, 60.1, 7200.0]),
)
def test_calm_sources_are_judged_as_any(
    batch: list[list[Sample]], every_s: float, end_s: float
) -> None:
    samples = [sample for source in batch for sample in source]
    starts = np.cumsum([0, *map(len, batch)])
    times = np.array([sample.time_s for sample in samples])
    untils = np.array([number(sample.shown_until_s) for sample in samples])
    fused = {name: np.array([number(one.fused(name)) for one in samples]) for name in LIMITS}
    calm = find_calm(times, untils, starts, fused, LIMITS, every_s)
    kept = [source for source, is_calm in zip(batch, calm, strict=True) if is_calm]
    frames = np.repeat(calm, np.diff(starts))
    starts = np.cumsum([0, *map(len, kept)])
    review = {name: one.review for name, one in LIMITS.items()}
    for name, limits in LIMITS.items():
        if not kept:
            break
        judged = judge_calm(
            times[frames],
            starts,
            fused[name][frames],
            limits,
            "review",
            every_s,
            np.full(len(kept), end_s),
        )
        for source, verdict in zip(kept, judged, strict=True):
            assert not windows_to_refine(source, review, every_s)
            slow = judge_category(
                name,
                source,
                [],
                thresholds=limits,
                unscored="review",
                every_s=every_s,
                end_s=max(end_s, source[-1].time_s),
            )
            assert verdict == slow


def test_an_ordinary_video_is_calm() -> None:
    times = np.arange(60.0)
    fused = {"x": np.full(60, 0.1), "y": np.full(60, np.nan)}
    calm = find_calm(times, times + 0.04, np.array([0, 60]), fused, LIMITS, 1.0)
    assert calm.tolist() == [True]
