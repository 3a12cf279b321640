"""Azure Machine Learning: implements `lifecycle.platform` for one workspace."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import PlatformError
from guardian_cli.http import (
    DEPLOYMENT_HEADER,
    BearerAuth,
    name_trouble,
    network_errors,
    open_session,
)
from guardian_cli.lifecycle.azure.capacity import PRICES, Capacity
from guardian_cli.lifecycle.azure.client import SCOPE, AzureClient, WorkspaceAddress
from guardian_cli.lifecycle.azure.deployments import AzureDeployments
from guardian_cli.lifecycle.azure.jobs import run_training
from guardian_cli.lifecycle.azure.registry import AzureRegistry
from guardian_cli.lifecycle.azure.workspace import AzureWorkspace
from guardian_cli.lifecycle.platform import (
    JobOutcome,
    Probe,
    TrainingJob,
    Workspace,
    WorkspaceOptions,
)
from guardian_cli.lifecycle.probe import PROBE_TIMEOUT_S, probe_body, read_answer
from guardian_cli.settings import user_and_machine

if TYPE_CHECKING:
    from guardian_cli.lifecycle.cost import PriceList
    from guardian_cli.lifecycle.platform import Reporter

_NAMES_IN_TOKENS = ("upn", "unique_name", "preferred_username", "appid", "oid")


class AzurePlatform(AzureDeployments):
    """Models and endpoints of one workspace. Not for several threads at once.

    What is done to endpoints and deployments is in the classes that this one builds on.
    """

    target = "azure"

    def __init__(self, address: WorkspaceAddress, reporter: Reporter) -> None:
        super().__init__(AzureClient(address, reporter))
        self._workspace = AzureWorkspace(self._client)
        self._capacity = Capacity(self._client)
        self.registry = AzureRegistry(self._client)

    @property
    def place(self) -> str:
        """Which workspace."""
        return f"workspace {self._client.address}"

    def who(self) -> str:
        """Who is signed in, where the token tells; else the user and the machine."""
        with self._client.calls("signing in"):
            token = self._client.credential.get_token(SCOPE).token
        # Not every token is a JWT. The claims are for the history only: nothing is trusted.
        with contextlib.suppress(IndexError, ValueError, AttributeError):
            payload = token.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            for name in _NAMES_IN_TOKENS:
                if claims.get(name):
                    return str(claims[name])
        return user_and_machine()

    def lock(self, endpoint: str) -> contextlib.AbstractContextManager[None]:  # noqa: ARG002 - two machines have no lock in common
        """No lock: an endpoint that is being changed refuses others, and changes are compared."""
        return contextlib.nullcontext()

    def look_at_workspace(self, options: WorkspaceOptions) -> Workspace:
        """Return what there is, change nothing."""
        return self._workspace.inspect(options)

    def create_workspace(self, options: WorkspaceOptions) -> Workspace:
        """Make what is missing; nothing twice."""
        self._workspace.create(options)
        return self._workspace.inspect(options)

    def begin_workspace(self, options: WorkspaceOptions) -> None:
        """Begin what `create_workspace` waits for."""
        self._client.keep_quiet()
        self._workspace.create(options, wait=False)

    def probe(self, endpoint: str, deployment: str | None = None) -> Probe:
        """Score one picture through the scoring URI."""
        try:
            found = self.endpoint(endpoint)
            if found is None or not found.uri:
                return Probe(problem="it has no scoring URI")
            key = self.key(endpoint).get_secret_value()
        except PlatformError as error:
            return Probe(problem=str(error))
        headers = {"Content-Type": "application/json"}
        if deployment is not None:
            headers[DEPLOYMENT_HEADER] = deployment
        # Not the SDK's `invoke`: it keeps the headers of one call for all that follow.
        session, _ = open_session()
        begun = time.perf_counter()
        try:
            with session:
                response = session.post(
                    found.uri,
                    data=probe_body(),
                    headers=headers,
                    auth=BearerAuth(key),
                    timeout=PROBE_TIMEOUT_S,
                )
        except network_errors() as error:
            return Probe(problem=f"no answer: {name_trouble(error)}")
        latency_ms = (time.perf_counter() - begun) * 1000
        answer: Any = None
        with contextlib.suppress(ValueError):
            answer = response.json()
        return read_answer(response.status_code, answer, latency_ms)

    def check_quota(self, instance_type: str, instance_count: int) -> None:
        """Raise QuotaError for what does not fit into the subscription."""
        self._capacity.check(self._location, instance_type, instance_count)

    def monthly_cost_usd(self, instance_type: str, instance_count: int) -> float | None:
        """What a deployment costs in a month, with traffic or without."""
        return self._capacity.monthly_cost_usd(self._location, instance_type, instance_count)

    def price_list(self) -> PriceList:
        """The prices that ship with guardian."""
        return PRICES

    def train(self, job: TrainingJob) -> JobOutcome:
        """Train on a cluster of the workspace."""
        return run_training(self._client, self.registry, job)

    @cached_property
    def _location(self) -> str | None:
        return self._workspace.location()
