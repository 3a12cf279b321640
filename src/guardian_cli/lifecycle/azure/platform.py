"""Azure Machine Learning: implements `lifecycle.platform` for one workspace."""

from __future__ import annotations

import base64
import getpass
import json
import os
import socket
import time
from contextlib import nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from guardian_cli.errors import PlatformError
from guardian_cli.http import (
    DEPLOYMENT_HEADER,
    BearerAuth,
    name_trouble,
    network_errors,
    open_session,
)
from guardian_cli.lifecycle.azure.capacity import Capacity
from guardian_cli.lifecycle.azure.client import SCOPE, AzureClient
from guardian_cli.lifecycle.azure.deployments import AzureDeployments
from guardian_cli.lifecycle.azure.endpoints import OPERATION_TIMEOUT_S, AzureEndpoints
from guardian_cli.lifecycle.azure.jobs import run_training
from guardian_cli.lifecycle.azure.registry import AzureRegistry
from guardian_cli.lifecycle.azure.waiting import wait_for, wait_until
from guardian_cli.lifecycle.azure.workspace import AzureWorkspace
from guardian_cli.lifecycle.platform import (
    DeploymentSpec,
    Endpoint,
    JobOutcome,
    Probe,
    TrainingJob,
    Workspace,
    WorkspaceOptions,
)
from guardian_cli.lifecycle.probe import PROBE_TIMEOUT_S, probe_body, read_answer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from guardian_cli.lifecycle.azure.place import Place
    from guardian_cli.lifecycle.platform import Reporter

# A new key may show a while after its operation.
_KEY_TIMEOUT_S = 30.0
_KEYS_API = "2022-02-01-preview"
_NAMES_IN_TOKENS = ("upn", "unique_name", "preferred_username", "appid", "oid")


class AzurePlatform:
    """Models and endpoints of one workspace. Not for several threads at once."""

    target = "azure"

    def __init__(self, place: Place, reporter: Reporter) -> None:
        self._client = AzureClient(place)
        self._reporter = reporter
        self._workspace = AzureWorkspace(self._client, reporter.note)
        self._endpoints = AzureEndpoints(self._client, reporter.note)
        self._deployments = AzureDeployments(self._client, self._endpoints, reporter.note)
        self._capacity = Capacity(self._client, reporter.warn)
        self.registry = AzureRegistry(self._client)

    @property
    def place(self) -> str:
        """Which workspace."""
        return f"workspace {self._client.place}"

    def who(self) -> str:
        """Who is signed in, where the token tells; else the user and the machine."""
        with self._client.calls("signing in"):
            token = self._client.credential.get_token(SCOPE).token
        return read_name(token) or f"{_user()}@{socket.gethostname()}"

    def lock(self, endpoint: str) -> AbstractContextManager[None]:  # noqa: ARG002 - two machines have no lock in common
        """No lock: an endpoint that is being changed refuses others, and changes are compared."""
        return nullcontext()

    def look_at_workspace(self, options: WorkspaceOptions) -> Workspace:
        """Look, change nothing."""
        return self._workspace.look(options)

    def create_workspace(self, options: WorkspaceOptions) -> Workspace:
        """Make what is missing; nothing twice."""
        self._workspace.create(options)
        return self._workspace.look(options)

    def begin_workspace(self, options: WorkspaceOptions) -> None:
        """Begin what `create_workspace` waits for."""
        self._client.keep_quiet()
        self._workspace.create(options, wait=False)

    def endpoint(self, name: str) -> Endpoint | None:
        """An endpoint with its deployments, or None."""
        return self._endpoints.find(name)

    def create_endpoint(self, name: str, tags: Mapping[str, str]) -> Endpoint:
        """Make an endpoint; it costs nothing before it has a deployment."""
        return self._endpoints.create(name, tags)

    def update_endpoint(
        self,
        name: str,
        *,
        traffic: Mapping[str, int] | None = None,
        tags: Mapping[str, str | None] | None = None,
        expected: Endpoint | None = None,
    ) -> Endpoint:
        """Change traffic and tags, both or neither."""
        return self._endpoints.update(name, traffic, tags, expected)

    def create_deployment(self, endpoint: str, spec: DeploymentSpec, *, timeout_s: float) -> None:
        """Bring a registered version up on an endpoint, without traffic."""
        self._deployments.create(endpoint, spec, timeout_s=timeout_s)

    def begin_deployment(self, endpoint: str, spec: DeploymentSpec) -> None:
        """Begin what `create_deployment` waits for."""
        self._client.keep_quiet()
        self._deployments.begin(endpoint, spec)

    def delete_deployment(self, endpoint: str, name: str) -> None:
        """Remove a deployment that has no traffic."""
        self._endpoints.delete_deployment(endpoint, name)

    def logs(self, endpoint: str, deployment: str, *, lines: int = 200) -> str:
        """The newest lines of a deployment's container, or why there are none."""
        return self._endpoints.logs(endpoint, deployment, lines)

    def key(self, endpoint: str) -> SecretStr:
        """The primary key of the endpoint."""
        return SecretStr(self._endpoints.key(endpoint))

    def rotate_key(self, endpoint: str) -> SecretStr:
        """Replace the primary key. Raises PlatformError when it is the same as before.

        The SDK's own call sends the present key as the value that the key is to have: not used.
        """
        old = self.key(endpoint)
        path = f"{self._client.place.workspace_path}/onlineEndpoints/{endpoint}/regenerateKeys"
        doing, body = "replacing the key", {"keyType": "Primary"}
        poller = self._client.begin("POST", path, _KEYS_API, doing, body)
        with self._client.calls(doing, endpoint):
            what = f"new key of {endpoint}"
            wait_for(poller, what, self._reporter.note, timeout_s=OPERATION_TIMEOUT_S)

        def look() -> SecretStr | None:
            found = self.key(endpoint)
            return None if found == old else found

        new = wait_until(look, timeout_s=_KEY_TIMEOUT_S)
        if new is None:
            raise PlatformError(f"{endpoint} has its old key still", hint="try again in a minute")
        return new

    def probe(self, endpoint: str, deployment: str | None = None) -> Probe:
        """Score one picture through the scoring URI."""
        try:
            found = self._endpoints.find(endpoint)
            if found is None or not found.uri:
                return Probe(problem="it has no scoring URI")
            return probe_uri(found.uri, self.key(endpoint), deployment)
        except PlatformError as error:
            return Probe(problem=str(error))

    def check_quota(self, instance_type: str, instance_count: int) -> None:
        """Raise QuotaError for what does not fit into the subscription."""
        self._capacity.check(self._location, instance_type, instance_count)

    def monthly_cost_usd(self, instance_type: str, instance_count: int) -> float | None:
        """What a deployment costs in a month, with traffic or without."""
        return self._capacity.monthly_cost_usd(self._location, instance_type, instance_count)

    def train(self, job: TrainingJob) -> JobOutcome:
        """Train on a cluster of the workspace."""
        return run_training(self._client, self.registry, job, self._reporter)

    @cached_property
    def _location(self) -> str | None:
        return self._workspace.location()


def probe_uri(uri: str, key: SecretStr, deployment: str | None) -> Probe:
    """Score a picture at a scoring URI. The SDK's own call keeps its headers: not used."""
    session, _ = open_session()
    headers = {"Content-Type": "application/json"}
    if deployment is not None:
        headers[DEPLOYMENT_HEADER] = deployment
    begun = time.perf_counter()
    try:
        with session:
            answer = session.post(
                uri,
                data=probe_body(),
                headers=headers,
                auth=BearerAuth(key.get_secret_value()),
                timeout=PROBE_TIMEOUT_S,
            )
            latency_ms = (time.perf_counter() - begun) * 1000
            return read_answer(answer.status_code, _json_of(answer), latency_ms)
    except network_errors() as error:
        return Probe(problem=f"no answer: {name_trouble(error)}")


def _json_of(answer: Any) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None


def read_name(token: str) -> str | None:
    """Read who a token is for from its claims, None where it tells nothing. Nothing is trusted."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return next((str(claims[name]) for name in _NAMES_IN_TOKENS if claims.get(name)), None)
    except (IndexError, ValueError, TypeError, AttributeError):
        return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
