"""The custom models that the settings have an address for, as detectors."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from guardian_cli.detectors.base import Absent, DetectorInfo, DetectorSpec
from guardian_cli.detectors.endpoint.detector import SHORT_SIDE_PX, EndpointDetector
from guardian_cli.detectors.endpoint.protocol import is_deployment_name
from guardian_cli.errors import UsageError
from guardian_cli.settings import environment_name
from guardian_cli.urls import mask_url

if TYPE_CHECKING:
    from guardian_cli.detectors.base import DetectorOptions
    from guardian_cli.settings import EndpointSetting, Settings


def endpoint_specs(settings: Settings, options: DetectorOptions) -> list[DetectorSpec | Absent]:
    """A detector for each category that has an endpoint.

    Raises UsageError for a name that no deployment can have.
    """
    deployment = options.deployment
    if deployment is not None and not is_deployment_name(deployment):
        raise UsageError(f"--deployment {deployment}: no deployment has such a name")
    specs: list[DetectorSpec | Absent] = []
    for category, endpoint in settings.endpoints.items():
        model = mask_url(endpoint.uri) if endpoint.uri else None
        info = DetectorInfo("endpoint", category, model)
        if endpoint.uri is None:
            specs.append(Absent(info, "off", "switched off by an empty value", (category,)))
        elif options.offline or options.no_endpoints:
            reason = "--offline" if options.offline else "--no-endpoints"
            specs.append(Absent(info, "off", reason, (category,)))
        else:
            load = partial(_load, category, endpoint, deployment)
            specs.append(DetectorSpec(info, (category,), SHORT_SIDE_PX, load))
    return specs


def _load(category: str, endpoint: EndpointSetting, deployment: str | None) -> EndpointDetector:
    assert endpoint.uri is not None  # noqa: S101 - who is switched off is not asked
    try:
        return EndpointDetector(
            category,
            endpoint.uri,
            endpoint.key.get_secret_value() if endpoint.key else None,
            deployment=deployment,
            named_by=endpoint.named_by,
            key_named_by=f"{environment_name(category)}_KEY or MODEL_ENDPOINT_KEY",
        )
    except UsageError as error:
        raise UsageError(f"{endpoint.named_by}: {error}", hint=error.hint) from error
