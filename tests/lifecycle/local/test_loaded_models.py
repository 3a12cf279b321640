from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.lifecycle.local.loaded_models import WeightedRouter


@given(st.integers(0, 100), st.integers(0, 2**32))
def test_every_hundred_requests_are_shared_exactly(share: int, seed: int) -> None:
    router = WeightedRouter({"old": 100 - share, "new": share}, random.Random(seed))
    counts = Counter(router.choose() for _ in range(300))
    assert counts["new"] == 3 * share
    assert counts["old"] == 3 * (100 - share)


def test_ninety_ten_is_ninety_ten_from_any_request_on() -> None:
    router = WeightedRouter({"old": 90, "new": 10}, random.Random(7))
    drawn = [router.choose() for _ in range(2500)]
    for start in (0, 3, 57, 499):
        assert 190 <= drawn[start : start + 2000].count("new") <= 210


def test_the_order_is_no_beat_that_a_client_could_fall_in_with() -> None:
    router = WeightedRouter({"old": 90, "new": 10}, random.Random(7))
    drawn = [router.choose() for _ in range(1000)]
    every_tenth = [drawn[start::10].count("new") for start in range(10)]
    assert max(every_tenth) < 50


@pytest.mark.parametrize("weights", [{}, {"old": 0}])
def test_without_traffic_nobody_is_chosen(weights: dict[str, int]) -> None:
    assert WeightedRouter(weights, random.Random(1)).choose() is None
