"""The one place that knows which platforms there are."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from guardian_cli.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from guardian_cli.config import Settings
    from guardian_cli.lifecycle.platform import Platform


def open_platform(settings: Settings, project: Path) -> Platform:
    """Return the platform that `target` names. Raises UsageError for one that is not built in."""
    match settings.config.target:
        case "local":
            from guardian_cli.lifecycle.local.platform import LocalPlatform  # noqa: PLC0415 - one leaf

            return LocalPlatform(project, settings.tracking_uri)
        case "azure":
            if find_spec("guardian_cli.lifecycle.azure") is None:
                raise UsageError("this guardian has no target azure", hint="--target local")
            raise UsageError("the target azure is not finished", hint="--target local")
