"""What the verbs of the life cycle share: options of theirs, and the context they work in."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from guardian_cli.commands._options import Common
from guardian_cli.errors import UsageError

if TYPE_CHECKING:
    from guardian_cli.console import Console
    from guardian_cli.lifecycle.models import Model
    from guardian_cli.lifecycle.platform import Platform
    from guardian_cli.settings import Settings

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}

DRY_RUN = Annotated[bool, typer.Option("--dry-run", help="Print the plan, change nothing.")]
NO_WAIT = Annotated[
    bool, typer.Option("--no-wait", help="Azure: begin what takes long, and leave.")
]
WHY = Annotated[
    str | None, typer.Option("--why", metavar="TEXT", help="Reason, kept in the history.")
]
TIMEOUT = Annotated[
    str,
    typer.Option(
        "--timeout", metavar="TIME", help="Longest wait for an endpoint: seconds, or 90s, 30m, 1h."
    ),
]


@dataclass(frozen=True, slots=True)
class LifecycleContext:
    """What a verb works with."""

    console: "Console"
    settings: "Settings"
    platform: "Platform"

    def models(self, name: str | None) -> "list[Model]":
        """Return the model of this name, or all of guardian.yaml. Raises UsageError."""
        from guardian_cli.lifecycle.models import choose_models

        return choose_models(self.settings.config.models, name)


def open_context(common: Common) -> LifecycleContext:
    """Read the settings, open the platform that `target` names, and say on stderr which it is.

    Raises ConfigError, also for a platform that lacks the names it needs.
    """
    from guardian_cli.console import Console
    from guardian_cli.lifecycle.model_files import open_platform
    from guardian_cli.settings import load_settings

    flags: dict[str, Any] = {"target": common.target.value} if common.target else {}
    settings = load_settings(common.config, flags=flags)
    console = Console(quiet=common.quiet)
    platform = open_platform(settings, console)
    # Before anything else: the same command works on this machine or on a cloud that bills.
    console.note(f"target: {platform.target} ({platform.place})")
    for warning in settings.warnings:
        console.warn(warning)
    return LifecycleContext(console, settings, platform)


def seconds(text: str) -> float:
    """Read a time as people write it: 90, 90s, 30m, 1h. Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if match is None or match[2] not in _SECONDS:
        raise UsageError(f"--timeout {text!r} is no time", hint="write 90, 90s, 30m or 1h")
    return float(match[1]) * _SECONDS[match[2]]
