"""Deployments: the model, the scoring code, the environment they run in; their states and logs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.azure.endpoints import AzureEndpoints, state_of
from guardian_cli.lifecycle.azure.errors import NotFoundError, QuotaError, UnreadableAnswerError
from guardian_cli.lifecycle.platform import (
    DeploymentFailedError,
    DeploymentSpec,
    EndpointBusyError,
    OperationTimeoutError,
)
from guardian_cli.serving.packaging import write_scoring_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

# Microsoft's base image for CPU instances; what is needed on top of it stands below.
BASE_IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:latest"
SERVER = "azureml-inference-server-http==1.5.1"
# Builds of PyTorch for CPUs are a tenth of the size of those that bring CUDA along.
_SERVING_CONDA = ("numpy", "pillow", "safetensors", "pytorch-cpu>=2.5", "torchvision")
_SERVING_PIP = (SERVER, "open_clip_torch>=3.3,<4")
# A client may have several requests under way; by default all but two of them would get a 429.
_REQUESTS_PER_INSTANCE = 4


class AzureDeployments(AzureEndpoints):
    """The endpoints of a workspace, and what runs on them."""

    def create_deployment(self, endpoint: str, spec: DeploymentSpec, *, timeout_s: float) -> None:
        """Make a deployment and wait for it; one that is ready is left as it is.

        Raises DeploymentFailedError with the container's log, EndpointBusyError,
        OperationTimeoutError.
        """
        poller = self._begin(endpoint, spec)
        if poller is None:
            return
        shown: list[str] = []

        def show_new_lines() -> None:
            lines = self.logs(endpoint, spec.name).splitlines()
            # A container that was started anew has a log of its own: shown from its beginning.
            follows = lines[: len(shown)] == shown
            for line in lines[len(shown) :] if follows else lines:
                self._client.reporter.note(f"  | {line}")
            shown[:] = lines

        problem: PlatformError | None = None
        try:
            with self._client.calls("creating the deployment", f"{endpoint}/{spec.name}"):
                self._client.wait(
                    poller, spec.name, timeout_s=timeout_s, on_progress=show_new_lines
                )
        except OperationTimeoutError:
            raise
        except PlatformError as error:
            # What the SDK stumbles over says nothing about the deployment itself.
            problem = None if isinstance(error, UnreadableAnswerError) else error
        # An operation may end well and its deployment not, or the other way round.
        made = self.fetch(endpoint, spec.name)
        if made is None or state_of(made["properties"].get("provisioningState")) == "failed":
            raise DeploymentFailedError(
                str(problem or f"{spec.name} on {endpoint} ended as failed"),
                log=self.logs(endpoint, spec.name),
                hint=problem.hint if isinstance(problem, QuotaError) else "its log is above",
            ) from problem
        if problem is not None:
            raise problem

    def begin_deployment(self, endpoint: str, spec: DeploymentSpec) -> None:
        """Begin what `create_deployment` waits for."""
        self._client.keep_quiet()
        self._begin(endpoint, spec)

    def _begin(self, endpoint: str, spec: DeploymentSpec) -> Any:
        """Begin to make a deployment; return the poller, None for one that is ready already."""
        found = self.endpoint(endpoint)
        old = found.deployment(spec.name) if found else None
        if old is not None and old.state == "ready":
            return None
        # Without a key it could not be probed: better told before it is made than after.
        self.check_uses_keys(endpoint)
        if old is not None and old.state == "updating":
            raise EndpointBusyError(f"{spec.name} is being made")
        if old is not None and not old.traffic:
            # Azure changes a failed deployment only now and then; without traffic it can be new.
            self.delete_deployment(endpoint, spec.name)
        with (
            self._client.calls("creating the deployment", f"{endpoint}/{spec.name}"),
            tempfile.TemporaryDirectory(prefix="guardian-scoring-") as scratch,
        ):
            # The uploaded blobs carry the name of this folder.
            code = Path(scratch) / "scoring"
            code.mkdir()
            write_scoring_folder(code)
            return self._client.ml.online_deployments.begin_create_or_update(
                deployment_entity(endpoint, spec, code), skip_script_validation=True
            )

    def delete_deployment(self, endpoint: str, name: str) -> None:
        """Remove a deployment without traffic; nothing to do when it is not there."""
        with (
            contextlib.suppress(NotFoundError),
            self._client.calls("removing the deployment", f"{endpoint}/{name}"),
        ):
            poller = self._client.ml.online_deployments.begin_delete(
                name=name, endpoint_name=endpoint
            )
            self._client.wait(poller, f"removing {name}")

    def logs(self, endpoint: str, deployment: str, *, lines: int = 200) -> str:
        """The newest lines of a deployment's log, or why there are none."""
        problem = ""
        # The server's; before there is one, that of the container which mounts the model.
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
            # The SDK makes a text of what is not there.
            if text and text.strip() not in {"", "None"}:
                return str(text)
        return problem


def deployment_entity(endpoint: str, spec: DeploymentSpec, code: Path) -> Any:
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
        environment=pinned_environment("guardian-serving", _SERVING_CONDA, _SERVING_PIP),
        instance_type=spec.instance_type,
        instance_count=spec.instance_count,
        tags=dict(spec.tags),
        request_settings=OnlineRequestSettings(
            request_timeout_ms=round(spec.request_timeout_s * 1000),
            max_concurrent_requests_per_instance=_REQUESTS_PER_INSTANCE,
        ),
    )


def pinned_environment(name: str, conda: Sequence[str], pip: Sequence[str]) -> Any:
    """Return an environment whose version is a digest of what is in it.

    The same packages are so the same version, for which Azure builds no second image.
    """
    from azure.ai.ml.entities import Environment

    packages = {
        "name": name,
        "channels": ["conda-forge"],
        "dependencies": ["python=3.11", "pip", *conda, {"pip": list(pip)}],
    }
    content = json.dumps([BASE_IMAGE, packages], sort_keys=True)
    return Environment(
        name=name,
        version=hashlib.sha256(content.encode()).hexdigest()[:12],
        image=BASE_IMAGE,
        conda_file=packages,
        description="Made by guardian",
    )
