"""Requests to one workspace: its address, the SDK's clients, operations that take minutes.

Everything goes through `AzureClient`, which keeps the SDK quiet and makes its errors guardian's.
"""

from __future__ import annotations

import contextlib
import io
import logging
import time
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from guardian_cli.errors import ConfigError
from guardian_cli.lifecycle.azure.errors import UnreadableAnswerError, sdk_errors, translate
from guardian_cli.lifecycle.platform import OperationTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from guardian_cli.config import AzureSection
    from guardian_cli.lifecycle.platform import Reporter

T = TypeVar("T")
Json = dict[str, Any]

MANAGEMENT = "https://management.azure.com"
SCOPE = f"{MANAGEMENT}/.default"
# The version that azure-ai-ml uses itself.
WORKSPACE_API = "2024-10-01-preview"
ML_PROVIDER = "providers/Microsoft.MachineLearningServices"
OPERATION_TIMEOUT_S = 1800.0
# How often to ask where Azure does not say so itself.
_POLL_S = 5.0
_RETRIES = 3
# Lines of progress are few: an operation takes minutes, and a log keeps each of them.
_FIRST_LINE_S = 10.0
_LATER_LINES_S = 30.0
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.2, 5.0
# Entered once and left when the process ends.
_QUIET_UNTIL_EXIT = contextlib.ExitStack()
_VARIABLES = {
    "subscription_id": "AZURE_SUBSCRIPTION_ID",
    "resource_group": "AZURE_RESOURCE_GROUP",
    "workspace": "AZURE_ML_WORKSPACE",
}


@dataclass(frozen=True, slots=True)
class WorkspaceAddress:
    """Where a workspace is; `location` is the region that it would be made in."""

    subscription_id: str
    resource_group: str
    workspace: str
    location: str | None = None

    @classmethod
    def from_config(cls, section: AzureSection) -> WorkspaceAddress:
        """Read the address from the configuration. Raises ConfigError for what is missing."""
        named = {name: getattr(section, name) for name in _VARIABLES}
        missing = [name for name, value in named.items() if not value]
        if missing:
            variables = " and ".join(_VARIABLES[name] for name in missing)
            keys = ", ".join(f"azure.{name}" for name in missing)
            raise ConfigError(
                f"the target azure needs {keys}",
                hint=f"set {variables} in the environment, or {keys} in guardian.yaml",
            )
        return cls(**named, location=section.location)

    @property
    def subscription_path(self) -> str:
        """The ARM path of the subscription."""
        return f"/subscriptions/{self.subscription_id}"

    @property
    def group_path(self) -> str:
        """The ARM path of the resource group."""
        return f"{self.subscription_path}/resourceGroups/{self.resource_group}"

    @property
    def workspace_path(self) -> str:
        """The ARM path of the workspace."""
        return f"{self.group_path}/{ML_PROVIDER}/workspaces/{self.workspace}"

    def __str__(self) -> str:
        return f"{self.workspace} in {self.resource_group}"


class AzureClient:
    """One workspace as the SDK sees it; `reporter` hears how long operations take.

    The SDK's clients are made when they are first needed: to import azure-ai-ml alone takes
    seconds. Not for several threads at once.
    """

    def __init__(self, address: WorkspaceAddress, reporter: Reporter) -> None:
        self.address = address
        self.reporter = reporter

    @cached_property
    def credential(self) -> Any:
        """Whoever is signed in: environment, workload or managed identity, `az login`, …"""
        from azure.identity import DefaultAzureCredential

        return DefaultAzureCredential()

    @cached_property
    def ml(self) -> Any:
        """The MLClient of azure-ai-ml, for what takes an upload or an entity."""
        from azure.ai.ml import MLClient

        return MLClient(
            self.credential,
            self.address.subscription_id,
            self.address.resource_group,
            self.address.workspace,
            show_progress=False,
            enable_telemetry=False,
        )

    @cached_property
    def _arm(self) -> Any:
        """A client of Azure Resource Manager itself, for what azure-ai-ml cannot ask."""
        from azure.core.pipeline.policies import RequestIdPolicy, RetryPolicy
        from azure.mgmt.core import ARMPipelineClient
        from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy

        # In this order all attempts have one request id, and each is signed anew.
        policies = [
            RequestIdPolicy(),
            RetryPolicy(retry_total=_RETRIES, retry_backoff_factor=0.3),
            ARMChallengeAuthenticationPolicy(self.credential, SCOPE),
        ]
        return ARMPipelineClient(base_url=MANAGEMENT, policies=policies)

    @contextlib.contextmanager
    def calls(self, doing: str, resource: str | None = None) -> Iterator[None]:
        """Keep the SDK quiet, and raise its errors as PlatformError; `doing` starts the message."""
        with quiet_sdk():
            try:
                yield
            except sdk_errors() as error:
                raise translate(error, doing, resource or str(self.address)) from error

    def keep_quiet(self) -> None:
        """Silence the SDK until the process ends: an operation that was left may still print."""
        _QUIET_UNTIL_EXIT.enter_context(quiet_sdk())

    def send(
        self, method: str, path: str, api_version: str, doing: str, body: Json | None = None
    ) -> Json:
        """Send a request to an ARM path; return its JSON, {} for none. Raises PlatformError."""
        with self.calls(doing, path):
            return _read_json(self._exchange(method, path, {"api-version": api_version}, body))

    def list(
        self, path: str, api_version: str, doing: str, query: Mapping[str, str] | None = None
    ) -> Iterator[Json]:
        """GET all pages of a list. Raises PlatformError, also for an answer that is no list."""
        address, params = path, {"api-version": api_version, **(query or {})}
        while address:
            with self.calls(doing, path):
                page = _read_json(self._exchange("GET", address, params))
            if "value" not in page:
                raise UnreadableAnswerError(doing, "it is no list")
            yield from (one for one in page["value"] or () if one)
            address, params = page.get("nextLink") or "", {}
            # The token is for Azure Resource Manager, whatever address an answer gives.
            if address and not is_management(address):
                raise UnreadableAnswerError(doing, "its next page is said to be somewhere else")

    def begin(self, method: str, path: str, api_version: str, body: Json | None = None) -> Any:
        """Send a request that begins an operation; return its poller. For use inside `calls`."""
        from azure.core.polling import LROPoller
        from azure.mgmt.core.polling.arm_polling import ARMPolling

        begun = self._exchange(method, path, {"api-version": api_version}, body)
        return LROPoller(self._arm, begun, lambda ended: ended, ARMPolling(_POLL_S))

    def wait(
        self,
        poller: Any,
        what: str,
        *,
        timeout_s: float = OPERATION_TIMEOUT_S,
        on_progress: Callable[[], None] | None = None,
    ) -> None:
        """Wait until an operation has ended; report its state now and then. For use inside `calls`.

        `what` starts each line of progress, and `on_progress` is called after each.
        Raises OperationTimeoutError, and the SDK's error for an operation that ended badly.
        """
        begun = time.monotonic()
        next_line_s = _FIRST_LINE_S
        while not poller.done():
            elapsed_s = time.monotonic() - begun
            if elapsed_s >= timeout_s:
                raise OperationTimeoutError(
                    f"{what}: not done after {timeout_s:g} s; it goes on at Azure",
                    hint="run the same command again: it waits for what is under way",
                )
            poller.wait(min(next_line_s, timeout_s) - elapsed_s)
            elapsed_s = time.monotonic() - begun
            if not poller.done() and elapsed_s >= next_line_s:
                minutes, seconds = divmod(round(elapsed_s), 60)
                taken = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
                self.reporter.note(f"{what}: {str(poller.status()).lower()}, {taken}")
                next_line_s = elapsed_s + _LATER_LINES_S
                if on_progress is not None:
                    on_progress()
        # Only this raises what the operation ended with.
        poller.result()

    def _exchange(
        self, method: str, address: str, params: Mapping[str, str], body: Json | None = None
    ) -> Any:
        """Send a request to an ARM path, or to a whole address; return the pipeline's response."""
        from azure.core.rest import HttpRequest

        url = f"{MANAGEMENT}{address}" if address.startswith("/") else address
        request = HttpRequest(method, url, params=params, json=body)
        found = self._arm.send_request(request, _return_pipeline_response=True)
        found.http_response.raise_for_status()
        return found


def _read_json(pipeline_response: Any) -> Json:
    """Return the object in a response, {} for none. Raises DecodeError for anything else."""
    from azure.core.exceptions import DecodeError

    response = pipeline_response.http_response
    try:
        found = response.json() if response.content else None
    except ValueError:
        found = "no JSON"
    if found is not None and not isinstance(found, dict):
        raise DecodeError("the answer is no JSON object")
    return found or {}


def wait_until(read: Callable[[], T], good: Callable[[T], bool], *, timeout_s: float) -> T | None:
    """Read again and again, in growing pauses, until it is good; None when the time is over.

    For what shows only a while after its operation has ended, or whose operation Azure did not
    name.
    """
    until = time.monotonic() + timeout_s
    pause_s = _FIRST_PAUSE_S
    while True:
        found = read()
        if good(found):
            return found
        left_s = until - time.monotonic()
        if left_s <= 0:
            return None
        time.sleep(min(pause_s, left_s))
        pause_s = min(2 * pause_s, _MAX_PAUSE_S)


def is_management(url: str) -> bool:
    """Whether a URL is Azure Resource Manager's own; it writes its port out at times."""
    try:
        parts = urlsplit(url)
        origin = (parts.scheme, parts.hostname, parts.port or 443)
    except ValueError:
        return False
    return origin == ("https", urlsplit(MANAGEMENT).hostname, 443)


@contextlib.contextmanager
def quiet_sdk() -> Iterator[None]:
    """Let the SDK write nothing: dots on stdout, warnings, log lines, progress bars."""
    nowhere = io.StringIO()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        warnings.simplefilter("ignore")
        # The SDK gives levels and handlers to loggers of its own: only this reaches them all.
        before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)
