"""The one place that knows which platforms there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from guardian_cli.lifecycle.platform import Platform, Reporter
    from guardian_cli.settings import Settings


def open_platform(settings: Settings, project: Path, reporter: Reporter) -> Platform:
    """Return the platform that `target` names. Raises ConfigError for one that lacks its names."""
    match settings.config.target:
        case "local":
            from guardian_cli.lifecycle.local.platform import LocalPlatform  # noqa: PLC0415 - one leaf

            return LocalPlatform(project, settings.tracking_uri)
        case "azure":
            from guardian_cli.lifecycle.azure.place import find_place  # noqa: PLC0415 - as above
            from guardian_cli.lifecycle.azure.platform import AzurePlatform  # noqa: PLC0415

            return AzurePlatform(find_place(settings.config.azure), reporter)
