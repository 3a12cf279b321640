"""What is in the stand-in: workspaces, assets, endpoints, deployments; tests look and change."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.azure_loopback.messages import now

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.azure_loopback.runners import Runner

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
Document = dict[str, Any]


def system_assigned() -> Document:
    """A new identity as Azure shows it."""
    return {"type": "SystemAssigned", "principalId": str(uuid.uuid4()), "tenantId": TENANT}


def new_key() -> str:
    """A key that opens an endpoint."""
    return secrets.token_urlsafe(48)


# What the service adds to a deployment where nobody says anything.
FILLED_IN = {
    "modelMountPath": None,
    "livenessProbe": None,
    "readinessProbe": None,
    "environmentVariables": {},
    "scaleSettings": {"scaleType": "Default"},
    "appInsightsEnabled": False,
    "egressPublicNetworkAccess": "Enabled",
    "endpointComputeType": "Managed",
    "instanceType": "Standard_DS3_v2",
}
REQUESTS = {"maxQueueWait": "PT0S", "requestTimeout": "PT5S", "maxConcurrentRequestsPerInstance": 1}


def complete(properties: Mapping[str, Any]) -> Document:
    """The properties of a deployment with what the service adds."""
    requests = {**REQUESTS, **(properties.get("requestSettings") or {})}
    return {**FILLED_IN, **properties, "requestSettings": requests}


@dataclass
class Deployment:
    """A managed deployment. `rest` holds its properties, as they were PUT and completed."""

    name: str
    rest: Document
    tags: dict[str, str] = field(default_factory=dict)
    capacity: int = 1
    state: str = "Creating"
    log: str = ""
    storage_log: str = "storage-initializer: model mounted\n"
    runner: Runner | None = None
    location: str = ""
    created: str = field(default_factory=now)
    changed: str = field(default_factory=now)
    requests: int = 0

    @property
    def instance_type(self) -> str:
        """The size of its machines."""
        return str(self.rest.get("instanceType") or "Standard_DS3_v2")

    def read_log(self) -> str:
        """What its container has written so far."""
        return self.log + (self.runner.read_log() if self.runner is not None else "")


@dataclass
class Endpoint:
    """A managed endpoint with its keys."""

    name: str
    location: str
    tags: dict[str, str] = field(default_factory=dict)
    traffic: dict[str, int] = field(default_factory=dict)
    mirror: dict[str, int] = field(default_factory=dict)
    identity: Document = field(default_factory=system_assigned)
    properties: Document = field(default_factory=dict)
    description: str | None = None
    auth: str = "Key"
    public: str = "Enabled"
    state: str = "Creating"
    operation: str = ""
    primary_key: str = field(default_factory=new_key)
    secondary_key: str = field(default_factory=new_key)
    deployments: dict[str, Deployment] = field(default_factory=dict)
    created: str = field(default_factory=now)
    changed: str = field(default_factory=now)

    @property
    def host(self) -> str:
        """Where it is scored."""
        return f"{self.name}.{self.location}.inference.ml.azure.com".lower()

    @property
    def scoring_uri(self) -> str:
        """The address to POST to."""
        return f"https://{self.host}/score"

    def add_deployment(
        self,
        name: str,
        *,
        state: str = "Succeeded",
        tags: dict[str, str] | None = None,
        **rest: Any,
    ) -> Deployment:
        """Somebody else's deployment: it answers with one half for each row."""
        made = Deployment(name, complete(rest), tags or {}, state=state, location=self.location)
        self.deployments[name] = made
        return made


@dataclass
class Workspace:
    """A workspace; `parameters` are those of the ARM template that made it, {} without one."""

    name: str
    group: str
    location: str
    guid: str = field(default_factory=lambda: str(uuid.uuid4()))
    tags: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    properties: Document = field(default_factory=dict)
    identity: Document = field(default_factory=system_assigned)
    created: str = field(default_factory=now)
    # Kind of asset -> name -> version -> the resource as it is answered.
    assets: dict[str, dict[str, dict[str, Document]]] = field(
        default_factory=lambda: {"models": {}, "codes": {}, "environments": {}, "data": {}}
    )
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    computes: dict[str, Document] = field(default_factory=dict)
    jobs: dict[str, Any] = field(default_factory=dict)

    @property
    def account(self) -> str:
        """The storage account."""
        return "st" + self.guid.replace("-", "")[:20]

    @property
    def container(self) -> str:
        """The container of workspaceblobstore."""
        return f"azureml-blobstore-{self.guid}"

    @property
    def blob_host(self) -> str:
        """Where the blobs are."""
        return f"{self.account}.blob.core.windows.net"

    def resource_id(self, subscription: str) -> str:
        """Its ARM id."""
        return (
            f"/subscriptions/{subscription}/resourceGroups/{self.group}/providers/"
            f"Microsoft.MachineLearningServices/workspaces/{self.name}"
        )


@dataclass
class Size:
    """A size of machine with its price and its family."""

    name: str
    family: str
    cores: int
    memory_gb: float
    gpus: int
    usd_an_hour: float


SIZES = {
    size.name.lower(): size
    for size in (
        Size("Standard_DS1_v2", "standardDSv2Family", 1, 3.5, 0, 0.073),
        Size("Standard_DS2_v2", "standardDSv2Family", 2, 7, 0, 0.146),
        Size("Standard_DS3_v2", "standardDSv2Family", 4, 14, 0, 0.293),
        Size("Standard_DS4_v2", "standardDSv2Family", 8, 28, 0, 0.585),
        Size("Standard_F2s_v2", "standardFSv2Family", 2, 4, 0, 0.0846),
        Size("Standard_F4s_v2", "standardFSv2Family", 4, 8, 0, 0.169),
        Size("Standard_F8s_v2", "standardFSv2Family", 8, 16, 0, 0.338),
        Size("Standard_E2s_v3", "standardESv3Family", 2, 16, 0, 0.126),
        Size("Standard_D2as_v4", "standardDASv4Family", 2, 8, 0, 0.096),
        Size("Standard_NC4as_T4_v3", "Standard NCASv3_T4 Family", 4, 28, 1, 0.526),
        Size("Standard_NC6s_v3", "standardNCSv3Family", 6, 112, 1, 3.06),
    )
}
