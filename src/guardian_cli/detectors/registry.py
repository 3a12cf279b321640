"""Which detectors sit on the panel of a run, built from the settings, and which do not and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guardian_cli.detectors.base import Absent, Detector, DetectorInfo
from guardian_cli.detectors.clip import Prompts, load_clip
from guardian_cli.detectors.clip.architecture import picture_side_px
from guardian_cli.detectors.endpoint import EndpointDetector
from guardian_cli.detectors.endpoint.detector import SHORT_SIDE_PX as ENDPOINT_SIDE_PX
from guardian_cli.detectors.endpoint.protocol import is_deployment_name
from guardian_cli.detectors.nudenet import SIDE_PX as NUDENET_SIDE_PX
from guardian_cli.detectors.nudenet import load_nudenet
from guardian_cli.errors import MissingError, UsageError
from guardian_cli.settings import environment_name
from guardian_cli.urls import mask_url

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from guardian_cli.settings import Settings

OFFLINE_HINT = 'pip install "guardian-cli[offline]" for a detector that needs no download'


@dataclass(frozen=True, slots=True)
class PanelOptions:
    """What the command line says about detectors."""

    no_endpoints: bool = False
    offline: bool = False
    deployment: str | None = None
    device: str = "auto"
    precision: str = "auto"
    model_config: Path | None = None
    on_download: Callable[[str], None] | None = None


@dataclass(slots=True)
class Panel:
    """The detectors of a run and the ones that are missing from it."""

    detectors: list[Detector] = field(default_factory=list)
    absent: list[Absent] = field(default_factory=list)
    offline: bool = False

    @property
    def short_side_px(self) -> int:
        """The shorter side of frames that serves every detector, in pixels."""
        return max((detector.short_side_px for detector in self.detectors), default=336)


def build_panel(settings: Settings, options: PanelOptions) -> Panel:
    """Load what the settings name.

    Raises UsageError for a model that can't be what was meant, MissingError when nothing is left
    that could score a frame.
    """
    panel = Panel(offline=options.offline)
    wanted = settings.config.scan.detectors
    if "clip" in wanted:
        _add_clip(panel, settings, options)
    if "nudenet" in wanted or any(gone.info.name == "clip" for gone in panel.absent):
        _add_nudenet(panel, settings, named="nudenet" in wanted)
    if "endpoint" in wanted:
        _add_endpoints(panel, settings, options)
    _check_deployment(panel, options.deployment)
    missing = [gone for gone in panel.absent if gone.status == "unavailable"]
    if missing and not panel.detectors:
        reasons = "; ".join(f"{gone.info.name}: {gone.reason}" for gone in missing)
        hints = [*filter(None, [gone.hint for gone in missing]), OFFLINE_HINT]
        raise MissingError(f"nothing can score a frame ({reasons})", hint="; or ".join(hints))
    return panel


def expected_short_side_px(settings: Settings, options: PanelOptions) -> int | None:
    """What `build_panel` will say of its frames' size, if all goes well; None: loading must tell.

    Known at once, so that decoding can begin while models load.
    """
    config, sides_px = settings.config, [0]
    if "clip" in config.scan.detectors and _prompts(settings):
        clip_px = picture_side_px(config.clip.model, options.model_config)
        if clip_px is None:
            return None
        sides_px.append(clip_px)
    if "nudenet" in config.scan.detectors and "nsfw" in config.categories:
        sides_px.append(NUDENET_SIDE_PX)
    if "endpoint" in config.scan.detectors and not (options.offline or options.no_endpoints):
        sides_px += [ENDPOINT_SIDE_PX for one in settings.endpoints.values() if one.uri is not None]
    return max(sides_px) or None


def _check_deployment(panel: Panel, deployment: str | None) -> None:
    if deployment is None:
        return
    if not is_deployment_name(deployment):
        raise UsageError(f"--deployment {deployment}: no deployment has such a name")
    if not any(detector.info.name == "endpoint" for detector in panel.detectors):
        raise UsageError(
            f"--deployment {deployment}: no endpoint is in use",
            hint="guardian endpoints --write-env",
        )


def _prompts(settings: Settings) -> dict[str, Prompts]:
    return {
        name: Prompts(category.prompts.positive, category.prompts.negative)
        for name, category in settings.config.categories.items()
        if category.prompts is not None
    }


def _add_clip(panel: Panel, settings: Settings, options: PanelOptions) -> None:
    config = settings.config
    prompts = _prompts(settings)
    if not prompts:
        return
    model = f"{config.clip.model}/{config.clip.pretrained.rsplit('/', 1)[-1]}"
    try:
        panel.detectors.append(
            load_clip(
                config.clip.model,
                config.clip.pretrained,
                prompts,
                model_config=options.model_config,
                device=options.device,
                precision=options.precision,
                offline=options.offline or settings.hub_offline,
                on_download=options.on_download,
            )
        )
    except MissingError as error:
        info = DetectorInfo("clip", None, model)
        absent = Absent(info, "unavailable", str(error), tuple(prompts), error.hint)
        panel.absent.append(absent)


def _add_nudenet(panel: Panel, settings: Settings, *, named: bool) -> None:
    if "nsfw" not in settings.config.categories:
        return
    try:
        panel.detectors.append(load_nudenet())
    except MissingError as error:
        if named:
            raise
        info = DetectorInfo("nudenet", "nsfw", None)
        panel.absent.append(Absent(info, "unavailable", str(error), ("nsfw",)))


def _add_endpoints(panel: Panel, settings: Settings, options: PanelOptions) -> None:
    for category, endpoint in settings.endpoints.items():
        if endpoint.uri is None:
            reason = "switched off by an empty value"
        elif options.offline or options.no_endpoints:
            reason = "--offline" if options.offline else "--no-endpoints"
        else:
            key = endpoint.key.get_secret_value() if endpoint.key else None
            try:
                detector = EndpointDetector(
                    category,
                    endpoint.uri,
                    key,
                    deployment=options.deployment,
                    named_by=endpoint.named_by,
                    key_named_by=f"{environment_name(category)}_KEY or MODEL_ENDPOINT_KEY",
                )
            except UsageError as error:
                raise UsageError(f"{endpoint.named_by}: {error}", hint=error.hint) from error
            panel.detectors.append(detector)
            continue
        model = mask_url(endpoint.uri) if endpoint.uri else None
        info = DetectorInfo("endpoint", category, model)
        panel.absent.append(Absent(info, "off", reason, (category,)))
