"""The template of a workspace without Application Insights, and what `--app-insights` takes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from guardian_cli.errors import UsageError
from guardian_cli.lifecycle.azure.template import workspace_template
from guardian_cli.lifecycle.azure.workspace import check_app_insights

if TYPE_CHECKING:
    from pathlib import Path


def test_every_parameter_is_used_and_every_one_that_is_used_is_there() -> None:
    template = workspace_template()
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
        judge = _inline(resource, schema)
        wanted = {**workspace_template()["resources"][-1], "apiVersion": path.parent.name}
        jsonschema.validate(wanted, judge)
        known = schema["definitions"]["WorkspaceProperties"]["properties"]
        assert set(wanted["properties"]) <= set(known)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**wanted, "properties": {"friendlyName": 1}}, judge)


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
