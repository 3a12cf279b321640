"""A deployment on Azure: the model, the scoring code, the environment they run in."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardian_cli.lifecycle.azure.environments import serving_environment
from guardian_cli.lifecycle.azure.failures import (
    QuotaError,
    is_unreadable,
    sdk_errors,
    translate,
)
from guardian_cli.lifecycle.azure.waiting import wait_for
from guardian_cli.lifecycle.platform import (
    DeploymentFailedError,
    DeploymentSpec,
    EndpointBusyError,
)
from guardian_cli.serving.packaging import write_scoring_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardian_cli.errors import PlatformError
    from guardian_cli.lifecycle.azure.client import AzureClient
    from guardian_cli.lifecycle.azure.endpoints import AzureEndpoints

# A client may have several requests under way; by default all but two of them would get a 429.
REQUESTS_PER_INSTANCE = 4
LOG_LINES = 200


class AzureDeployments:
    """Makes deployments on the endpoints of a workspace."""

    def __init__(
        self, client: AzureClient, endpoints: AzureEndpoints, tell: Callable[[str], None]
    ) -> None:
        self._client = client
        self._endpoints = endpoints
        self._tell = tell

    def create(self, endpoint: str, spec: DeploymentSpec, *, timeout_s: float) -> None:
        """Make a deployment and wait for it; one that is ready is left as it is.

        Raises DeploymentFailedError with the container's log, EndpointBusyError,
        OperationTimeoutError.
        """
        seen: list[str] = []

        def look() -> None:
            self._tell_new_lines(self._endpoints.logs(endpoint, spec.name, LOG_LINES), seen)

        poller = self._begin(endpoint, spec)
        if poller is None:
            return
        with self._client.calls("creating the deployment", f"{endpoint}/{spec.name}"):
            try:
                wait_for(poller, spec.name, self._tell, timeout_s=timeout_s, look=look)
            except sdk_errors() as error:
                if not is_unreadable(error):
                    raise self._failure(endpoint, spec.name, error) from error
        if self._endpoints.deployment_state(endpoint, spec.name) == "failed":
            raise self._failure(endpoint, spec.name, None)

    def begin(self, endpoint: str, spec: DeploymentSpec) -> None:
        """Begin what `create` waits for."""
        self._begin(endpoint, spec)

    def _begin(self, endpoint: str, spec: DeploymentSpec) -> Any:
        found = self._endpoints.find(endpoint)
        old = found.deployment(spec.name) if found else None
        if old is not None and old.state == "ready":
            return None
        # Without a key it could not be probed: better told before it is made than after.
        self._endpoints.check_auth(endpoint)
        if old is not None and old.state == "updating":
            raise EndpointBusyError(f"{spec.name} is being made")
        if old is not None and not old.traffic:
            # Azure changes a failed deployment only now and then; without traffic it can be new.
            self._endpoints.delete_deployment(endpoint, spec.name)
        with self._client.calls("creating the deployment", f"{endpoint}/{spec.name}"):
            return self._send(endpoint, spec)

    def _send(self, endpoint: str, spec: DeploymentSpec) -> Any:
        with tempfile.TemporaryDirectory(prefix="guardian-scoring-") as scratch:
            code = Path(scratch) / "scoring"
            code.mkdir()
            write_scoring_folder(code)
            return self._client.ml.online_deployments.begin_create_or_update(
                describe(endpoint, spec, code), skip_script_validation=True
            )

    def _failure(self, endpoint: str, name: str, error: Exception | None) -> PlatformError:
        """A deployment that ended as failed, or an operation that could not be followed."""
        what = f"{endpoint}/{name}"
        told = translate(error, "creating the deployment", what) if error else None
        state = self._endpoints.deployment_state(endpoint, name)
        if told is not None and state != "failed":
            return told
        reason = str(told) if told else f"{name} on {endpoint} ended as failed"
        hint = told.hint if isinstance(told, QuotaError) else "its log is above"
        log = self._endpoints.logs(endpoint, name, LOG_LINES)
        return DeploymentFailedError(reason, log=log, hint=hint)

    def _tell_new_lines(self, log: str, seen: list[str]) -> None:
        lines = log.splitlines()
        fresh = lines[len(seen) :] if lines[: len(seen)] == seen else lines
        for line in fresh:
            self._tell(f"  | {line}")
        seen[:] = lines


def describe(endpoint: str, spec: DeploymentSpec, code: Path) -> Any:
    """Return the SDK's entity of a deployment; `code` is the folder with score.py."""
    from azure.ai.ml.entities import (
        CodeConfiguration,
        ManagedOnlineDeployment,
        OnlineRequestSettings,
    )

    return ManagedOnlineDeployment(
        name=spec.name,
        endpoint_name=endpoint,
        model=f"{spec.model}:{spec.version}",
        code_configuration=CodeConfiguration(code=str(code), scoring_script="score.py"),
        environment=serving_environment(),
        instance_type=spec.instance_type,
        instance_count=spec.instance_count,
        tags=dict(spec.tags),
        request_settings=OnlineRequestSettings(
            request_timeout_ms=round(spec.request_timeout_s * 1000),
            max_concurrent_requests_per_instance=REQUESTS_PER_INSTANCE,
        ),
    )
