"""What the verbs of the life cycle share: their options, and the bench they work at."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from guardian_cli.errors import UsageError

if TYPE_CHECKING:
    from guardian_cli.commands._options import Common
    from guardian_cli.console import Console
    from guardian_cli.lifecycle.models import Model
    from guardian_cli.lifecycle.platform import Platform
    from guardian_cli.settings import Settings

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


class Target(StrEnum):
    """The platforms."""

    local = "local"
    azure = "azure"


TARGET = Annotated[
    Target | None,
    typer.Option("--target", help="Platform. [default: `target` in guardian.yaml, else local]"),
]
DRY_RUN = Annotated[bool, typer.Option("--dry-run", help="Print the plan, change nothing.")]
NO_WAIT = Annotated[
    bool, typer.Option("--no-wait", help="Azure: begin what takes long, and leave.")
]
WHY = Annotated[str | None, typer.Option("--why", metavar="TEXT", help="For the history.")]
TIMEOUT = Annotated[
    str,
    typer.Option(
        "--timeout", metavar="TIME", help="For a busy endpoint: seconds, or 90s, 30m, 1h."
    ),
]


@dataclass(frozen=True, slots=True)
class Bench:
    """What a verb works with."""

    console: Console
    settings: Settings
    platform: Platform

    def models(self, name: str | None) -> list[Model]:
        """The model of this name, or all of guardian.yaml. Raises UsageError."""
        from guardian_cli.lifecycle.models import choose_models

        return choose_models(self.settings.config.models, name)


def open_bench(
    context: typer.Context, config: Path | None, target: Target | None, *, quiet: bool
) -> Bench:
    """Read the settings, open the platform, and name the target on stderr."""
    from guardian_cli.console import Console
    from guardian_cli.lifecycle.targets import open_platform
    from guardian_cli.settings import load_settings

    common: Common = context.obj
    flags: dict[str, Any] = {"target": target.value} if target else {}
    settings = load_settings(config or common.config, flags=flags)
    console = Console(quiet=quiet or common.quiet)
    platform = open_platform(settings, Path(), console)
    console.note(f"target: {platform.target} ({platform.place})")
    for warning in settings.warnings:
        console.warn(warning)
    return Bench(console, settings, platform)


def write_target(bench: Bench, *, dry_run: bool) -> None:
    """Put the target, and Azure's names where it is azure, into the settings file."""
    from guardian_cli.settings_file import write_keys

    config, path = bench.settings.config, bench.settings.file
    values: dict[tuple[str, ...], str] = {("target",): bench.platform.target}
    if bench.platform.target == "azure":
        named = config.azure.model_dump(exclude_none=True)
        values |= {("azure", name): str(value) for name, value in named.items()}
    names = ", ".join(".".join(keys) for keys in values)
    if dry_run:
        bench.console.note(f"would set {names} in {path}")
    else:
        changed = write_keys(path, values)
        bench.console.note(f"{path}: {names} {'set' if changed else 'are set already'}")


def seconds(text: str) -> float:
    """Read a time as people write it: 90, 90s, 30m, 1h. Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if match is None or match[2] not in _SECONDS:
        raise UsageError(f"--timeout {text!r} is no time", hint="write 90, 90s, 30m or 1h")
    return float(match[1]) * _SECONDS[match[2]]
