"""What `guardian monitor` must hold: no alarm where nothing changed, one where something did."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from guardian_cli.config import MonitorSection
from guardian_cli.errors import UsageError
from guardian_cli.watching.monitor import Monitoring, monitor
from tests.watching.results import DAYS, collect, draw_results

if TYPE_CHECKING:
    from guardian_cli.watching.observations import Observations

LIMITS = MonitorSection()


def alerts(found: Monitoring) -> set[tuple[str, str | None]]:
    return {(one.name, one.category) for _, one in found.alerts}


@pytest.mark.slow
def test_of_100_random_halves_at_most_5_give_an_alert() -> None:
    watched = collect(draw_results(400, seed=2))
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(100):
        order = rng.permutation(400)
        now, before = watched.take(order[:200]), watched.take(order[200:])
        alarms += bool(monitor(now, before, LIMITS).alerts)
    assert alarms <= 5


@pytest.mark.slow
def test_a_quarter_of_a_deviation_over_2000_videos_names_its_category() -> None:
    reference = collect(draw_results(2000, seed=3))
    found = monitor(collect(draw_results(2000, seed=4, shift=0.25)), reference, LIMITS)
    assert alerts(found) >= {("wasserstein", "nsfw"), ("psi", "nsfw")}
    assert "violence" not in {category for _, category in alerts(found)}
    figure = next(one for one in found.figures if one.name == "wasserstein" and one.examples)
    assert (figure.category, len(figure.examples)) == ("nsfw", 5)


def test_what_is_broken_or_moved_is_named() -> None:
    reference = collect(draw_results(1000, seed=5))
    moved = draw_results(1000, seed=6, newest=0.5, slow=2.0)
    for one in moved[:150]:
        one["coverage"]["complete"] = False
    for one in moved[150:300]:
        one["degraded"] = True
    for one in moved[300:450]:
        one |= {"verdict": "error", "categories": {}}
    for one in moved[450:600]:
        if one["categories"]:
            one["categories"]["nsfw"]["score"] = None
    found = monitor(collect(moved), reference, LIMITS)
    assert alerts(found) >= {
        ("incomplete", None), ("degraded", None), ("errors", None), ("unscored", None),
        ("latency_ms", "nsfw"), ("traffic", "nsfw"),
    }  # fmt: skip
    assert "violence" not in {category for _, category in alerts(found)}
    assert found.deployments["nsfw"]["version-2"][0] == pytest.approx(0.5, abs=0.1)


def test_too_little_is_a_state_of_its_own_and_no_alert() -> None:
    found = monitor(collect(draw_results(20, seed=1, shift=5)), collect(draw_results(900)), LIMITS)
    assert {one.state for one in found.figures} == {"too-little-data"}
    assert {one.limit for one in found.figures} == {None}
    assert not found.alerts
    little = monitor(collect(draw_results(900)), collect(draw_results(20)), LIMITS)
    assert {one.state for one in little.figures} == {"too-little-data"}


def test_a_category_that_the_reference_lacks_is_too_little_data() -> None:
    known = draw_results(300)
    for one in known:
        one["categories"].pop("violence", None)
    found = monitor(collect(draw_results(300, seed=1)), collect(known), LIMITS)
    states = {one.state for one in found.figures if one.category == "violence"}
    assert states == {"too-little-data"}


def test_limits_by_hand() -> None:
    limits = MonitorSection(psi=9.0, wasserstein=9.0, min_samples=5)
    shifted = collect(draw_results(400, seed=1, shift=1.0))
    found = monitor(shifted, collect(draw_results(400)), limits)
    by_hand = {one.limit for one in found.figures if one.name in {"psi", "wasserstein"}}
    assert by_hand == {9.0}
    assert not {name for name, _ in alerts(found)} & {"psi", "wasserstein"}


@pytest.mark.slow
def test_by_day_finds_the_day() -> None:
    results = draw_results(4000, seed=7)
    shifted = draw_results(4000, seed=7, shift=1.5)
    day = 4000 // DAYS
    mixed = [*results[: -2 * day], *shifted[-2 * day : -day], *results[-day:]]
    found = monitor(collect(mixed), collect(draw_results(4000, seed=8)), LIMITS, by="day")
    assert len(found.windows) == DAYS
    assert {window for window, one in found.alerts if one.category == "nsfw"} >= {"2026-11-19"}
    assert {one.sources for one in found.windows} == {day}
    in_chunks = monitor(collect(mixed), collect(results), LIMITS, by="1500")
    assert [one.name for one in in_chunks.windows] == ["1-1500", "1501-3000", "3001-4000"]


def test_the_newest_result_of_a_source_counts_and_time_orders_them() -> None:
    results = draw_results(40)
    again = [{**one, "verdict": "block"} for one in results[:10]]
    found = collect([*reversed(results), *again])
    assert len(found) == 40
    assert found.sources[0] == "video-0.mp4" or found.when[0] <= found.when[-1]
    assert int((found.verdicts == 2).sum()) >= 10


@pytest.mark.parametrize("by", ["week", "0", "-5", "1.5"])
def test_by_something_else_is_a_usage_error(by: str) -> None:
    some = collect(draw_results(60))
    with pytest.raises(UsageError, match="neither `day` nor a number"):
        monitor(some, some, LIMITS, by=by)


def test_by_day_needs_times_and_results_must_be_there() -> None:
    results = draw_results(60)
    del results[7]["made"]
    some = collect(results)
    with pytest.raises(UsageError, match="when they were made"):
        monitor(some, some, LIMITS, by="day")
    with pytest.raises(UsageError, match="reference holds no result"):
        monitor(some, collect([]), LIMITS)


@pytest.mark.slow
def test_pictures_of_another_kind_are_told_apart_where_both_have_features() -> None:
    rng = np.random.default_rng(0)

    def draw(seed: int, shift: float) -> Observations:
        found = collect(draw_results(400, seed=seed))
        features = rng.normal(size=(400, 64)).astype(np.float32)
        features[:, :8] += shift
        features[3] = np.nan
        return replace(found, features=features, weights="sha256:a")

    usual = draw(1, 0.0)
    same = {one.name: one for one in monitor(draw(2, 0.0), usual, LIMITS).figures}
    assert same["feature_drift"].state == "ok"
    assert same["feature_drift"].samples == 399
    moved = monitor(draw(3, 0.4), usual, LIMITS)
    assert ("feature_drift", None) in alerts(moved)
    assert "feature_drift" not in {
        one.name for one in monitor(collect(draw_results(400)), usual, LIMITS).figures
    }
    with pytest.raises(UsageError, match="different CLIPs"):
        monitor(replace(draw(4, 0.0), weights="sha256:b"), usual, LIMITS)
