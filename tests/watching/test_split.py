"""Which deployment flags what, and when nothing can be told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from guardian_cli.cli import run
from guardian_cli.reports.schemas import load_schema
from guardian_cli.watching.split import DeploymentShare, count_shares, find_differences, wilson
from tests.watching.results import draw_results, write_results

if TYPE_CHECKING:
    from pathlib import Path


def split(count: int, more: float) -> list[dict[str, Any]]:
    """Results of which version-2 flags `more` of what it sees, out of 20 to 1."""
    results = draw_results(count, newest=0.2)
    for at, one in enumerate(results):
        [endpoint] = one["detectors"]
        is_flagged = "version-2" in endpoint["deployments"] and at * 37 % 100 < 100 * more
        if one["categories"]:
            verdict = "review" if is_flagged or at % 20 == 0 else "allow"
            one["categories"]["nsfw"]["verdict"] = verdict
    return results


@pytest.mark.slow
def test_a_difference_is_told_once_there_is_enough() -> None:
    [little] = find_differences(count_shares(split(60, 0.05)))
    assert not little.is_told
    [enough] = find_differences(count_shares(split(3000, 0.3)))
    assert (enough.deployment, enough.against) == ("version-2", "version-1")
    assert enough.is_told
    assert enough.interval[0] > 0.1
    [same] = find_differences(count_shares(split(3000, 0.0)))
    assert not same.is_told


def test_who_was_scored_by_two_or_by_none_says_nothing() -> None:
    results = draw_results(50)
    before = sum(one.sources for one in count_shares(results))
    scored = next(one for one in results if one["categories"])
    scored["detectors"][0]["deployments"] = {"version-1": 3, "version-2": 2}
    assert sum(one.sources for one in count_shares(results)) == before - 1


@given(st.integers(0, 50), st.integers(1, 50), st.integers(0, 50), st.integers(1, 50))
def test_intervals_hold_their_value(a: int, n: int, b: int, m: int) -> None:
    a, b = min(a, n), min(b, m)
    shares = [
        DeploymentShare("nsfw", "one", n, a, wilson(a, n, 0.95)),
        DeploymentShare("nsfw", "two", m, b, wilson(b, m, 0.95)),
    ]
    [found] = find_differences(shares)
    assert found.interval[0] - 1e-9 <= found.value <= found.interval[1] + 1e-9
    assert -1 - 1e-9 <= found.interval[0] <= found.interval[1] <= 1 + 1e-9


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write_results(tmp_path / "r.jsonl", split(300, 0.0)))
    assert run(["compare", "--by", "deployment", path]) == 0
    assert "no difference can be told yet" in capsys.readouterr().out
    assert run(["compare", "--by", "deployment", path, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    Draft202012Validator(load_schema("deployments")).validate(document)
    assert [one["deployment"] for one in document["deployments"]] == ["version-1", "version-2"]
    plain = draw_results(3)
    for one in plain:
        one["detectors"] = []
    assert run(["compare", "--by", "deployment", str(write_results(tmp_path / "n", plain))]) == 2
    assert run(["compare", path]) == 2
    assert run(["compare", path, path, "--by", "deployment"]) == 2
