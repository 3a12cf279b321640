"""Where in Azure, from the settings."""

from __future__ import annotations

import pytest

from guardian_cli.config import AzureSection
from guardian_cli.errors import ConfigError
from guardian_cli.lifecycle.azure.place import Place, find_place

WHOLE = {"subscription_id": "sub", "resource_group": "group", "workspace": "ws"}


def test_the_paths_of_a_place() -> None:
    place = find_place(AzureSection(**WHOLE, location="westeurope"))
    assert place == Place("sub", "group", "ws", "westeurope")
    assert place.group_path == "/subscriptions/sub/resourceGroups/group"
    assert place.workspace_path == (
        "/subscriptions/sub/resourceGroups/group/providers/Microsoft.MachineLearningServices/"
        "workspaces/ws"
    )
    assert str(place) == "ws in group"


@pytest.mark.parametrize("left_out", sorted(WHOLE))
def test_a_name_that_is_missing_is_asked_for(left_out: str) -> None:
    rest = {name: value for name, value in WHOLE.items() if name != left_out}
    with pytest.raises(ConfigError, match=rf"azure\.{left_out}") as refused:
        find_place(AzureSection(**rest))
    assert "AZURE_" in (refused.value.hint or "")
    with pytest.raises(ConfigError):
        find_place(AzureSection(**{**WHOLE, left_out: ""}))
