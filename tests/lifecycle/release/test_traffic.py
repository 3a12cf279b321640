from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.lifecycle.platform import Deployment, Endpoint
from guardian_cli.lifecycle.release.roles import MODEL_TAG, VERSION_TAG, Roles
from guardian_cli.lifecycle.release.traffic import percent_of, share_out


def ours(version: str, traffic: int = 0) -> Deployment:
    tags = {MODEL_TAG: "m", VERSION_TAG: version}
    return Deployment(f"version-{version}", traffic, "ready", tags=tags)


def test_ten_percent_are_ten_of_the_whole_endpoint_whatever_a_foreign_deployment_has() -> None:
    roles = Roles(champion="1", challenger="2")
    for foreign, champion in ((0, 90), (20, 70), (50, 40), (90, 0)):
        found = [ours("1"), ours("2"), Deployment("blue", foreign, "ready")]
        shares = share_out(found, roles, 10)
        assert shares == {"version-1": champion, "version-2": 10, "blue": foreign}


def test_nothing_is_left_to_divide() -> None:
    found = [ours("1"), Deployment("blue", 100, "ready")]
    assert share_out(found, Roles(champion="1"), 10) == {"version-1": 0, "blue": 100}


def test_a_challenger_without_a_champion_gets_all() -> None:
    assert share_out([ours("2")], Roles("1", "2"), 10) == {"version-2": 100}


@given(st.integers(0, 100), st.integers(0, 100))
def test_a_challengers_percent_can_be_read_back(foreign: int, percent: int) -> None:
    """Reading the percent and sharing out again changes nothing: a second run is quiet."""
    roles = Roles(champion="1", challenger="2")
    found = [ours("1"), ours("2"), Deployment("blue", foreign, "ready")]
    shares = share_out(found, roles, percent)
    assert sum(shares.values()) == 100
    assert min(shares.values()) >= 0
    dealt = [ours("1", shares["version-1"]), ours("2", shares["version-2"]), found[2]]
    endpoint = Endpoint("e", "u", "ready", tuple(dealt))
    assert share_out(dealt, roles, percent_of(endpoint, "2")) == shares
