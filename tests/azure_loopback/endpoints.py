"""Managed online endpoints: traffic, tags, keys, and the rules that bite."""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, Any

from tests.azure_loopback.messages import Response, answer, now, refuse
from tests.azure_loopback.operations import HOST
from tests.azure_loopback.routing import LOCATION, WORKSPACE, Call, Router
from tests.azure_loopback.state import Endpoint, new_key, system_assigned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.azure_loopback.cloud import Cloud

BASE = WORKSPACE + "/onlineEndpoints"
ENDPOINT = BASE + "/{endpoint}"
NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]{1,30}[a-zA-Z0-9]")
MAX_TAGS, MAX_TAG_VALUE, MAX_TAG_NAME = 50, 256, 512


class Endpoints:
    """`…/onlineEndpoints`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def add_to(self, router: Router) -> None:
        """Add its routes."""
        router.add("GET", BASE, self._list)
        router.add("GET", ENDPOINT, self._get)
        router.add("PUT", ENDPOINT, self._put)
        router.add("DELETE", ENDPOINT, self._delete)
        router.add("POST", ENDPOINT + "/listKeys", self._list_keys)
        router.add("POST", ENDPOINT + "/regenerateKeys", self._regenerate)
        book = self._cloud.book
        router.add("GET", LOCATION + "/mfeOperationsStatus/{operation}", book.get_status)
        router.add("GET", LOCATION + "/mfeOperationResults/{operation}", book.get_result)

    def _document(self, path: str, endpoint: Endpoint) -> dict[str, Any]:
        ready = endpoint.state not in {"Creating", "Failed"} or bool(endpoint.deployments)
        address = endpoint.scoring_uri if ready else None
        more = {"AzureAsyncOperationUri": endpoint.operation} if endpoint.operation else {}
        return {
            "id": path,
            "name": endpoint.name,
            "type": "Microsoft.MachineLearningServices/workspaces/onlineEndpoints",
            "properties": {
                "description": endpoint.description,
                "properties": {
                    **endpoint.properties,
                    "azureml.onlineendpointid": path.lower(),
                    **more,
                },
                "scoringUri": address,
                "swaggerUri": address and address.replace("/score", "/swagger.json"),
                "authMode": endpoint.auth,
                "provisioningState": endpoint.state,
                "compute": None,
                "traffic": dict(endpoint.traffic),
                "mirrorTraffic": dict(endpoint.mirror),
                "publicNetworkAccess": endpoint.public,
            },
            "systemData": {
                "createdAt": endpoint.created,
                "createdBy": "somebody",
                "lastModifiedAt": endpoint.changed,
            },
            "tags": dict(endpoint.tags),
            "location": endpoint.location,
            "kind": "Managed",
            "identity": endpoint.identity,
        }

    def _list(self, call: Call) -> Response:
        found = self._cloud.find_workspace(call).endpoints.values()
        return answer(200, {"value": [self._document(f"{call.path}/{x.name}", x) for x in found]})

    def _get(self, call: Call) -> Response:
        return answer(200, self._document(call.path, self._cloud.find_endpoint(call)))

    def _put(self, call: Call) -> Response:
        workspace = self._cloud.find_workspace(call)
        name, body = call["endpoint"], call.body
        found = workspace.endpoints.get(name.lower())
        _check_name(name)
        _check_tags(body.get("tags") or {})
        if found is None:
            if name.lower() in self._cloud.taken_names:
                raise _name_taken()
            found = Endpoint(name, workspace.location)
            _check_traffic(body["properties"], found)
            workspace.endpoints[name.lower()] = found
            found.tags = dict(body.get("tags") or {})
        else:
            refuse_busy(self._cloud, call.path, f"Cannot update endpoint {name}", found)
            _check_traffic(body["properties"], found)
            found.state = "Updating"
        return self._begin_put(call, found, body)

    def _begin_put(self, call: Call, endpoint: Endpoint, body: Mapping[str, Any]) -> Response:
        def apply() -> None:
            _apply(endpoint, body)
            endpoint.state, endpoint.changed = "Succeeded", now()

        def fail(_error: Mapping[str, Any]) -> None:
            # An endpoint that was there goes on as it was.
            endpoint.state = "Failed"

        before = self._document(call.path, endpoint)
        operation = self._cloud.book.begin(call, apply, target=call.path, failure=fail)
        location = f"{HOST}{call.path}?api-version={call.query.get('api-version')}"
        headers = self._cloud.book.headers(operation, location)
        endpoint.operation = headers["Azure-AsyncOperation"]
        before["properties"]["properties"]["AzureAsyncOperationUri"] = endpoint.operation
        return answer(201, before, headers)

    def _delete(self, call: Call) -> Response:
        workspace = self._cloud.find_workspace(call)
        endpoint = workspace.endpoints.get(call["endpoint"].lower())
        if endpoint is None:
            return answer(204)
        refuse_busy(self._cloud, call.path, f"Cannot delete endpoint {endpoint.name}", endpoint)
        endpoint.state = "Deleting"

        def apply() -> None:
            for deployment in endpoint.deployments.values():
                if deployment.runner is not None:
                    deployment.runner.stop()
            workspace.endpoints.pop(endpoint.name.lower(), None)

        def fail(_error: Mapping[str, Any]) -> None:
            endpoint.state = "Failed"

        operation = self._cloud.book.begin(call, apply, target=call.path, failure=fail)
        return answer(202, None, self._cloud.book.headers(operation))

    def _list_keys(self, call: Call) -> Response:
        endpoint = self._cloud.find_endpoint(call)
        keys = {"primaryKey": endpoint.primary_key, "secondaryKey": endpoint.secondary_key}
        return answer(200, keys)

    def _regenerate(self, call: Call) -> Response:
        endpoint = self._cloud.find_endpoint(call)
        kind, value = call.body["keyType"], call.body.get("keyValue") or new_key()
        if kind not in {"Primary", "Secondary"}:
            raise refuse(400, "BadRequest", f"Unknown keyType {kind}.")

        def apply() -> None:
            if kind == "Primary":
                endpoint.primary_key = value
            else:
                endpoint.secondary_key = value

        operation = self._cloud.book.begin(call, apply, target=call.path + "/regenerateKeys")
        return answer(202, None, self._cloud.book.headers(operation))


def refuse_busy(cloud: Cloud, path: str, action: str, endpoint: Endpoint) -> None:
    """409 while an operation runs on an endpoint or on what is below it."""
    if endpoint.state in {"Creating", "Updating", "Deleting"}:
        state = endpoint.state
    elif cloud.book.running_on(path):
        state = "Updating"
    else:
        return
    raise refuse(409, "Conflict", f"{action} because it is in {state} provisioning state.")


def _apply(endpoint: Endpoint, body: Mapping[str, Any]) -> None:
    """A PUT replaces the whole: what it leaves out is gone."""
    given = body["properties"]
    endpoint.tags = dict(body.get("tags") or {})
    endpoint.traffic = {k.lower(): int(v) for k, v in (given.get("traffic") or {}).items() if v}
    endpoint.mirror = {k.lower(): int(v) for k, v in (given.get("mirrorTraffic") or {}).items()}
    endpoint.description = given.get("description")
    endpoint.properties = dict(given.get("properties") or {})
    endpoint.auth = given["authMode"]
    endpoint.public = given.get("publicNetworkAccess") or "Enabled"
    endpoint.identity = _with_identity(endpoint.identity, body.get("identity") or {})


def _with_identity(old: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The identity after a PUT: what was assigned before keeps its principals."""
    kind = wanted.get("type") or "SystemAssigned"
    fresh = system_assigned()
    made: dict[str, Any] = {"type": kind}
    if "SystemAssigned" in kind:
        made["principalId"] = old.get("principalId") or fresh["principalId"]
        made["tenantId"] = old.get("tenantId") or fresh["tenantId"]
    if "UserAssigned" in kind.replace("SystemAssigned", ""):
        before = old.get("userAssignedIdentities") or {}
        made["userAssignedIdentities"] = {
            name: before.get(name)
            or {"clientId": str(uuid.uuid4()), "principalId": str(uuid.uuid4())}
            for name in wanted.get("userAssignedIdentities") or {}
        }
    return made


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        message = (
            f"Endpoint name {name} is invalid: 3 to 32 characters, it starts with a letter and "
            "ends with a letter or a digit."
        )
        raise refuse(400, "BadRequest", message)


def _check_tags(tags: Mapping[str, Any]) -> None:
    if len(tags) > MAX_TAGS:
        raise refuse(400, "InvalidTags", f"The number of tags exceeds {MAX_TAGS}.")
    for name, value in tags.items():
        if len(name) > MAX_TAG_NAME or len(str(value)) > MAX_TAG_VALUE:
            message = f"The value of tag '{name[:64]}' exceeds {MAX_TAG_VALUE} characters."
            raise refuse(400, "InvalidTagValueLength", message)
        if set(name) & set("<>%&\\?/"):
            message = f"The tag name '{name}' has one of the characters <>%&\\?/."
            raise refuse(400, "InvalidTagNameCharacters", message)


def _check_traffic(given: Mapping[str, Any], endpoint: Endpoint) -> None:
    live = {k.lower(): int(v) for k, v in (given.get("traffic") or {}).items() if v}
    mirror = {k.lower(): int(v) for k, v in (given.get("mirrorTraffic") or {}).items() if v}
    if sum(live.values()) not in {0, 100} or any(one < 0 for one in live.values()):
        raise _invalid(
            "Traffic", f"The sum of traffic is {sum(live.values())}; it must be 0 or 100."
        )
    for name in (*live, *mirror):
        if name not in endpoint.deployments:
            raise _invalid(
                "Traffic", f"Deployment {name} is not found in endpoint {endpoint.name}."
            )
        if name in live and endpoint.deployments[name].state != "Succeeded":
            raise _invalid("Traffic", f"Deployment {name} is not in a succeeded state.")
    if len(mirror) > 1 or any(one > 50 for one in mirror.values()) or set(mirror) & set(live):
        raise _invalid("MirrorTraffic", "Mirror traffic: one deployment without live traffic, 50%.")


def _invalid(what: str, message: str) -> Exception:
    text = json.dumps(
        {
            "errors": {what: [message]},
            "title": "One or more validation errors occurred.",
            "status": 400,
        }
    )
    inner = {"code": "InferencingClientCallFailed", "message": text}
    return refuse(400, "BadRequest", "The request is invalid.", [inner])


def _name_taken() -> Exception:
    sentence = (
        "There is already an endpoint with this name, Endpoint name needs to be unique within a "
        "region. Try some other name."
    )
    errors = {"errors": {"": [sentence]}, "title": "One or more validation errors occurred."}
    inner = {"code": "InferencingClientCallFailed", "message": json.dumps(errors)}
    return refuse(400, "BadRequest", "The request is invalid.", [inner])
