"""The workspace: looked at first, and made only after Azure said that it is not there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.lifecycle.azure.client import WORKSPACE_API
from guardian_cli.lifecycle.azure.failures import lacked_group, was_missing
from guardian_cli.lifecycle.azure.permissions import (
    NEEDED,
    NEEDED_TO_CREATE,
    PROVIDERS,
    lacking,
)
from guardian_cli.lifecycle.azure.template import workspace_template
from guardian_cli.lifecycle.azure.waiting import wait_for
from guardian_cli.lifecycle.platform import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from guardian_cli.lifecycle.azure.client import AzureClient
    from guardian_cli.lifecycle.platform import WorkspaceOptions

CREATE_TIMEOUT_S = 1800.0
_PROVIDER_API = "2021-04-01"
_PERMISSION_API = "2022-04-01"
_DEPLOYMENT_API = "2021-04-01"


@dataclass
class _Look:
    """What was found so far."""

    existing: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class AzureWorkspace:
    """One workspace and what it stands in."""

    def __init__(self, client: AzureClient, tell: Callable[[str], None]) -> None:
        self._client = client
        self._tell = tell

    def find(self) -> Any:
        """The workspace's document, or None after a 404 on it; any other error is raised.

        Raises PlatformError where the resource group is not there: guardian makes none.
        """
        place = self._client.place
        try:
            doing = f"looking at the workspace {place}"
            return self._client.get(place.workspace_path, WORKSPACE_API, doing)
        except PlatformError as error:
            if not was_missing(error):
                raise
            if lacked_group(error):
                raise PlatformError(
                    f"the resource group {place.resource_group} is not there, or is not yours "
                    f"to see, in the subscription {place.subscription_id}",
                    hint=f"az group create --name {place.resource_group} --location LOCATION",
                ) from error
            return None

    def location(self) -> str | None:
        """The region of the workspace, or the one that it would be made in; None if unknown."""
        found = self.find()
        return self._future_location() if found is None else _location_of(found)

    def look(self, options: WorkspaceOptions) -> Workspace:
        """Look at workspace, providers and permissions; change nothing."""
        check_app_insights(options.app_insights)
        place, seen = self._client.place, _Look()
        found = self.find()
        if found is not None:
            seen.existing += [f"workspace {place.workspace} ({_location_of(found)})"]
            self._check_state(found, seen)
        else:
            location = self._future_location() or "the resource group's location"
            seen.missing += [f"workspace {place.workspace} ({location})"]
        if options.thorough:
            self._check_providers(seen)
            self._check_permissions(seen, create=found is None)
        return Workspace(
            str(place), tuple(seen.existing), tuple(seen.missing), tuple(seen.warnings)
        )

    def create(self, options: WorkspaceOptions, *, wait: bool = True) -> None:
        """Make what is missing. Raises PlatformError; the same again goes on where it stopped."""
        check_app_insights(options.app_insights)
        for provider in PROVIDERS:
            if self._is_registered(provider) is False:
                self._register(provider)
        if self.find() is None:
            poller = self._begin(options)
            if not wait:
                return
            with self._client.calls("creating the workspace"):
                what = f"workspace {self._client.place.workspace}"
                wait_for(poller, what, self._tell, timeout_s=CREATE_TIMEOUT_S)

    def _begin(self, options: WorkspaceOptions) -> Any:
        if options.app_insights == "none":
            return self._begin_without_insights()
        with self._client.calls("creating the workspace"):
            from azure.ai.ml.entities import Workspace as Wanted

            existing = None if options.app_insights == "new" else options.app_insights
            wanted = Wanted(
                name=self._client.place.workspace,
                location=self._client.place.location,
                application_insights=existing,
                description="Made by guardian",
            )
            return self._client.ml.workspaces.begin_create(wanted)

    def _begin_without_insights(self) -> Any:
        """The SDK always adds Application Insights: a template of our own leaves it out."""
        place, location = self._client.place, self._future_location()
        if location is None:
            raise PlatformError(
                f"the location of {place.resource_group} could not be looked up",
                hint="set azure.location in guardian.yaml",
            )
        unique = hashlib.sha256(f"{place.group_path}/{place.workspace}".encode()).hexdigest()[:12]
        body = {
            "properties": {
                "mode": "Incremental",
                "template": workspace_template(),
                "parameters": {
                    "workspaceName": {"value": place.workspace},
                    "location": {"value": location},
                    "storageAccountName": {"value": f"guardian{unique}"},
                    "keyVaultName": {"value": f"guardian-{unique}"},
                },
            }
        }
        # One name for each workspace: the same command again finds what an earlier one began.
        path = f"{place.group_path}/providers/Microsoft.Resources/deployments/guardian-{unique}"
        return self._client.begin("PUT", path, _DEPLOYMENT_API, "creating the workspace", body)

    def _future_location(self) -> str | None:
        place = self._client.place
        if place.location:
            return place.location
        try:
            answer = self._client.get(
                place.group_path, _PROVIDER_API, "looking at the resource group"
            )
        except PlatformError:
            # Whoever may not look at it can still be told so by what follows.
            return None
        return _location_of(answer)

    def _check_state(self, found: Any, seen: _Look) -> None:
        state = (found.get("properties") or {}).get("provisioningState")
        if isinstance(state, str) and state.lower() not in {"succeeded", "unknown"}:
            seen.warnings.append(f"the workspace is in the state {state}")

    def _check_providers(self, seen: _Look) -> None:
        states = {provider: self._is_registered(provider) for provider in PROVIDERS}
        seen.missing += [
            f"provider {provider} (not registered)"
            for provider, registered in states.items()
            if registered is False
        ]
        unknown = [provider for provider, registered in states.items() if registered is None]
        if unknown:
            seen.warnings.append(
                f"whether these providers are registered could not be looked up: {_join(unknown)}"
            )

    def _is_registered(self, provider: str) -> bool | None:
        """Whether a resource provider is registered; None where that cannot be found out."""
        path = f"{self._client.place.subscription_path}/providers/{provider}"
        try:
            answer = self._client.get(path, _PROVIDER_API, f"looking at {provider}")
        except PlatformError:
            return None
        state = (answer or {}).get("registrationState")
        return None if state is None else state in {"Registered", "Registering"}

    def _register(self, provider: str) -> None:
        self._tell(f"registering the provider {provider}")
        path = f"{self._client.place.subscription_path}/providers/{provider}/register"
        self._client.send("POST", path, _PROVIDER_API, f"registering {provider}")

    def _check_permissions(self, seen: _Look, *, create: bool) -> None:
        path = f"{self._client.place.group_path}/providers/Microsoft.Authorization/permissions"
        try:
            answer = self._client.get(path, _PERMISSION_API, "looking at permissions")
        except PlatformError:
            seen.warnings.append("your permissions could not be looked up")
            return
        needed = (*NEEDED, *NEEDED_TO_CREATE) if create else NEEDED
        missing = lacking(needed, (answer or {}).get("value") or ())
        if missing:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            seen.warnings.append(
                f"permissions are missing: {_join(missing[:3])}{more}; docs/azure.md has a role "
                "with all that guardian needs"
            )


def check_app_insights(choice: str) -> None:
    """Raise UsageError for an `--app-insights` that is neither new, none nor a resource id."""
    if choice in {"new", "none"} or "/microsoft.insights/components/" in choice.lower():
        return
    raise UsageError(
        f"--app-insights {choice}: not new, none or the id of an Application Insights resource",
        hint="/subscriptions/…/resourceGroups/…/providers/Microsoft.Insights/components/NAME",
    )


def _location_of(document: Mapping[str, Any]) -> str | None:
    """As in the addresses of a region: eastus2, also where it is written East US 2."""
    found = document.get("location")
    return str(found).replace(" ", "").lower() if found else None


def _join(names: Sequence[str]) -> str:
    return ", ".join(names)
