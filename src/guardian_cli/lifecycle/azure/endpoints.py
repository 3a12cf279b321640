"""Managed online endpoints, in the words of `lifecycle.platform`.

They are read and changed as Azure's own documents: the SDK's entities lose what they do not know,
and cannot be made from every deployment that somebody else has put there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic import SecretStr

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.azure.client import OPERATION_TIMEOUT_S, wait_until
from guardian_cli.lifecycle.azure.errors import (
    GroupNotFoundError,
    NotFoundError,
    UnreadableAnswerError,
)
from guardian_cli.lifecycle.platform import (
    ChangedMeanwhileError,
    Deployment,
    Endpoint,
    EndpointBusyError,
    State,
    check_unchanged,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardian_cli.lifecycle.azure.client import AzureClient, Json

# The versions that azure-ai-ml uses itself.
ENDPOINT_API = "2022-02-01-preview"
DEPLOYMENT_API = "2023-04-01-preview"
_ENDED: Mapping[str, State] = {"succeeded": "ready", "failed": "failed", "canceled": "failed"}
# A new key may show a while after its operation.
_KEY_TIMEOUT_S = 30.0
_MODEL_ID = re.compile(r"(?:/models/|azureml:)(?P<name>[^/:]+)(?:/versions/|:)(?P<version>[^/:]+)$")
# What an endpoint is made of; the rest of its document is Azure's to write.
_OWN_PROPERTIES = (
    "description", "authMode", "properties", "traffic", "mirrorTraffic", "publicNetworkAccess",
    "compute",
)  # fmt: skip


class AzureEndpoints:
    """The endpoints of a workspace."""

    def __init__(self, client: AzureClient) -> None:
        self._client = client

    def path(self, name: str) -> str:
        """The ARM path of an endpoint."""
        return f"{self._client.address.workspace_path}/onlineEndpoints/{name}"

    def fetch(self, name: str, deployment: str | None = None) -> Json | None:
        """Azure's document of an endpoint, or of one of its deployments; None without one."""
        path, api_version, what = self.path(name), ENDPOINT_API, name
        if deployment is not None:
            path, api_version, what = f"{path}/deployments/{deployment}", DEPLOYMENT_API, deployment
        try:
            found = self._client.send("GET", path, api_version, f"looking at {what}")
        except (NotFoundError, GroupNotFoundError):
            return None
        return checked_document(found, what)

    def endpoint(self, name: str) -> Endpoint | None:
        """An endpoint with its deployments, or None."""
        found = self.fetch(name)
        return None if found is None else self._describe(found)

    def create_endpoint(self, name: str, tags: Mapping[str, str]) -> Endpoint:
        """Make an endpoint, or a failed one without deployments anew. Raises NameTakenError."""
        # A PUT on an endpoint that is there would take its traffic away: a 404 is believed only the
        # second time, here.
        found = self.endpoint(name)
        if found is not None and (found.state != "failed" or found.deployments):
            raise EndpointBusyError(f"{name} was just made by somebody else")
        if found is not None:
            with self._client.calls("removing the failed endpoint", name):
                poller = self._client.ml.online_endpoints.begin_delete(name=name)
                self._client.wait(poller, f"removing {name}")
        with self._client.calls("creating the endpoint", name):
            from azure.ai.ml.entities import ManagedOnlineEndpoint

            wanted = ManagedOnlineEndpoint(name=name, auth_mode="key", tags=dict(tags))
            poller = self._client.ml.online_endpoints.begin_create_or_update(wanted)
            self._client.wait(poller, f"endpoint {name}")
        return self._settled(name)

    def update_endpoint(
        self,
        name: str,
        *,
        traffic: Mapping[str, int] | None = None,
        tags: Mapping[str, str | None] | None = None,
        expected: Endpoint | None = None,
    ) -> Endpoint:
        """Change traffic and tags by one PUT of the whole endpoint, then look whether they hold."""
        document = self._existing(name)
        before = self._describe(document)
        if before.state == "updating":
            raise EndpointBusyError(f"{name} is being changed")
        base = expected or before
        merged = {**base.tags, **(tags or {})}
        wanted_tags = {key: value for key, value in merged.items() if value is not None}
        wanted = live_traffic(base.traffic if traffic is None else traffic)
        if (wanted_tags, wanted) == (dict(before.tags), live_traffic(before.traffic)):
            # Ours, from a request whose answer was lost.
            return before
        check_unchanged(base, before)
        body = update_body(document, wanted, wanted_tags)
        with self._client.calls("changing the endpoint", name):
            poller = self._client.begin("PUT", self.path(name), ENDPOINT_API, body)
            self._client.wait(poller, f"endpoint {name}")
        # Nothing in the PUT says which document it was made from: whether somebody else has changed
        # the endpoint in the same moment can only be seen afterwards.
        after = self._settled(name)
        if (wanted_tags, wanted) != (dict(after.tags), live_traffic(after.traffic)):
            raise ChangedMeanwhileError(
                f"{name} was changed by somebody else in the same moment: what is there now may be "
                "theirs or ours",
                hint="look with `guardian endpoints`, then run the same command again",
            )
        return after

    def check_uses_keys(self, name: str) -> None:
        """Raise PlatformError for an endpoint that keys do not open, or that is not there."""
        mode = str(self._existing(name)["properties"].get("authMode") or "Key")
        if mode.lower() != "key":
            raise PlatformError(
                f"{name} wants tokens of Azure ({mode}), and guardian sends keys",
                hint="give the model's endpoint another name: models.<model>.endpoint_name",
            )

    def key(self, name: str) -> SecretStr:
        """The primary key. Raises PlatformError where there is none."""
        self.check_uses_keys(name)
        path = f"{self.path(name)}/listKeys"
        found = self._client.send("POST", path, ENDPOINT_API, f"reading the key of {name}")
        if not found.get("primaryKey"):
            raise PlatformError(f"{name} gives no key", hint="guardian endpoints")
        return SecretStr(str(found["primaryKey"]))

    def rotate_key(self, name: str) -> SecretStr:
        """Replace the primary key. Raises PlatformError when it is the same as before."""
        old = self.key(name)
        path = f"{self.path(name)}/regenerateKeys"
        with self._client.calls("replacing the key", name):
            # Not the SDK's own call: it sends the present key as the value that the key is to have.
            poller = self._client.begin("POST", path, ENDPOINT_API, {"keyType": "Primary"})
            self._client.wait(poller, f"new key of {name}")
        new = wait_until(lambda: self.key(name), lambda key: key != old, timeout_s=_KEY_TIMEOUT_S)
        if new is None:
            raise PlatformError(f"{name} has its old key still", hint="try again in a minute")
        return new

    def _existing(self, name: str) -> Json:
        """The document of an endpoint that must be there."""
        found = self.fetch(name)
        if found is None:
            raise PlatformError(f"there is no endpoint {name}", hint="guardian endpoints")
        return found

    def _settled(self, name: str) -> Endpoint:
        """The endpoint once it no longer changes; Azure may say too early that it is done."""
        found = wait_until(
            lambda: self._describe(self._existing(name)),
            lambda endpoint: endpoint.state != "updating",
            timeout_s=OPERATION_TIMEOUT_S,
        )
        if found is None:
            raise EndpointBusyError(f"{name} is being changed")
        return found

    def _describe(self, document: Json) -> Endpoint:
        """An endpoint that was fetched, together with its deployments."""
        name, properties = document["name"], document["properties"]
        doing, path = f"listing the deployments of {name}", f"{self.path(name)}/deployments"
        # Traffic may name a deployment in other letters than the deployment itself.
        traffic = {key.lower(): share for key, share in (properties.get("traffic") or {}).items()}
        deployments = []
        for found in self._client.list(path, DEPLOYMENT_API, doing):
            checked_document(found, f"the deployments of {name}")
            own = found["properties"]
            # A model that is not from a registry has an id of another kind.
            model = _MODEL_ID.search(str(own.get("model") or ""))
            deployments.append(
                Deployment(
                    name=found["name"],
                    traffic=int(traffic.get(found["name"].lower()) or 0),
                    state=state_of(own.get("provisioningState")),
                    model=model["name"] if model else None,
                    version=model["version"] if model else None,
                    instance_type=own.get("instanceType"),
                    instance_count=(found.get("sku") or {}).get("capacity"),
                    tags=read_tags(found),
                )
            )
        return Endpoint(
            name=name,
            uri=properties.get("scoringUri") or "",
            state=state_of(properties.get("provisioningState")),
            deployments=tuple(deployments),
            tags=read_tags(document),
            location=document.get("location"),
        )


def checked_document(document: Json, what: str) -> Json:
    """Return a document. Raises PlatformError for one without what each has: never half-read."""
    if document.get("name") and isinstance(document.get("properties"), dict):
        return document
    raise UnreadableAnswerError(f"looking at {what}", "it has no name or no properties")


def update_body(document: Json, traffic: Mapping[str, int], tags: Mapping[str, str]) -> Json:
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


def read_tags(document: Json) -> dict[str, str]:
    """Return the tags of a document or of its properties, {} where Azure wrote null."""
    return {name: str(value) for name, value in (document.get("tags") or {}).items()}


def live_traffic(traffic: Mapping[str, int]) -> dict[str, int]:
    """Leave out what has no traffic: Azure writes a zero for it, or nothing."""
    return {name: percent for name, percent in traffic.items() if percent}


def state_of(provisioning_state: str | None) -> State:
    """Return what a provisioning state means; all that is not an end is `updating`."""
    return _ENDED.get((provisioning_state or "succeeded").lower(), "updating")
