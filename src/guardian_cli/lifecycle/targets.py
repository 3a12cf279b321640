"""The one place that knows which platforms there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from guardian_cli.lifecycle.platform import Platform
    from guardian_cli.lifecycle.release.execute import Reporter
    from guardian_cli.settings import Settings


def open_platform(settings: Settings, project: Path, reporter: Reporter) -> Platform:
    """Return the platform that `target` names. Raises ConfigError for one that lacks its names."""
    match settings.config.target:
        case "local":
            from guardian_cli.lifecycle.local.platform import LocalPlatform  # noqa: PLC0415 - one leaf

            return LocalPlatform(project, settings.tracking_uri)
        case "azure":
            from guardian_cli.lifecycle.azure.client import WorkspaceAddress  # noqa: PLC0415 - as above
            from guardian_cli.lifecycle.azure.platform import AzurePlatform  # noqa: PLC0415

            address = WorkspaceAddress.from_config(settings.config.azure)
            return AzurePlatform(address, reporter)
