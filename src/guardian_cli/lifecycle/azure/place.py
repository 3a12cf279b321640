"""Where in Azure: the names that every call needs. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardian_cli.errors import ConfigError

if TYPE_CHECKING:
    from guardian_cli.config import AzureSection

_VARIABLES = {
    "subscription_id": "AZURE_SUBSCRIPTION_ID",
    "resource_group": "AZURE_RESOURCE_GROUP",
    "workspace": "AZURE_ML_WORKSPACE",
}


@dataclass(frozen=True, slots=True)
class Place:
    """A workspace's address; `location` is where it would be made."""

    subscription_id: str
    resource_group: str
    workspace: str
    location: str | None = None

    @property
    def subscription_path(self) -> str:
        """The ARM path of the subscription."""
        return f"/subscriptions/{self.subscription_id}"

    @property
    def group_path(self) -> str:
        """The ARM path of the resource group."""
        return f"{self.subscription_path}/resourceGroups/{self.resource_group}"

    @property
    def workspace_path(self) -> str:
        """The ARM path of the workspace."""
        provider = "providers/Microsoft.MachineLearningServices"
        return f"{self.group_path}/{provider}/workspaces/{self.workspace}"

    def __str__(self) -> str:
        return f"{self.workspace} in {self.resource_group}"


def find_place(section: AzureSection) -> Place:
    """Return the address that the configuration gives. Raises ConfigError for what is missing."""
    named = {name: getattr(section, name) for name in _VARIABLES}
    missing = [name for name, value in named.items() if not value]
    if missing:
        variables = " and ".join(_VARIABLES[name] for name in missing)
        keys = ", ".join(f"azure.{name}" for name in missing)
        raise ConfigError(
            f"the target azure needs {keys}",
            hint=f"set {variables} in the environment, or {keys} in guardian.yaml",
        )
    return Place(**named, location=section.location)
