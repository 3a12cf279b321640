"""Managed online deployments: what was uploaded is brought up, or ends Failed with a log."""

from __future__ import annotations

import contextlib
import math
import uuid
from typing import TYPE_CHECKING, Any

from tests.azure_loopback.addresses import find_asset, locate, name_and_version
from tests.azure_loopback.endpoints import ENDPOINT, NAME, refuse_busy
from tests.azure_loopback.faults import quota_refusal
from tests.azure_loopback.messages import RefusedError, Response, answer, now, refuse
from tests.azure_loopback.operations import HOST
from tests.azure_loopback.runners import Container, InitFailedError
from tests.azure_loopback.state import SIZES, Deployment, Endpoint, Workspace, complete

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.azure_loopback.cloud import Cloud
    from tests.azure_loopback.routing import Call, Router

BASE = ENDPOINT + "/deployments"
DEPLOYMENT = BASE + "/{deployment}"
PROBE = {"failureThreshold": 30, "successThreshold": 1, "timeout": "PT2S", "period": "PT10S",
         "initialDelay": "PT10S"}  # fmt: skip


class Deployments:
    """`…/onlineEndpoints/{endpoint}/deployments`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def add_to(self, router: Router) -> None:
        """Add its routes."""
        router.add("GET", BASE, self._list)
        router.add("GET", DEPLOYMENT, self._get)
        router.add("PUT", DEPLOYMENT, self._put)
        router.add("DELETE", DEPLOYMENT, self._delete)
        router.add("POST", DEPLOYMENT + "/getLogs", self._get_logs)

    def _document(self, path: str, deployment: Deployment) -> dict[str, Any]:
        return {
            "id": path,
            "name": deployment.name,
            "type": "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments",
            "properties": {**deployment.rest, "provisioningState": deployment.state},
            "systemData": {
                "createdAt": deployment.created,
                "createdBy": "somebody",
                "lastModifiedAt": deployment.changed,
            },
            "tags": dict(deployment.tags),
            "location": deployment.location,
            "kind": "Managed",
            "sku": {"name": "Default", "tier": "Standard", "capacity": deployment.capacity},
        }

    def _list(self, call: Call) -> Response:
        found = self._cloud.find_endpoint(call).deployments.values()
        return answer(200, {"value": [self._document(f"{call.path}/{x.name}", x) for x in found]})

    def _get(self, call: Call) -> Response:
        return answer(200, self._document(call.path, self._cloud.find_deployment(call)))

    def _put(self, call: Call) -> Response:
        workspace, endpoint = self._cloud.find_workspace(call), self._cloud.find_endpoint(call)
        name = call["deployment"]
        if not NAME.fullmatch(name):
            raise refuse(
                400, "BadRequest", f"Deployment name {name} is invalid: 3 to 32 characters."
            )
        path = call.path.rpartition("/deployments/")[0]
        refuse_busy(
            self._cloud, path, f"Cannot create a deployment in endpoint {endpoint.name}", endpoint
        )
        old = endpoint.deployments.get(name.lower())
        made = _make_deployment(name, call.body, workspace.location, old)
        self._check_quota(made, old)
        endpoint.deployments[name.lower()] = made
        return self._begin_put(call, workspace, endpoint, made)

    def _begin_put(
        self, call: Call, workspace: Workspace, endpoint: Endpoint, made: Deployment
    ) -> Response:
        def work() -> Mapping[str, Any] | None:
            return self.bring_up(workspace, made)

        def apply() -> None:
            made.state, made.changed = "Succeeded", now()
            made.rest = {
                **made.rest,
                "livenessProbe": made.rest.get("livenessProbe") or PROBE,
                "readinessProbe": made.rest.get("readinessProbe") or PROBE,
            }

        def fail(_error: Mapping[str, Any]) -> None:
            made.state, made.changed = "Failed", now()
            made.log += call.plan.log

        operation = self._cloud.book.begin(call, apply, target=call.path, failure=fail, work=work)
        location = f"{HOST}{call.path}?api-version={call.query.get('api-version')}"
        headers = self._cloud.book.headers(operation, location)
        made.rest["properties"] = {
            **(made.rest.get("properties") or {}),
            "AzureAsyncOperationUri": headers["Azure-AsyncOperation"],
        }
        return answer(201, self._document(call.path, made), headers)

    def _check_quota(self, made: Deployment, old: Deployment | None) -> None:
        size = SIZES.get(made.instance_type.lower())
        if size is None:
            raise _refuse_size(f"The VM size {made.instance_type} is not supported.")
        # A fifth more is kept back for upgrades: one machine of 4 cores needs 8.
        instances = math.ceil(made.capacity * 1.2)
        used = self._cloud.cores_in_use(size.family) - (old.capacity * size.cores if old else 0)
        limit, needed = self._cloud.core_limits.get(size.family, 0), instances * size.cores
        if used + needed > limit:
            raise _refuse_size(
                f"Not enough quota available for {made.instance_type} in SubscriptionId "
                f"{self._cloud.subscription}. Current usage/limit: {used}/{limit}. Additional "
                f"needed: {needed} Please see troubleshooting guide, available here: "
                "https://aka.ms/oe-tsg#error-outofquota"
            )

    def bring_up(self, workspace: Workspace, made: Deployment) -> Mapping[str, Any] | None:
        """Start the runner; called without the lock. Returns the error it ended with."""
        if "codeConfiguration" not in made.rest or not made.rest["codeConfiguration"]:
            made.log += "no scoring code: answered by the stand-in\n"
            return None
        try:
            container = self._prepare(workspace, made)
        except LookupError as error:
            made.storage_log = f"storage-initializer: {error.args[0]}\n"
            return _failed("ResourceNotFound", f"{error.args[0]} was not found.")
        try:
            made.runner = self._cloud.start(container)
        except InitFailedError:
            made.log += container.log.read_text(encoding="utf-8", errors="replace")
            message = (
                "User container has crashed or terminated. Please see troubleshooting guide, "
                "available here: https://aka.ms/oe-tsg#error-resourcenotready"
            )
            return _failed("ResourceNotReady", message)
        return None

    def _prepare(self, workspace: Workspace, made: Deployment) -> Container:
        folder = self._cloud.folder / "deployments" / f"{made.name}-{uuid.uuid4().hex[:8]}"
        code = made.rest["codeConfiguration"]
        uri = str(find_asset(workspace, "codes", code["codeId"])["codeUri"])
        if not self._cloud.blobs.copy_out(*locate(workspace, uri), folder / "code"):
            raise LookupError(code["codeId"])
        model = self._mount_model(workspace, made.rest.get("model"), folder)
        script = folder / "code" / code["scoringScript"]
        if not script.is_file():
            raise LookupError(code["scoringScript"])
        variables = {
            **(made.rest.get("environmentVariables") or {}),
            "AZUREML_MODEL_DIR": str(model),
            "AML_APP_ROOT": str(script.parent),
        }
        return Container(script, model, folder / "log", variables)

    def _mount_model(self, workspace: Workspace, model: str | None, folder: Path) -> Path:
        if not model:
            return folder
        uri = str(find_asset(workspace, "models", model)["modelUri"])
        container, path = locate(workspace, uri)
        name, version = name_and_version(model)
        mounted = folder / "azureml-models" / name / version
        # A file is mounted as it is, a folder with its own name.
        single = (container, path) in self._cloud.blobs.blobs
        target = mounted if single else mounted / path.rpartition("/")[2]
        if not self._cloud.blobs.copy_out(container, path, target):
            raise LookupError(model)
        return mounted

    def _delete(self, call: Call) -> Response:
        endpoint = self._cloud.find_endpoint(call)
        name = call["deployment"].lower()
        found = endpoint.deployments.get(name)
        if found is None:
            return answer(204)
        path = call.path.rpartition("/deployments/")[0]
        action = f"Cannot delete a deployment in endpoint {endpoint.name}"
        refuse_busy(self._cloud, path, action, endpoint)
        if endpoint.traffic.get(name) or endpoint.mirror.get(name):
            message = (
                f"Cannot delete deployment {found.name} since it has traffic. Set its traffic to 0 "
                "before deleting it."
            )
            raise refuse(400, "BadRequest", message)
        before, found.state = found.state, "Deleting"

        def apply() -> None:
            if found.runner is not None:
                found.runner.stop()
            endpoint.deployments.pop(name, None)

        def fail(_error: Mapping[str, Any]) -> None:
            found.state = before

        operation = self._cloud.book.begin(call, apply, target=call.path, failure=fail)
        return answer(202, None, self._cloud.book.headers(operation))

    def _get_logs(self, call: Call) -> Response:
        found = self._cloud.find_deployment(call)
        kind = call.body.get("containerType") or "InferenceServer"
        text = found.storage_log if kind == "StorageInitializer" else found.read_log()
        lines = text.splitlines()[-int(call.body.get("tail") or 5000) :]
        return answer(200, {"content": "".join(line + "\n" for line in lines)})


def _make_deployment(
    name: str, body: Mapping[str, Any], location: str, old: Deployment | None
) -> Deployment:
    rest = complete(body["properties"])
    capacity = int((body.get("sku") or {}).get("capacity") or 1)
    if old is not None and old.runner is not None:
        old.runner.stop()
    with contextlib.suppress(KeyError):
        del rest["provisioningState"]
    state = "Creating" if old is None else "Updating"
    tags = dict(body.get("tags") or {})
    return Deployment(name, rest, tags, capacity, state, location=location)


def _failed(code: str, message: str) -> dict[str, Any]:
    return {"code": code, "message": f"{code}: {message}"}


def _refuse_size(message: str) -> Exception:
    return RefusedError(answer(400, quota_refusal(message)))
