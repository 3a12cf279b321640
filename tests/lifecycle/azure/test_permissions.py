"""Which permissions are missing, and the roles that docs/azure.md shows."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.lifecycle.azure.permissions import (
    NEEDED,
    NEEDED_FOR_JOBS,
    NEEDED_TO_CREATE,
    lacking,
)
from tests.conftest import REPOSITORY

ALL = (*NEEDED, *NEEDED_FOR_JOBS, *NEEDED_TO_CREATE)
ACTIONS = st.sampled_from(ALL)


@st.composite
def patterns(draw: st.DrawFn) -> tuple[str, str]:
    """An action, and a pattern that grants it: some stretches of it are a `*`, in any case."""
    action = draw(ACTIONS)
    cuts = sorted(draw(st.lists(st.integers(0, len(action)), max_size=4)))
    pattern = action
    for end, start in zip(cuts[::-2], cuts[-2::-2], strict=False):
        pattern = pattern[:start] + "*" + pattern[end:]
    return action, draw(st.sampled_from([pattern, pattern.upper(), pattern.lower()]))


@given(patterns())
def test_a_pattern_grants_what_it_covers(one: tuple[str, str]) -> None:
    action, pattern = one
    assert lacking([action], [{"actions": [pattern]}]) == []
    assert lacking([action], [{"actions": ["*"], "notActions": [pattern]}]) == [action]
    # What one role takes away another may give.
    taken = {"actions": ["*"], "notActions": [pattern]}
    assert lacking([action], [taken, {"actions": [pattern], "notActions": []}]) == []


@given(ACTIONS, ACTIONS)
def test_an_action_grants_itself_only(granted: str, asked: str) -> None:
    if "*" not in granted:
        assert lacking([asked], [{"actions": [granted]}]) == ([] if granted == asked else [asked])


def test_what_azure_leaves_out_grants_nothing() -> None:
    assert lacking(NEEDED, []) == list(NEEDED)
    assert lacking(NEEDED, [{}, {"actions": None, "notActions": None}]) == list(NEEDED)
    # A dot is a dot: it stands for no other character.
    assert lacking(["Microsoft.A/read"], [{"actions": ["MicrosoftXA/read"]}])


def test_the_roles_in_the_document_are_what_the_code_asks_for() -> None:
    text = (REPOSITORY / "docs" / "azure.md").read_text(encoding="utf-8")
    found = re.findall(r"<!-- role: (\w+) -->\n```json\n(.*?)\n```", text, re.DOTALL)
    roles = {name: json.loads(role) for name, role in found}
    wanted = {"operator": NEEDED, "trainer": NEEDED_FOR_JOBS, "founder": NEEDED_TO_CREATE}
    assert {name: tuple(role["Actions"]) for name, role in roles.items()} == wanted
    for role in roles.values():
        assert role["IsCustom"]
        assert role["NotActions"] == []
        assert role["AssignableScopes"] == ["/subscriptions/SUBSCRIPTION/resourceGroups/GROUP"]
