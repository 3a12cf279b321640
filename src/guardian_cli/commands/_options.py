"""The options that every verb has, declared once."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

T = TypeVar("T")


class Target(StrEnum):
    """The platforms."""

    local = "local"
    azure = "azure"


CONFIG = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings file (default: ./guardian.yaml)."),
]
QUIET = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress, only warnings and errors.")
]
DEBUG = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
JSON = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
TARGET = Annotated[
    Target | None,
    typer.Option("--target", help="Platform. [default: `target` in guardian.yaml, else local]"),
]


@dataclass(frozen=True, slots=True)
class Common:
    """What the common options say; `config` and `quiet` may stand before or behind the verb.

    `--debug` is not among them: `cli.run` looks for it itself, also where no verb was reached.
    """

    config: Path | None = None
    quiet: bool = False
    as_json: bool = False
    target: Target | None = None


def common_options(*, target: bool = False) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Give a verb the common options behind its own; it gets them as its first argument.

    `target` adds `--target`, for the verbs that work on a platform.
    """
    kinds: dict[str, tuple[Any, Any]] = {
        "as_json": (JSON, False),
        **({"target": (TARGET, None)} if target else {}),
        "config": (CONFIG, None),
        "quiet": (QUIET, False),
        "debug": (DEBUG, False),
    }

    def decorate(function: Callable[..., T]) -> Callable[..., T]:
        @functools.wraps(function)
        def verb(context: typer.Context, **options: Any) -> T:
            given = {name: options.pop(name) for name in kinds}
            before: Common = context.obj
            common = Common(
                config=given["config"] or before.config,
                quiet=given["quiet"] or before.quiet,
                as_json=given["as_json"],
                target=given.get("target"),
            )
            return function(common, **options)

        # Typer reads the options from the signature.
        by_keyword = inspect.Parameter.KEYWORD_ONLY
        _, *own = inspect.signature(function).parameters.values()
        signature = inspect.Signature(
            [
                inspect.Parameter("context", by_keyword, annotation=typer.Context),
                *(one.replace(kind=by_keyword) for one in own),
                *(
                    inspect.Parameter(name, by_keyword, default=default, annotation=kind)
                    for name, (kind, default) in kinds.items()
                ),
            ]
        )
        verb.__signature__ = signature  # type: ignore[attr-defined]
        return verb

    return decorate
