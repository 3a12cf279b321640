"""The SDK's clients of one workspace, made when they are first needed, quiet, with our errors."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.azure.failures import sdk_errors, translate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from guardian_cli.lifecycle.azure.place import Place

MANAGEMENT = "https://management.azure.com"
# The version that azure-ai-ml uses itself.
WORKSPACE_API = "2024-10-01-preview"
# Where Azure does not say itself when to look again.
POLL_S = 5.0
_RETRIES = 3
_LEFT = contextlib.ExitStack()
SCOPE = f"{MANAGEMENT}/.default"


class AzureClient:
    """One workspace, as the SDK sees it. Not for several threads at once."""

    def __init__(self, place: Place) -> None:
        self.place = place

    @cached_property
    def credential(self) -> Any:
        """Whoever is signed in: environment, workload or managed identity, az login, …"""
        from azure.identity import DefaultAzureCredential

        return DefaultAzureCredential()

    @cached_property
    def ml(self) -> Any:
        """The MLClient of azure-ai-ml."""
        from azure.ai.ml import MLClient

        return MLClient(
            self.credential,
            self.place.subscription_id,
            self.place.resource_group,
            self.place.workspace,
            show_progress=False,
            enable_telemetry=False,
        )

    @cached_property
    def _arm(self) -> Any:
        """Azure Resource Manager itself, for what azure-ai-ml does not ask."""
        from azure.core.pipeline.policies import RequestIdPolicy, RetryPolicy
        from azure.mgmt.core import ARMPipelineClient
        from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy

        signed = ARMChallengeAuthenticationPolicy(self.credential, SCOPE)
        retry = RetryPolicy(retry_total=_RETRIES, retry_backoff_factor=0.3)
        policies = [RequestIdPolicy(), retry, signed]
        return ARMPipelineClient(base_url=MANAGEMENT, policies=policies)

    @contextlib.contextmanager
    def calls(self, doing: str, resource: str | None = None) -> Iterator[None]:
        """Keep the SDK quiet, and make its errors ours."""
        with quiet_sdk():
            try:
                yield
            except sdk_errors() as error:
                raise translate(error, doing, resource or str(self.place)) from error

    def keep_quiet(self) -> None:
        """Nothing of the SDK is heard any more: an operation that was left may still print.

        Until the process ends, and not only for as long as somebody holds this client.
        """
        _LEFT.enter_context(quiet_sdk())

    def get(self, path: str, api_version: str, doing: str) -> Any:
        """GET an ARM path; the JSON object that it answers. Raises PlatformError."""
        return self.send("GET", path, api_version, doing) or {}

    def list(
        self, path: str, api_version: str, doing: str, query: Mapping[str, str] | None = None
    ) -> Iterator[Any]:
        """GET all pages of a list. Raises PlatformError."""
        answer = self.send("GET", path, api_version, doing, query=query)
        while True:
            yield from values_of(answer, doing)
            address = answer.get("nextLink")
            if not address:
                return
            answer = self._next_page(address, doing)

    def _next_page(self, address: str, doing: str) -> Any:
        from azure.core.rest import HttpRequest

        # The token is for Azure Resource Manager, whatever address an answer gives.
        if not is_management(address):
            raise unreadable(doing, "its next page is said to be somewhere else")
        with self.calls(doing):
            return self._json_of(self._arm.send_request(HttpRequest("GET", address)))

    def send(
        self,
        method: str,
        path: str,
        api_version: str,
        doing: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """Send a request to an ARM path; the JSON that it answers. Raises PlatformError."""
        with self.calls(doing, path):
            request = self._request(method, path, api_version, body, query)
            return self._json_of(self._arm.send_request(request))

    def begin(
        self,
        method: str,
        path: str,
        api_version: str,
        doing: str,
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        """Send a request that begins an operation; its poller. Raises PlatformError."""
        with self.calls(doing, path):
            from azure.core.polling import LROPoller
            from azure.mgmt.core.polling.arm_polling import ARMPolling

            begun = self._arm.send_request(
                self._request(method, path, api_version, body), _return_pipeline_response=True
            )
            begun.http_response.raise_for_status()
            return LROPoller(self._arm, begun, lambda ended: ended, ARMPolling(POLL_S))

    def _json_of(self, response: Any) -> Any:
        """Raises HttpResponseError for what is no good answer, or no JSON object."""
        from azure.core.exceptions import DecodeError

        response.raise_for_status()
        try:
            found = response.json() if response.content else None
        except ValueError:
            found = "no JSON"
        if found is not None and not isinstance(found, dict):
            raise DecodeError("the answer is no JSON object")
        return found

    def _request(
        self,
        method: str,
        path: str,
        api_version: str,
        body: Mapping[str, Any] | None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        from azure.core.rest import HttpRequest

        params = {"api-version": api_version, **(query or {})}
        return HttpRequest(method, f"{MANAGEMENT}{path}", params=params, json=body)


def is_management(address: str) -> bool:
    """Whether an address is Azure Resource Manager's own; it writes its port out at times."""
    try:
        parts = urlsplit(address)
        place = (parts.scheme, parts.hostname, parts.port or 443)
    except ValueError:
        return False
    return place == ("https", urlsplit(MANAGEMENT).hostname, 443)


def values_of(answer: Any, doing: str) -> list[Any]:
    """Return the elements of a list. Raises PlatformError for what is none: it is not empty."""
    if not isinstance(answer, dict) or "value" not in answer:
        raise unreadable(doing, "it is no list")
    return [one for one in answer["value"] or () if one]


def unreadable(doing: str, why: str) -> PlatformError:
    """Return the error for an answer that makes no sense."""
    return PlatformError(
        f"{doing}: an answer of Azure could not be read: {why}",
        hint="run the same command again: it goes on where it stopped",
    )


@contextlib.contextmanager
def quiet_sdk() -> Iterator[None]:
    """No dots on stdout, no warnings of experimental classes, no log lines, no bars."""
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
