"""The template of a workspace, what `--app-insights` takes, and which permissions are missing."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.errors import UsageError
from guardian_cli.lifecycle.azure.workspace import (
    check_app_insights,
    missing_permissions,
    read_data,
)
from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path


def test_every_parameter_is_used_and_every_one_that_is_used_is_there() -> None:
    template = read_data("workspace_template")
    text = json.dumps(template["resources"])
    assert set(re.findall(r"parameters\('(\w+)'\)", text)) == set(template["parameters"])
    kinds = [one["type"] for one in template["resources"]]
    assert not [one for one in kinds if "insights" in one.lower()]
    [workspace] = [one for one in template["resources"] if one["type"].endswith("/workspaces")]
    assert "applicationInsights" not in workspace["properties"]
    assert workspace["identity"] == {"type": "SystemAssigned"}
    assert len(workspace["dependsOn"]) == 2


def test_the_workspace_is_as_microsoft_s_schema_says(shared_data: Path) -> None:
    name = "Microsoft.MachineLearningServices.json"
    found = sorted((shared_data / "azure" / "arm-schemas").glob(f"*/{name}"))
    if not found:
        pytest.skip("no ARM schemas")
    for path in found:
        schema = json.loads(path.read_text(encoding="utf-8"))
        resource = schema["resourceDefinitions"]["workspaces"]
        # What else may be put into a workspace is half of the document.
        del resource["properties"]["resources"]
        resolved = _inline(resource, schema)
        wanted = {
            **read_data("workspace_template")["resources"][-1],
            "apiVersion": path.parent.name,
        }
        jsonschema.validate(wanted, resolved)
        known = schema["definitions"]["WorkspaceProperties"]["properties"]
        assert set(wanted["properties"]) <= set(known)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**wanted, "properties": {"friendlyName": 1}}, resolved)


EXPRESSION = {"type": "string", "pattern": r"^\[.*\]$"}


def _inline(node: Any, schema: Any) -> Any:
    """Resolve the references inside the document; those to others are template expressions."""
    if isinstance(node, list):
        return [_inline(one, schema) for one in node]
    if not isinstance(node, dict):
        return node
    reference = node.get("$ref")
    if not isinstance(reference, str):
        return {key: _inline(one, schema) for key, one in node.items()}
    if not reference.startswith("#/definitions/"):
        return EXPRESSION
    return _inline(schema["definitions"][reference.rpartition("/")[2]], schema)


def test_app_insights_is_new_none_or_an_id() -> None:
    mine = "/subscriptions/s/resourceGroups/g/providers/microsoft.insights/components/mine"
    for good in ("new", "none", mine):
        check_app_insights(good)
    for bad in ("", "New", "some", "/subscriptions/s/resourceGroups/g"):
        with pytest.raises(UsageError, match="--app-insights"):
            check_app_insights(bad)


ROLES = read_data("roles")
ACTIONS = st.sampled_from([action for actions in ROLES.values() for action in actions])


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
    assert missing_permissions([action], [{"actions": [pattern]}]) == []
    assert missing_permissions([action], [{"actions": ["*"], "notActions": [pattern]}]) == [action]
    # What one role takes away another may give.
    taken = {"actions": ["*"], "notActions": [pattern]}
    assert missing_permissions([action], [taken, {"actions": [pattern], "notActions": []}]) == []


@given(ACTIONS, ACTIONS)
def test_an_action_grants_itself_only(granted: str, asked: str) -> None:
    if "*" not in granted:
        missing = missing_permissions([asked], [{"actions": [granted]}])
        assert missing == ([] if granted == asked else [asked])


def test_what_azure_leaves_out_grants_nothing() -> None:
    needed = ROLES["operator"]
    assert missing_permissions(needed, []) == needed
    assert missing_permissions(needed, [{}, {"actions": None, "notActions": None}]) == needed
    # A dot is a dot: it stands for no other character.
    assert missing_permissions(["Microsoft.A/read"], [{"actions": ["MicrosoftXA/read"]}])


def test_the_roles_in_the_document_are_what_the_code_asks_for() -> None:
    text = (REPOSITORY / "docs" / "azure.md").read_text(encoding="utf-8")
    found = re.findall(r"<!-- role: (\w+) -->\n```json\n(.*?)\n```", text, re.DOTALL)
    roles = {name: json.loads(role) for name, role in found}
    assert {name: role["Actions"] for name, role in roles.items()} == ROLES
    for role in roles.values():
        assert role["IsCustom"]
        assert role["NotActions"] == []
        assert role["AssignableScopes"] == ["/subscriptions/SUBSCRIPTION/resourceGroups/GROUP"]
