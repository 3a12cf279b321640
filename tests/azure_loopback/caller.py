"""Plain HTTPS requests through the proxy of a stand-in, without an SDK: for quick tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from tests.azure_loopback.azure import LoopbackAzure

VERSION = "2023-04-01-preview"
OLD_VERSION = "2022-02-01-preview"


class Caller:
    """A signed-in client; a context manager. `ws` is the path of the workspace."""

    def __init__(self, azure: LoopbackAzure) -> None:
        environment = azure.environment()
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.proxies = {"https": environment["HTTPS_PROXY"]}
        self._session.verify = environment["REQUESTS_CA_BUNDLE"]
        self.group = f"/subscriptions/{azure.subscription_id}/resourceGroups/{azure.resource_group}"
        learning = "/providers/Microsoft.MachineLearningServices"
        self.ws = f"{self.group}{learning}/workspaces/{azure.workspace}"
        self.place = f"/subscriptions/{azure.subscription_id}{learning}/locations/{azure.location}"
        token = self._session.get(
            environment["IDENTITY_ENDPOINT"],
            params={"resource": "https://management.azure.com/"},
            headers={"X-IDENTITY-HEADER": environment["IDENTITY_HEADER"]},
        )
        self.token = token.json()["access_token"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._session.close()

    def send(self, method: str, address: str, **more: Any) -> requests.Response:
        """A request as it is, without a token."""
        return self._session.request(method, address, timeout=30, **more)

    def arm(
        self, method: str, path: str, body: Any = None, version: str = VERSION, **query: str
    ) -> requests.Response:
        """A request to ARM."""
        return self.send(
            method,
            f"https://management.azure.com{path}",
            json=body,
            params={"api-version": version, **query},
            headers={"Authorization": f"Bearer {self.token}"},
        )

    def put_endpoint(
        self,
        name: str,
        *,
        traffic: Mapping[str, int] | None = None,
        tags: Mapping[str, str] | None = None,
        **more: Any,
    ) -> requests.Response:
        """PUT the whole of an endpoint."""
        properties = {"authMode": "Key", "traffic": traffic or {}, "mirrorTraffic": {}, **more}
        body = {
            "location": "eastus2",
            "identity": {"type": "SystemAssigned"},
            "tags": tags or {},
            "properties": {"properties": {}, **properties},
        }
        return self.arm("PUT", f"{self.ws}/onlineEndpoints/{name}", body, OLD_VERSION)

    def get_endpoint(self, name: str) -> requests.Response:
        """GET an endpoint."""
        return self.arm("GET", f"{self.ws}/onlineEndpoints/{name}", None, OLD_VERSION)

    def put_deployment(
        self, endpoint: str, name: str, *, capacity: int = 1, **properties: Any
    ) -> requests.Response:
        """PUT a deployment, which has no code unless `properties` say so."""
        given = {"endpointComputeType": "Managed", "instanceType": "Standard_DS3_v2", **properties}
        body = {
            "location": "eastus2",
            "properties": given,
            "sku": {"name": "Default", "capacity": capacity},
        }
        return self.arm("PUT", f"{self.ws}/onlineEndpoints/{endpoint}/deployments/{name}", body)

    def follow(self, begun: requests.Response) -> dict[str, Any]:
        """Look at the status of an operation until it ends."""
        address = begun.headers["Azure-AsyncOperation"]
        for _ in range(1000):
            got = self.send("GET", address, headers={"Authorization": f"Bearer {self.token}"})
            document: dict[str, Any] = got.json()
            if document["status"] not in {"Updating", "Running"}:
                return document
        raise AssertionError(f"{address} never ended")

    def score(
        self, address: str, key: str, body: Any, deployment: str | None = None
    ) -> requests.Response:
        """POST to a scoring URI."""
        headers = {"Authorization": f"Bearer {key}"}
        if deployment is not None:
            headers["azureml-model-deployment"] = deployment
        return self.send("POST", address, json=body, headers=headers)
