"""Managed online endpoints and their deployments, in the words of `lifecycle.platform`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.azure.failures import is_missing, missing_group, sdk_errors
from guardian_cli.lifecycle.azure.waiting import wait_for
from guardian_cli.lifecycle.platform import (
    ChangedMeanwhileError,
    Deployment,
    Endpoint,
    EndpointBusyError,
    State,
    check_unchanged,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from guardian_cli.lifecycle.azure.client import AzureClient

OPERATION_TIMEOUT_S = 1800.0
_DONE: Mapping[str, State] = {"succeeded": "ready", "failed": "failed", "canceled": "failed"}
_MODEL_ID = re.compile(
    r"(?:/models/|azureml:)(?P<model>[^/:]+)(?:/versions/|:)(?P<version>[^/:]+)$"
)
# What the SDK puts among the properties of an endpoint that it fetched: not to be sent back.
_SDK_PROPERTIES = ("createdBy", "createdAt", "lastModifiedAt")


class AzureEndpoints:
    """The endpoints of a workspace. `tell` hears how long operations stand."""

    def __init__(self, client: AzureClient, tell: Callable[[str], None]) -> None:
        self._client = client
        self._tell = tell

    def find(self, name: str) -> Endpoint | None:
        """An endpoint with its deployments, or None."""
        found = self._fetch(name)
        return None if found is None else self._describe(found)

    def create(self, name: str, tags: Mapping[str, str]) -> Endpoint:
        """Make an endpoint, or a failed one without deployments anew. Raises NameTakenError."""
        # To create what is there would take its traffic away: a 404 is believed the second time.
        found = self.find(name)
        if found is not None and found.state == "failed" and not found.deployments:
            self._delete(name)
        elif found is not None:
            raise EndpointBusyError(f"{name} was just made by somebody else")
        with self._client.calls("creating the endpoint", name):
            from azure.ai.ml.entities import ManagedOnlineEndpoint

            wanted = ManagedOnlineEndpoint(name=name, auth_mode="key", tags=dict(tags))
            self._put(wanted)
        return self._there(name)

    def update(
        self,
        name: str,
        traffic: Mapping[str, int] | None,
        tags: Mapping[str, str | None] | None,
        expected: Endpoint | None,
    ) -> Endpoint:
        """Change traffic and tags by one PUT of the whole endpoint, then look whether they hold."""
        with self._client.calls("changing the endpoint", name):
            fetched = self._client.ml.online_endpoints.get(name)
        before = self._describe(fetched)
        if before.state == "updating":
            raise EndpointBusyError(f"{name} is being changed")
        if expected is not None:
            check_unchanged(expected, before)
        if traffic is not None:
            fetched.traffic = {one: traffic.get(one, 0) for one in before.traffic}
        merged = {**before.tags, **(tags or {})}
        fetched.tags = {key: value for key, value in merged.items() if value is not None}
        wanted = dict(fetched.tags), {n: p for n, p in fetched.traffic.items() if p}
        for one in _SDK_PROPERTIES:
            (fetched.properties or {}).pop(one, None)
        with self._client.calls("changing the endpoint", name):
            self._put(fetched)
        after = self._there(name)
        if wanted != (dict(after.tags), {n: p for n, p in after.traffic.items() if p}):
            raise ChangedMeanwhileError(
                f"{name} was changed by somebody else in the same moment: what is there now may be "
                "theirs or ours",
                hint="look with `guardian endpoints`, then run the same command again",
            )
        return after

    def delete_deployment(self, endpoint: str, name: str) -> None:
        """Remove a deployment without traffic; nothing to do when it is not there."""
        with self._client.calls("removing the deployment", f"{endpoint}/{name}"):
            try:
                poller = self._client.ml.online_deployments.begin_delete(
                    name=name, endpoint_name=endpoint
                )
                wait_for(poller, f"removing {name}", self._tell, timeout_s=OPERATION_TIMEOUT_S)
            except sdk_errors() as error:
                if not is_missing(error):
                    raise

    def logs(self, endpoint: str, deployment: str, lines: int) -> str:
        """What the containers of a deployment wrote: the server, else what mounts the model."""
        problem = ""
        for container in ("inference-server", "storage-initializer"):
            try:
                with self._client.calls("reading the log", f"{endpoint}/{deployment}"):
                    text = self._client.ml.online_deployments.get_logs(
                        name=deployment,
                        endpoint_name=endpoint,
                        lines=lines,
                        container_type=container,
                    )
            except PlatformError as error:
                problem = problem or f"no log: {error}"
                continue
            if text and text.strip() and text.strip() != "None":
                return str(text)
        return problem

    def _put(self, entity: Any) -> None:
        poller = self._client.ml.online_endpoints.begin_create_or_update(entity)
        wait_for(poller, f"endpoint {entity.name}", self._tell, timeout_s=OPERATION_TIMEOUT_S)

    def _delete(self, name: str) -> None:
        with self._client.calls("removing the failed endpoint", name):
            poller = self._client.ml.online_endpoints.begin_delete(name=name)
            wait_for(poller, f"removing {name}", self._tell, timeout_s=OPERATION_TIMEOUT_S)

    def _there(self, name: str) -> Endpoint:
        found = self.find(name)
        if found is None:
            raise PlatformError(f"there is no endpoint {name}", hint="guardian endpoints")
        return found

    def _fetch(self, name: str) -> Any:
        with self._client.calls("looking at the endpoint", name):
            try:
                return self._client.ml.online_endpoints.get(name)
            except sdk_errors() as error:
                if is_missing(error) or missing_group(error):
                    return None
                raise

    def _describe(self, fetched: Any) -> Endpoint:
        """An endpoint that was fetched, together with its deployments."""
        with self._client.calls("listing the deployments", fetched.name):
            deployments = list(self._client.ml.online_deployments.list(fetched.name))
        traffic = fetched.traffic or {}
        return Endpoint(
            name=fetched.name,
            uri=fetched.scoring_uri or "",
            state=state_of(fetched.provisioning_state),
            deployments=tuple(_describe(one, traffic.get(one.name, 0)) for one in deployments),
            tags=dict(fetched.tags or {}),
            location=fetched.location,
        )


def state_of(provisioning_state: str | None) -> State:
    """Return what a provisioning state means; all that is not an end is `updating`."""
    return _DONE.get((provisioning_state or "succeeded").lower(), "updating")


def _describe(found: Any, percent: float) -> Deployment:
    model, version = read_model_id(found.model)
    return Deployment(
        name=found.name,
        traffic=int(percent),
        state=state_of(found.provisioning_state),
        model=model,
        version=version,
        instance_type=found.instance_type,
        instance_count=found.instance_count,
        tags=dict(found.tags or {}),
    )


def read_model_id(model: Any) -> tuple[str | None, str | None]:
    """Return name and version from a model's id, (None, None) for one of another kind."""
    match = _MODEL_ID.search(str(model or ""))
    return cast("tuple[str, str]", match.groups()) if match else (None, None)
