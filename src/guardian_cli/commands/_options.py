"""Options that several verbs share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

CONFIG = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings file (default: ./guardian.yaml)."),
]
QUIET = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress, only warnings and errors.")
]
DEBUG = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
JSON = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@dataclass(frozen=True, slots=True)
class Common:
    """What may stand before or behind the verb."""

    config: Path | None = None
    quiet: bool = False
    debug: bool = False
