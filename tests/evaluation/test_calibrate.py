"""Thresholds that are fitted keep the rate of false alarms, whatever a video's length."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from benchmarks.false_alarms import NOISE, levels_of, simulate
from hypothesis import given, settings
from hypothesis import strategies as st

from guardian_cli.detectors.fusion import CategoryScore
from guardian_cli.errors import UsageError
from guardian_cli.evaluation.calibrate import Levels, fit, fit_gumbel, parse_rate
from guardian_cli.evaluation.run import write_fragment
from guardian_cli.settings import load_settings
from guardian_cli.verdict.category import review_level
from guardian_cli.verdict.timeline import Sample
from tests.verdict.series import samples

if TYPE_CHECKING:
    from pathlib import Path


def labelled(clean: int, positives: int = 60, *, seed: int = 0, length: int = 60) -> Levels:
    """Clean videos of noise, and positive ones higher up."""
    rng = np.random.default_rng(seed)
    low = levels_of(NOISE["exponential"](rng, clean, length))
    high = rng.uniform(0.85, 0.95, positives)
    count = clean + positives
    return Levels(
        np.arange(count) >= clean,
        np.concatenate([low, high]),
        np.full(count, length),
        range(count),
        [f"{at}.mp4" for at in range(count)],
    )


def test_it_keeps_the_rate_and_orders_the_thresholds() -> None:
    fitted = fit(labelled(400), rate=0.05, every_s=1.0)
    assert 0 < fitted.review <= fitted.block <= 1
    calibration = fitted.calibration
    fresh = labelled(1000, seed=1)
    reached = [calibration.apply(float(one)) >= fitted.review for one in fresh.levels]
    assert np.mean(reached[:1000]) == pytest.approx(0.05, abs=0.025)
    assert np.mean(reached[1000:]) == 1.0
    assert fitted.false_alarms.value == pytest.approx(0.05, abs=0.03)
    assert fitted.recall.value == 1.0
    assert fitted.method == "logistic regression"


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["exponential", "uniform", "normal"])
def test_two_hours_of_noise_are_flagged_no_more_often_than_a_minute(noise: str) -> None:
    rng = np.random.default_rng(3)
    clean = levels_of(NOISE[noise](rng, 1000, 60))
    top = np.full(50, max(0.9, clean.max()))
    data = Levels(
        np.arange(1050) >= 1000,
        np.concatenate([clean, top]),
        np.full(1050, 60),
        range(1050),
        [""] * 1050,
    )
    fitted = fit(data, rate=0.01, every_s=1.0)

    def flagged(count: int, length: int) -> float:
        review = fitted.calibration.review_for(length, fitted.review, fitted.block)
        levels = levels_of(NOISE[noise](rng, count, length))
        return float(np.mean([fitted.calibration.apply(float(one)) >= review for one in levels]))

    assert flagged(2000, 60) <= 0.02
    # Of 150, the 95% interval of 1% ends at 4.7%.
    assert flagged(150, 7200) <= 0.047


@given(st.lists(st.integers(0, 20).map(lambda one: one / 20), min_size=18, max_size=30))
@settings(max_examples=15)
def test_the_simulation_decides_as_the_verdict_does(scores: list[float]) -> None:
    """Never less strict, and no stricter than pairs where a refinement finds black in between.

    Isolated samples, which it dismisses, are in neither; what it adds thins flicker out.
    """
    series = samples(scores)
    dark = [
        Sample(round(at + shift, 2), {"x": CategoryScore(0.0)})
        for at in range(len(scores) - 1)
        for shift in (0.15, 0.5, 0.85)
    ]
    level = review_level("x", series, dark, every_s=1.0) or 0.0
    pairs = max(min(pair) for pair in pairwise(scores))
    assert pairs <= level <= levels_of(np.array([scores]))[0]


def test_the_simulation_runs(tmp_path: Path) -> None:
    shares = simulate("uniform", 300, 50)
    assert shares["guardian"]["2 h"] <= 0.1 < 0.4 < shares["guardian, any length alike"]["2 h"]


def test_the_scale_of_a_gumbel_distribution_is_found() -> None:
    rng = np.random.default_rng(0)
    longer = rng.uniform(0, 4, 4000)
    heights = rng.gumbel(-2.0 + 0.4 * longer, 0.4)
    location, scale = fit_gumbel(heights, longer)
    assert location == pytest.approx(-2.0, abs=0.1)
    assert scale == pytest.approx(0.4, abs=0.04)


def test_too_little_is_refused_or_said() -> None:
    with pytest.raises(UsageError, match="10 clean and 60 positive"):
        fit(labelled(10), rate=0.01, every_s=1.0)
    fitted = fit(labelled(100), rate=0.01, every_s=1.0)
    assert any("takes 299 at least" in one for one in fitted.warnings)
    assert not fit(labelled(300), rate=0.01, every_s=1.0).warnings


def test_clean_videos_that_do_not_fit_are_named() -> None:
    data = labelled(400)
    levels = data.levels.copy()
    levels[:3] = 0.9999
    odd = Levels(data.positive, levels, data.samples, data.groups, data.names)
    fitted, plain = (fit(one, rate=0.02, every_s=1.0) for one in (odd, data))
    assert any("such as 0.mp4" in one for one in fitted.warnings)
    assert fitted.calibration.scale > plain.calibration.scale


@pytest.mark.parametrize(("text", "rate"), [("1%", 0.01), ("0.5 %", 0.005), ("0.02", 0.02)])
def test_a_rate(text: str, rate: float) -> None:
    assert parse_rate(text) == pytest.approx(rate)


@pytest.mark.parametrize("text", ["0", "100%", "-1%", "x", "nan", "2"])
def test_no_rate(text: str) -> None:
    with pytest.raises(UsageError):
        parse_rate(text)


@pytest.mark.parametrize("clean", [100, 1200])
def test_the_fragment_loads(tmp_path: Path, clean: int) -> None:
    fitted = fit(labelled(clean), rate=0.05, every_s=0.5)
    written = {"scan": {"every": 0.5}, "categories": {"nsfw": None, "violence": False}}
    header = ["Fitted to", '"a\\nb": c']
    text = write_fragment({"nsfw": fitted}, {"nsfw": "sha256:0"}, 0.5, header, written)
    path = tmp_path / "fitted.yaml"
    path.write_text(text, encoding="utf-8")
    config = load_settings(path, environ={}, folder=tmp_path).config
    assert config.scan.every == 0.5
    (category,) = (one for name, one in config.categories.items() if name in {"nsfw", "violence"})
    assert category.thresholds.calibration == fitted.calibration
    assert (category.review, category.block) == (fitted.review, fitted.block)
    assert category.prompts is not None
    assert fitted.method == f"{'isotonic' if clean > 1000 else 'logistic'} regression"
