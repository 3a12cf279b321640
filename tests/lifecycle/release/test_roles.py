from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.lifecycle.release.roles import (
    PENDING_TAG,
    ROLES_TAG,
    Roles,
    read_pending,
    read_roles,
    write_pending,
    write_roles,
)


def test_roles_come_back_from_their_tag() -> None:
    roles = Roles(champion="3", previous="2")
    assert write_roles(roles) == {ROLES_TAG: '{"champion":"3","previous":"2"}'}
    assert read_roles(write_roles(roles)) == roles
    assert [roles.of(version) for version in ("3", "2", "1", None)] == [
        "champion",
        "previous",
        None,
        None,
    ]


def test_roles_of_versions_that_are_gone_are_dropped() -> None:
    assert Roles("3", "4", "2").among(["3", "2"]) == Roles("3", None, "2")


def test_a_pending_rollback_comes_back() -> None:
    roles = Roles(champion="2", previous="3")
    assert read_pending(write_pending(roles, "2026-11-23T09:00:00Z")) == roles
    assert read_pending({}) is None


@given(
    st.text() | st.sampled_from(["[]", "1", '{"champion":3}', '{"champion":"1","previous":"1"}'])
)
def test_tags_that_make_no_sense_give_no_role_twice(text: str) -> None:
    roles = read_roles({ROLES_TAG: text})
    named = [v for v in (roles.champion, roles.challenger, roles.previous) if v]
    assert len(named) == len(set(named))
    read_pending({PENDING_TAG: text})
