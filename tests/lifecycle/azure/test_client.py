"""The address of a workspace, from the settings; which addresses are Azure's own."""

from __future__ import annotations

import pytest

from guardian_cli.config import AzureSection
from guardian_cli.errors import ConfigError
from guardian_cli.lifecycle.azure.client import WorkspaceAddress, is_management

WHOLE = {"subscription_id": "sub", "resource_group": "group", "workspace": "ws"}


def test_the_paths_of_an_address() -> None:
    address = WorkspaceAddress.from_config(AzureSection(**WHOLE, location="westeurope"))
    assert address == WorkspaceAddress("sub", "group", "ws", "westeurope")
    assert address.group_path == "/subscriptions/sub/resourceGroups/group"
    assert address.workspace_path == (
        "/subscriptions/sub/resourceGroups/group/providers/Microsoft.MachineLearningServices/"
        "workspaces/ws"
    )
    assert str(address) == "ws in group"


@pytest.mark.parametrize("left_out", sorted(WHOLE))
def test_a_name_that_is_missing_is_asked_for(left_out: str) -> None:
    rest = {name: value for name, value in WHOLE.items() if name != left_out}
    with pytest.raises(ConfigError, match=rf"azure\.{left_out}") as refused:
        WorkspaceAddress.from_config(AzureSection(**rest))
    assert "AZURE_" in (refused.value.hint or "")
    with pytest.raises(ConfigError):
        WorkspaceAddress.from_config(AzureSection(**{**WHOLE, left_out: ""}))


def test_which_addresses_are_azure_s_own() -> None:
    assert is_management("https://management.azure.com/subscriptions/1?$skip=1")
    assert is_management("https://MANAGEMENT.azure.com:443/subscriptions/1")
    for address in (
        "http://management.azure.com/x", "https://management.azure.com:444/x",
        "https://management.azure.com@elsewhere.example/x", "https://[x", "/x",
    ):  # fmt: skip
        assert not is_management(address)
