"""The options that every verb has, and those that several share, declared once."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

T = TypeVar("T")


class Target(StrEnum):
    """The platforms."""

    local = "local"
    azure = "azure"


class Decode(StrEnum):
    """How thoroughly to decode."""

    fast = "fast"
    full = "full"


class FailOn(StrEnum):
    """Which verdicts make the exit code non-zero."""

    review = "review"
    block = "block"
    never = "never"


class Device(StrEnum):
    """Where CLIP runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class Precision(StrEnum):
    """In which numbers CLIP runs."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


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


# Of the verbs that scan, or decide from what a scan has found.
EVERY = Annotated[
    float | None,
    typer.Option("--every", metavar="SECONDS", help="Sampling interval. [default: 1.0]"),
]
DECODE = Annotated[
    Decode, typer.Option("--decode", help="fast may leave disposable frames undecoded.")
]
MODEL = Annotated[
    str | None, typer.Option("--model", help="open_clip architecture. [default: ViT-B-32]")
]
PRETRAINED = Annotated[
    str | None,
    typer.Option(
        "--pretrained",
        metavar="TAG|PATH",
        help="Pretrained tag or checkpoint. [default: laion2b_s34b_b79k]",
    ),
]
MODEL_CONFIG = Annotated[
    Path | None,
    typer.Option("--model-config", metavar="FILE", help="open_clip model-config JSON."),
]
DEVICE = Annotated[Device, typer.Option("--device", help="Where CLIP runs.")]
PRECISION = Annotated[Precision, typer.Option("--precision", help="In which numbers CLIP runs.")]
NO_ENDPOINTS = Annotated[bool, typer.Option("--no-endpoints", help="Call no endpoint.")]
OFFLINE = Annotated[bool, typer.Option("--offline", help="Touch no network at all.")]
DEPLOYMENT = Annotated[
    str | None,
    typer.Option(
        "--deployment",
        metavar="NAME",
        help="The endpoint's deployment that scores. [default: the one that answers first]",
    ),
]
REPORT = Annotated[
    Path | None,
    typer.Option("--report", metavar="DIR", help="Write an evidence sheet: DIR/index.html."),
]
FAIL_ON = Annotated[
    FailOn, typer.Option("--fail-on", help="Which verdicts make the exit code non-zero.")
]
WORKERS = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, metavar="N", help="Sources decoded side by side. [default: cores]"
    ),
]
RESUME = Annotated[
    Path | None,
    typer.Option("--resume", metavar="FILE.jsonl", help="Keep a batch's results; go on there."),
]
JSONL = Annotated[bool, typer.Option("--jsonl", help="One JSON line per source, as each finishes.")]
OUTPUT = Annotated[
    list[str] | None,
    typer.Option(
        "--output",
        metavar="FORMAT=FILE",
        help="Write a file too: json, jsonl, csv, sarif, junit, md, table. May be repeated.",
    ),
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

    def format(self, *, as_jsonl: bool) -> Literal["table", "json", "jsonl"]:
        """Return what goes to stdout. Raises UsageError where --json and --jsonl are both there."""
        from guardian_cli.errors import UsageError

        if self.as_json and as_jsonl:
            raise UsageError(
                "--json and --jsonl exclude each other",
                hint="--json is one document, --jsonl lines",
            )
        return "json" if self.as_json else "jsonl" if as_jsonl else "table"


def split_names(text: str | None) -> list[str] | None:
    """Read NAME,NAME; None where nothing was said."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def read_outputs(texts: list[str] | None) -> list[tuple[str, Path]]:
    """Read what `--output` was given, FORMAT=FILE each; BadParameter for anything else."""
    outputs = []
    for text in texts or ():
        name, _, path = text.partition("=")
        if not path:
            raise typer.BadParameter(f"--output {text}: not FORMAT=FILE")
        outputs.append((name, Path(path)))
    return outputs


def common_options(*, target: bool = False) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Give a verb the common options behind its own; it gets them as its first argument.

    `target` adds `--target`, for the verbs that work on a platform.
    """
    kinds = {"as_json": JSON, **({"target": TARGET} if target else {})}
    kinds |= {"config": CONFIG, "quiet": QUIET, "debug": DEBUG}
    defaults = {"target": None, "config": None}

    def decorate(function: Callable[..., T]) -> Callable[..., T]:
        @functools.wraps(function)
        def verb(context: typer.Context, **options: Any) -> T:
            del options["debug"]
            common = Common(
                config=options.pop("config") or context.obj.config,
                quiet=options.pop("quiet") or context.obj.quiet,
                as_json=options.pop("as_json"),
                target=options.pop("target", None),
            )
            return function(common, **options)

        # Typer learns a verb's options from its signature. By keyword only: the first of the
        # common ones has a default, and a verb's own argument may have none.
        kind = inspect.Parameter.KEYWORD_ONLY
        _, *own = inspect.signature(function).parameters.values()
        parameters = [inspect.Parameter("context", kind, annotation=typer.Context)]
        parameters += [one.replace(kind=kind) for one in own]
        parameters += [
            inspect.Parameter(name, kind, default=defaults.get(name, False), annotation=annotation)
            for name, annotation in kinds.items()
        ]
        verb.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return verb

    return decorate
