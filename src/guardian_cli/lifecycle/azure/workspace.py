"""The workspace: looked at first, and made only after Azure said that it is not there."""

from __future__ import annotations

import hashlib
import json
import re
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.lifecycle.azure.client import WORKSPACE_API
from guardian_cli.lifecycle.azure.errors import GroupNotFoundError, NotFoundError
from guardian_cli.lifecycle.platform import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from guardian_cli.lifecycle.azure.client import AzureClient, Json
    from guardian_cli.lifecycle.platform import WorkspaceOptions

_RESOURCES_API = "2021-04-01"
_PERMISSIONS_API = "2022-04-01"
PROVIDERS = (
    "Microsoft.MachineLearningServices",
    "Microsoft.Storage",
    "Microsoft.KeyVault",
    "Microsoft.Insights",
    "Microsoft.ContainerRegistry",
)


class AzureWorkspace:
    """One workspace and what it stands in."""

    def __init__(self, client: AzureClient) -> None:
        self._client = client
        self._address = client.address

    def find(self) -> Json | None:
        """The workspace's document, or None after a 404 on it; any other error is raised.

        Raises PlatformError where the resource group is not there: guardian makes none.
        """
        address = self._address
        doing = f"looking at the workspace {address}"
        try:
            return self._client.send("GET", address.workspace_path, WORKSPACE_API, doing)
        except NotFoundError:
            return None
        except GroupNotFoundError as error:
            raise PlatformError(
                f"the resource group {address.resource_group} is not there, or is not yours "
                f"to see, in the subscription {address.subscription_id}",
                hint=f"az group create --name {address.resource_group} --location LOCATION",
            ) from error

    def location(self) -> str | None:
        """The region of the workspace, or the one that it would be made in; None if unknown."""
        found = self.find()
        return self._future_location() if found is None else region_of(found)

    def inspect(self, options: WorkspaceOptions) -> Workspace:
        """Return what there is of workspace, providers and permissions; change nothing."""
        check_app_insights(options.app_insights)
        existing, missing, warnings = [], [], []
        found = self.find()
        if found is None:
            location = self._future_location() or "the resource group's location"
            missing.append(f"workspace {self._address.workspace} ({location})")
        else:
            existing.append(f"workspace {self._address.workspace} ({region_of(found)})")
            state = (found.get("properties") or {}).get("provisioningState")
            if isinstance(state, str) and state.lower() not in {"succeeded", "unknown"}:
                warnings.append(f"the workspace is in the state {state}")
        if options.thorough:
            registered = {provider: self._is_registered(provider) for provider in PROVIDERS}
            missing += [
                f"provider {one} (not registered)" for one in PROVIDERS if registered[one] is False
            ]
            unknown = ", ".join(one for one in PROVIDERS if registered[one] is None)
            if unknown:
                warnings.append(
                    f"whether these providers are registered could not be looked up: {unknown}"
                )
            warnings += self._permission_warnings(create=found is None)
        return Workspace(str(self._address), tuple(existing), tuple(missing), tuple(warnings))

    def create(self, options: WorkspaceOptions, *, wait: bool = True) -> None:
        """Make what is missing. Raises PlatformError; the same again goes on where it stopped."""
        check_app_insights(options.app_insights)
        for provider in PROVIDERS:
            if self._is_registered(provider) is False:
                self._client.reporter.note(f"registering the provider {provider}")
                path = f"{self._address.subscription_path}/providers/{provider}/register"
                self._client.send("POST", path, _RESOURCES_API, f"registering {provider}")
        # Always asked here: the SDK would take any error of its own look for a 404, and make anew
        # what is there.
        if self.find() is not None:
            return
        with self._client.calls("creating the workspace"):
            poller = self._begin(options.app_insights)
            if wait:
                self._client.wait(poller, f"workspace {self._address.workspace}")

    def _begin(self, app_insights: str) -> Any:
        address = self._address
        if app_insights != "none":
            from azure.ai.ml.entities import Workspace as WorkspaceEntity

            wanted = WorkspaceEntity(
                name=address.workspace,
                location=address.location,
                application_insights=None if app_insights == "new" else app_insights,
                description="Made by guardian",
            )
            return self._client.ml.workspaces.begin_create(wanted)
        # The SDK always adds Application Insights: a template of our own leaves it out.
        location = self._future_location()
        if location is None:
            raise PlatformError(
                f"the location of {address.resource_group} could not be looked up",
                hint="set azure.location in guardian.yaml",
            )
        # Names of storage accounts and vaults are taken world-wide. These are the same each time:
        # the same command again finds what an earlier one began.
        text = f"{address.group_path}/{address.workspace}"
        unique = hashlib.sha256(text.encode()).hexdigest()[:12]
        values = {
            "workspaceName": address.workspace,
            "location": location,
            "storageAccountName": f"guardian{unique}",
            "keyVaultName": f"guardian-{unique}",
        }
        properties = {
            "mode": "Incremental",
            "template": read_data("workspace_template"),
            "parameters": {name: {"value": value} for name, value in values.items()},
        }
        path = f"{address.group_path}/providers/Microsoft.Resources/deployments/guardian-{unique}"
        return self._client.begin("PUT", path, _RESOURCES_API, {"properties": properties})

    def _future_location(self) -> str | None:
        """The region that a workspace is made in: as configured, else that of its group."""
        if self._address.location:
            return self._address.location
        path, doing = self._address.group_path, "looking at the resource group"
        try:
            return region_of(self._client.send("GET", path, _RESOURCES_API, doing))
        except PlatformError:
            # Whoever may not look at the group is told so by what follows.
            return None

    def _is_registered(self, provider: str) -> bool | None:
        """Whether a resource provider is registered; None where that cannot be found out."""
        path = f"{self._address.subscription_path}/providers/{provider}"
        try:
            answer = self._client.send("GET", path, _RESOURCES_API, f"looking at {provider}")
        except PlatformError:
            return None
        state = answer.get("registrationState")
        return None if state is None else state in {"Registered", "Registering"}

    def _permission_warnings(self, *, create: bool) -> list[str]:
        path = f"{self._address.group_path}/providers/Microsoft.Authorization/permissions"
        try:
            granted = list(self._client.list(path, _PERMISSIONS_API, "looking at permissions"))
        except PlatformError:
            return ["your permissions could not be looked up"]
        roles = read_data("roles")
        needed = [*roles["operator"], *(roles["founder"] if create else ())]
        lacking = missing_permissions(needed, granted)
        if not lacking:
            return []
        some = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if lacking[3:] else "")
        role = "docs/azure.md has a role with all that guardian needs"
        return [f"permissions are missing: {some}; {role}"]


def check_app_insights(choice: str) -> None:
    """Raise UsageError for an `--app-insights` that is neither new, none nor a resource id."""
    if choice in {"new", "none"} or "/microsoft.insights/components/" in choice.lower():
        return
    raise UsageError(
        f"--app-insights {choice}: not new, none or the id of an Application Insights resource",
        hint="/subscriptions/…/resourceGroups/…/providers/Microsoft.Insights/components/NAME",
    )


def region_of(document: Json) -> str | None:
    """Return the region as it is written in addresses: eastus2, also for East US 2."""
    found = document.get("location")
    return str(found).replace(" ", "").lower() if found else None


def missing_permissions(needed: Iterable[str], granted: Sequence[Json]) -> list[str]:
    """Return what of `needed` the answers of Microsoft.Authorization/permissions do not grant.

    An action is granted by an entry whose `actions` match it and whose `notActions` do not.
    """

    def matches(action: str, patterns: Iterable[str] | None) -> bool:
        return any(
            re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), action, re.IGNORECASE)
            for pattern in patterns or ()
        )

    return [
        action
        for action in needed
        if not any(
            matches(action, entry.get("actions")) and not matches(action, entry.get("notActions"))
            for entry in granted
        )
    ]


def read_data(name: Literal["roles", "workspace_template"]) -> Json:
    """Read a JSON file of this package.

    `roles` has the actions that each custom role of docs/azure.md needs: `operator` for all that is
    done in a workspace that is there, and in addition `trainer` for `train --compute` and `founder`
    to make a workspace. `workspace_template` is the ARM template of a storage account, a key vault
    and a workspace over both, without Application Insights.
    """
    text = resources.files(__package__).joinpath(f"{name}.json").read_text("utf-8")
    found: Json = json.loads(text)
    return found
