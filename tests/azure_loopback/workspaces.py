"""Workspaces: look, list, change, and the ARM deployment that makes one."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.azure_loopback.messages import Response, answer, error_document, now, refuse
from tests.azure_loopback.operations import HOST, QUICK_POLLING, UNWATCHED_S
from tests.azure_loopback.routing import GROUP, MACHINE_LEARNING, WORKSPACE, Call, Router
from tests.azure_loopback.state import TENANT, Workspace

if TYPE_CHECKING:
    from tests.azure_loopback.cloud import Cloud
    from tests.azure_loopback.faults import OperationPlan

ARM = GROUP + "/providers/Microsoft.Resources/deployments/{name}"


@dataclass
class ArmDeployment:
    """A template that was submitted."""

    name: str
    group: str
    parameters: dict[str, Any]
    plan: OperationPlan
    template: dict[str, Any] = field(default_factory=dict, repr=False)
    state: str = "Running"
    error: dict[str, Any] | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4().int)[:20])
    begun: float = field(default_factory=time.monotonic)
    polls: int = 0


class Workspaces:
    """Everything about the workspace itself."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.submitted: dict[str, ArmDeployment] = {}

    def add_to(self, router: Router) -> None:
        """Add its routes."""
        base = f"{GROUP}/{MACHINE_LEARNING}/workspaces"
        router.add("GET", base, self._list)
        router.add("GET", WORKSPACE, self._get)
        router.add("PATCH", WORKSPACE, self._patch)
        router.add("DELETE", WORKSPACE, self._delete)
        router.add("GET", WORKSPACE + "/datastores", self._list_datastores)
        router.add("GET", WORKSPACE + "/datastores/{datastore}", self._get_datastore)
        router.add("POST", WORKSPACE + "/datastores/{datastore}/listSecrets", self._list_secrets)
        router.add("GET", WORKSPACE + "/computes", self._list_computes)
        router.add("GET", WORKSPACE + "/computes/{compute}", self._get_compute)
        router.add("PUT", WORKSPACE + "/computes/{compute}", self._put_compute)
        router.add("PUT", ARM, self._submit)
        router.add("GET", ARM, self._get_submitted)
        router.add("GET", ARM + "/operationStatuses/{operation}", self._get_status)
        for path in (ARM, GROUP + "/deployments/{name}"):
            router.add("GET", path + "/operations", self._list_operations)

    def create(
        self, name: str, group: str, location: str, parameters: dict[str, Any] | None = None
    ) -> Workspace:
        """Put a workspace there."""
        made = Workspace(name, group, location, parameters=parameters or {})
        # A template that is not the SDK's may leave Application Insights out altogether.
        option = made.parameters.get("applicationInsightsOption", "none" if parameters else "new")
        if option == "none":
            made.properties["applicationInsights"] = None
        else:
            made.properties["applicationInsights"] = self._related(
                made,
                "Microsoft.insights/components",
                str(made.parameters.get("applicationInsightsName") or "insights"),
                str(made.parameters.get("applicationInsightsResourceGroupName") or group),
            )
        made.tags.update(_tags_of(made.parameters))
        self._cloud.workspaces[name.lower()] = made
        return made

    def add_compute(self, workspace: Workspace, name: str, size: str) -> None:
        """Put a cluster there."""
        path = workspace.resource_id(self._cloud.subscription)
        workspace.computes[name.lower()] = {
            "id": f"{path}/computes/{name}",
            "name": name,
            "type": "Microsoft.MachineLearningServices/workspaces/computes",
            "location": workspace.location,
            "tags": {},
            "properties": {
                "computeType": "AmlCompute",
                "provisioningState": "Succeeded",
                "computeLocation": workspace.location,
                "isAttachedCompute": False,
                "disableLocalAuth": True,
                "properties": {
                    "vmSize": size,
                    "vmPriority": "Dedicated",
                    "osType": "Linux",
                    "scaleSettings": {
                        "minNodeCount": 0,
                        "maxNodeCount": 1,
                        "nodeIdleTimeBeforeScaleDown": "PT120S",
                    },
                },
            },
        }

    def _related(self, workspace: Workspace, kind: str, name: str, group: str = "") -> str:
        scope = f"/subscriptions/{self._cloud.subscription}/resourceGroups/"
        return f"{scope}{group or workspace.group}/providers/{kind}/{name}"

    def _document(self, workspace: Workspace) -> dict[str, Any]:
        path = workspace.resource_id(self._cloud.subscription)
        api = f"{workspace.location}.api.azureml.ms"
        return {
            "id": path,
            "name": workspace.name,
            "type": "Microsoft.MachineLearningServices/workspaces",
            "location": workspace.location,
            "tags": workspace.tags,
            "etag": None,
            "kind": "Default",
            "properties": {
                "friendlyName": workspace.name,
                "description": "",
                "storageAccount": self._related(
                    workspace, "Microsoft.Storage/storageAccounts", workspace.account
                ),
                "keyVault": self._related(workspace, "Microsoft.Keyvault/vaults", "kv"),
                "hbiWorkspace": False,
                "tenantId": TENANT,
                "imageBuildCompute": None,
                "provisioningState": "Succeeded",
                "v1LegacyMode": False,
                "containerRegistry": None,
                "workspaceId": workspace.guid,
                "publicNetworkAccess": "Enabled",
                "discoveryUrl": f"https://{api}/discovery",
                "mlFlowTrackingUri": f"azureml://{api}/mlflow/v1.0{path}",
                **workspace.properties,
            },
            "identity": workspace.identity,
            "sku": {"name": "Basic", "tier": "Basic"},
            "systemData": {
                "createdAt": workspace.created,
                "createdBy": "somebody@example.com",
                "createdByType": "User",
            },
        }

    def _list(self, call: Call) -> Response:
        self._cloud.find_group(call)
        group = call["group"].lower()
        found = [one for one in self._cloud.workspaces.values() if one.group.lower() == group]
        return answer(200, {"value": [self._document(one) for one in found]})

    def _get(self, call: Call) -> Response:
        return answer(200, self._document(self._cloud.find_workspace(call)))

    def _patch(self, call: Call) -> Response:
        workspace = self._cloud.find_workspace(call)
        workspace.tags = {**workspace.tags, **(call.body.get("tags") or {})}
        for name, value in (call.body.get("properties") or {}).items():
            if value is not None:
                workspace.properties[name] = value
        return answer(200, self._document(workspace))

    def _delete(self, call: Call) -> Response:
        workspace = self._cloud.find_workspace(call)
        del self._cloud.workspaces[workspace.name.lower()]
        return answer(200)

    def _submit(self, call: Call) -> Response:
        self._cloud.find_group(call)
        running = self.submitted.get(call["name"].lower())
        if running is not None and running.state == "Running":
            message = (
                f"Unable to edit or replace deployment '{call['name']}': previous deployment is "
                "still active. Please see https://aka.ms/arm-deployment-operations for details."
            )
            raise refuse(409, "DeploymentActive", message)
        properties = call.body["properties"]
        given = {
            name: entry.get("value", entry.get("reference"))
            for name, entry in properties.get("parameters", {}).items()
        }
        defaults = {
            name: entry["defaultValue"]
            for name, entry in properties["template"].get("parameters", {}).items()
            if not isinstance(entry.get("defaultValue"), str) or entry["defaultValue"][:1] != "["
            if "defaultValue" in entry
        }
        made = ArmDeployment(call["name"], call["group"], {**defaults, **given}, call.plan)
        made.template = properties["template"]
        self.submitted[call["name"].lower()] = made
        status = f"{HOST}{call.path}/operationStatuses/{made.id}?api-version=2020-06-01"
        headers = {"Azure-AsyncOperation": status, **QUICK_POLLING}
        return answer(201, self._arm_document(made, call), headers)

    def _find(self, call: Call) -> ArmDeployment:
        found = self.submitted.get(call["name"].lower())
        if found is None:
            message = f"Deployment '{call['name']}' could not be found."
            raise refuse(404, "DeploymentNotFound", message)
        return found

    def settle(self) -> None:
        """End what nobody looks at, as time does."""
        for made in self.submitted.values():
            if time.monotonic() - made.begun > UNWATCHED_S and made.plan.polls is None:
                self._advance(made, polls=2)

    def _advance(self, made: ArmDeployment, polls: int = 1) -> None:
        made.polls += polls
        hold = made.plan.hold
        waiting = hold is not None and not hold.released.is_set()
        if hold is not None:
            hold.reached.set()
        if made.state != "Running" or waiting or made.polls <= (made.plan.polls or 1):
            return
        if made.plan.error:
            made.state = "Failed"
            details = [error_document(**made.plan.error)["error"]]
            made.error = error_document(
                "DeploymentFailed",
                "At least one resource deployment operation failed. Please list deployment "
                "operations for details.",
                details,
            )["error"]
            return
        made.state = "Succeeded"
        if "workspaceName" not in made.parameters:
            return
        name = str(made.parameters["workspaceName"])
        if name.lower() not in self._cloud.workspaces:
            location = str(made.parameters.get("location") or self._cloud.location)
            self.create(name, made.group, location, made.parameters)

    def _arm_document(self, made: ArmDeployment, call: Call) -> dict[str, Any]:
        path = call.path.partition("/operations")[0]
        error = {"error": made.error} if made.error else {}
        return {
            "id": path,
            "name": made.name,
            "type": "Microsoft.Resources/deployments",
            "properties": {
                "mode": "Incremental",
                "provisioningState": made.state,
                "timestamp": now(),
                "duration": "PT1.5S",
                "correlationId": str(uuid.uuid4()),
                "providers": [],
                "dependencies": [],
                **error,
            },
        }

    def _get_submitted(self, call: Call) -> Response:
        return answer(200, self._arm_document(self._find(call), call))

    def _get_status(self, call: Call) -> Response:
        made = self._find(call)
        self._advance(made)
        error = {"error": made.error} if made.error else {}
        return answer(200, {"status": made.state, **error}, QUICK_POLLING)

    def _list_operations(self, call: Call) -> Response:
        made = self._find(call)
        name = str(made.parameters.get("workspaceName"))
        kind = "Microsoft.MachineLearningServices/workspaces"
        target = f"/subscriptions/{call['subscription']}/resourceGroups/{made.group}"
        operation = {
            "id": f"{call.path}/{made.id}",
            "operationId": made.id,
            "properties": {
                "provisioningOperation": "Create",
                "provisioningState": made.state,
                "timestamp": now(),
                "duration": "PT1.5S",
                "trackingId": str(uuid.uuid4()),
                "statusCode": "OK" if made.state == "Succeeded" else "Accepted",
                "targetResource": {
                    "id": f"{target}/providers/{kind}/{name}",
                    "resourceType": kind,
                    "resourceName": name,
                },
            },
        }
        return answer(200, {"value": [operation]})

    def _datastore(self, call: Call, workspace: Workspace, name: str) -> dict[str, Any]:
        path = workspace.resource_id(self._cloud.subscription)
        container = workspace.container if name == "workspaceblobstore" else "azureml"
        return {
            "id": f"{path}/datastores/{name}",
            "name": name,
            "type": "Microsoft.MachineLearningServices/workspaces/datastores",
            "properties": {
                "description": None,
                "tags": None,
                "properties": None,
                "isDefault": name == "workspaceblobstore",
                "credentials": {"credentialsType": "AccountKey"},
                "datastoreType": "AzureBlob",
                "accountName": workspace.account,
                "containerName": container,
                "endpoint": "core.windows.net",
                "protocol": "https",
                "serviceDataAccessAuthIdentity": "WorkspaceSystemAssignedIdentity",
            },
        }

    def _list_datastores(self, call: Call) -> Response:
        workspace = self._cloud.find_workspace(call)
        names = ["workspaceblobstore", "workspaceartifactstore"]
        if call.query.get("isDefault", "").lower() == "true":
            names = names[:1]
        return answer(200, {"value": [self._datastore(call, workspace, one) for one in names]})

    def _get_datastore(self, call: Call) -> Response:
        workspace = self._cloud.find_workspace(call)
        if call["datastore"] not in {"workspaceblobstore", "workspaceartifactstore"}:
            raise refuse(404, "UserError", f"No datastore {call['datastore']} was found.")
        return answer(200, self._datastore(call, workspace, call["datastore"]))

    def _list_secrets(self, call: Call) -> Response:
        workspace = self._cloud.find_workspace(call)
        blob = call["datastore"] == "workspaceblobstore"
        if not blob:
            # The SDK signs the addresses of a job's logs itself, for which it needs the key.
            return answer(200, {"secretsType": "AccountKey", "key": self._cloud.blobs.account_key})
        token = self._cloud.blobs.sign(workspace.container)
        return answer(200, {"secretsType": "Sas", "sasToken": token})

    def _list_computes(self, call: Call) -> Response:
        return answer(200, {"value": list(self._cloud.find_workspace(call).computes.values())})

    def _put_compute(self, call: Call) -> Response:
        workspace = self._cloud.find_workspace(call)
        size = call.body["properties"]["properties"]["vmSize"]
        self.add_compute(workspace, call["compute"], size)
        return answer(200, workspace.computes[call["compute"].lower()])

    def _get_compute(self, call: Call) -> Response:
        found = self._cloud.find_workspace(call).computes.get(call["compute"].lower())
        if found is None:
            raise refuse(404, "ResourceNotFound", f"Compute {call['compute']} was not found.")
        return answer(200, found)


def _tags_of(parameters: dict[str, Any]) -> dict[str, str]:
    tags = parameters.get("tagValues")
    return {str(k): str(v) for k, v in tags.items()} if isinstance(tags, dict) else {}
