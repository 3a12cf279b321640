"""Fused scores of many frames at once are those of one, to the last bit."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.config import FusionSection
from guardian_cli.detectors.fusion import score_category
from guardian_cli.store.scores import fuse_arrays, round_exactly

UNIT = st.floats(0.0, 1.0) | st.integers(0, 2_000_000).map(lambda n: n / 2_000_000)
ANSWER = UNIT | st.sampled_from([math.nan, -0.5, 1.0 + 1e-7, 1.5])


@given(st.lists(UNIT, min_size=1, max_size=50))
def test_rounding_is_pythons(values: list[float]) -> None:
    assert round_exactly(np.array(values)).tolist() == [round(value, 6) for value in values]


@given(
    st.lists(st.fixed_dictionaries({"clip": ANSWER, "endpoint": ANSWER, "model": ANSWER}),
             min_size=1, max_size=20),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
)  # fmt: skip
def test_fusion_is_that_of_a_scan(
    frames: list[dict[str, float]], share: float, clip_only: float
) -> None:
    weights = FusionSection(custom=share, clip=1.0 - share, clip_only=clip_only)
    by_name = {name: np.array([frame[name] for frame in frames]) for name in frames[0]}
    fused = fuse_arrays(by_name, weights, len(frames)).tolist()
    for frame, score in zip(frames, fused, strict=True):
        expected = score_category(frame, weights).fused
        assert (None if math.isnan(score) else score) == expected
