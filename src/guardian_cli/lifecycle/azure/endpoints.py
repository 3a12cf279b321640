"""Managed online endpoints and their deployments, in the words of `lifecycle.platform`.

They are read and changed as Azure's own documents: the SDK's entities lose what they do not know,
and cannot be made from every deployment that somebody else has put there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.azure.client import unreadable
from guardian_cli.lifecycle.azure.failures import is_missing, sdk_errors, was_missing
from guardian_cli.lifecycle.azure.waiting import wait_for, wait_until
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

Json = dict[str, Any]

OPERATION_TIMEOUT_S = 1800.0
# The versions that azure-ai-ml uses itself.
ENDPOINT_API = "2022-02-01-preview"
DEPLOYMENT_API = "2023-04-01-preview"
_DONE: Mapping[str, State] = {"succeeded": "ready", "failed": "failed", "canceled": "failed"}
_MODEL_ID = re.compile(
    r"(?:/models/|azureml:)(?P<model>[^/:]+)(?:/versions/|:)(?P<version>[^/:]+)$"
)
# What an endpoint is made of; the rest of its document is Azure's to write.
_OWN_PROPERTIES = (
    "description", "authMode", "properties", "traffic", "mirrorTraffic", "publicNetworkAccess",
    "compute",
)  # fmt: skip


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
            poller = self._client.ml.online_endpoints.begin_create_or_update(wanted)
            wait_for(poller, f"endpoint {name}", self._tell, timeout_s=OPERATION_TIMEOUT_S)
        return self._there(name)

    def update(
        self,
        name: str,
        traffic: Mapping[str, int] | None,
        tags: Mapping[str, str | None] | None,
        expected: Endpoint | None,
    ) -> Endpoint:
        """Change traffic and tags by one PUT of the whole endpoint, then look whether they hold."""
        document = self._fetch(name)
        if document is None:
            raise _no_endpoint(name)
        before = self._describe(document)
        if before.state == "updating":
            raise EndpointBusyError(f"{name} is being changed")
        base = expected or before
        merged = {**base.tags, **(tags or {})}
        wanted_tags = {key: value for key, value in merged.items() if value is not None}
        wanted = _live(base.traffic if traffic is None else traffic)
        if (wanted_tags, wanted) == (dict(before.tags), _live(before.traffic)):
            # Ours, from a request whose answer was lost.
            return before
        check_unchanged(base, before)
        body = writable(document, wanted, wanted_tags)
        doing = "changing the endpoint"
        poller = self._client.begin("PUT", self._path(name), ENDPOINT_API, doing, body)
        with self._client.calls(doing, name):
            wait_for(poller, f"endpoint {name}", self._tell, timeout_s=OPERATION_TIMEOUT_S)
        after = self._there(name)
        if (wanted_tags, wanted) != (dict(after.tags), _live(after.traffic)):
            raise ChangedMeanwhileError(
                f"{name} was changed by somebody else in the same moment: what is there now may be "
                "theirs or ours",
                hint="look with `guardian endpoints`, then run the same command again",
            )
        return after

    def deployment_state(self, endpoint: str, name: str) -> State:
        """How a deployment stands; one that is not there counts as failed."""
        found = self._get(f"{self._path(endpoint)}/deployments/{name}", DEPLOYMENT_API, name)
        return "failed" if found is None else state_of(found["properties"].get("provisioningState"))

    def key(self, name: str) -> str:
        """The primary key. Raises PlatformError where there is none."""
        self.check_auth(name)
        path = f"{self._path(name)}/listKeys"
        found = self._client.send("POST", path, ENDPOINT_API, f"reading the key of {name}")
        key = (found or {}).get("primaryKey")
        if not key:
            raise PlatformError(f"{name} gives no key", hint="guardian endpoints")
        return str(key)

    def check_auth(self, name: str) -> None:
        """Raise PlatformError for an endpoint that keys do not open, or that is not there."""
        document = self._fetch(name)
        if document is None:
            raise _no_endpoint(name)
        mode = str(document["properties"].get("authMode") or "Key")
        if mode.lower() != "key":
            raise PlatformError(
                f"{name} wants tokens of Azure ({mode}), and guardian sends keys",
                hint="give the model's endpoint another name: models.<model>.endpoint_name",
            )

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

    def _delete(self, name: str) -> None:
        with self._client.calls("removing the failed endpoint", name):
            poller = self._client.ml.online_endpoints.begin_delete(name=name)
            wait_for(poller, f"removing {name}", self._tell, timeout_s=OPERATION_TIMEOUT_S)

    def _there(self, name: str) -> Endpoint:
        """The endpoint once its operation has ended, also where Azure names it too early."""

        def look() -> Endpoint | None:
            found = self.find(name)
            if found is None:
                raise _no_endpoint(name)
            return None if found.state == "updating" else found

        found = wait_until(look, timeout_s=OPERATION_TIMEOUT_S)
        if found is None:
            raise EndpointBusyError(f"{name} is being changed")
        return found

    def _path(self, name: str) -> str:
        return f"{self._client.place.workspace_path}/onlineEndpoints/{name}"

    def _fetch(self, name: str) -> Json | None:
        return self._get(self._path(name), ENDPOINT_API, name)

    def _get(self, path: str, api_version: str, name: str) -> Json | None:
        try:
            return read_document(self._client.get(path, api_version, f"looking at {name}"), name)
        except PlatformError as error:
            if was_missing(error):
                return None
            raise

    def _describe(self, document: Json) -> Endpoint:
        """An endpoint that was fetched, together with its deployments."""
        name, properties = document["name"], document["properties"]
        doing, path = f"listing the deployments of {name}", f"{self._path(name)}/deployments"
        found = [
            read_document(one, f"the deployments of {name}")
            for one in self._client.list(path, DEPLOYMENT_API, doing)
        ]
        traffic = {key.lower(): share for key, share in (properties.get("traffic") or {}).items()}
        return Endpoint(
            name=name,
            uri=properties.get("scoringUri") or "",
            state=state_of(properties.get("provisioningState")),
            deployments=tuple(
                _deployment(one, traffic.get(one["name"].lower()) or 0) for one in found
            ),
            tags=_tags(document),
            location=document.get("location"),
        )


def read_document(document: Json, what: str) -> Json:
    """Return a document. Raises PlatformError for one without what each has: never half-read."""
    if document.get("name") and isinstance(document.get("properties"), dict):
        return document
    raise unreadable(f"looking at {what}", "it has no name or no properties")


def writable(document: Json, traffic: Mapping[str, int], tags: Mapping[str, str]) -> Json:
    """Return what to PUT so that only traffic and tags of an endpoint change."""
    properties = document["properties"]
    kept = {name: properties[name] for name in _OWN_PROPERTIES if properties.get(name) is not None}
    body: Json = {
        "location": document.get("location"),
        "tags": dict(tags),
        "properties": {**kept, "traffic": dict(traffic)},
    }
    for name in ("kind", "sku"):
        if document.get(name) is not None:
            body[name] = document[name]
    identity = document.get("identity")
    if identity and identity.get("type"):
        # Ids of principals are Azure's to give: only which identities there are is sent back.
        assigned = identity.get("userAssignedIdentities")
        users: Json = {"userAssignedIdentities": {one: {} for one in assigned}} if assigned else {}
        body["identity"] = {"type": identity["type"], **users}
    return body


def _tags(document: Json) -> dict[str, str]:
    return {name: str(value) for name, value in (document.get("tags") or {}).items()}


def _live(traffic: Mapping[str, int]) -> dict[str, int]:
    return {name: percent for name, percent in traffic.items() if percent}


def _no_endpoint(name: str) -> PlatformError:
    return PlatformError(f"there is no endpoint {name}", hint="guardian endpoints")


def state_of(provisioning_state: str | None) -> State:
    """Return what a provisioning state means; all that is not an end is `updating`."""
    return _DONE.get((provisioning_state or "succeeded").lower(), "updating")


def _deployment(document: Json, percent: float) -> Deployment:
    properties = document["properties"]
    model, version = read_model_id(properties.get("model"))
    return Deployment(
        name=document["name"],
        traffic=int(percent),
        state=state_of(properties.get("provisioningState")),
        model=model,
        version=version,
        instance_type=properties.get("instanceType"),
        instance_count=(document.get("sku") or {}).get("capacity"),
        tags=_tags(document),
    )


def read_model_id(model: Any) -> tuple[str | None, str | None]:
    """Return name and version from a model's id, (None, None) for one of another kind."""
    match = _MODEL_ID.search(str(model or ""))
    return cast("tuple[str, str]", match.groups()) if match else (None, None)
