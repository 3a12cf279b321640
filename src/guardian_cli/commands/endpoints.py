"""`guardian endpoints [MODEL]`."""

from pathlib import Path
from typing import Annotated

import typer

from guardian_cli.commands._lifecycle import DRY_RUN, open_context
from guardian_cli.commands._options import Common, common_options

DEFAULT_ENV = ".env"


@common_options(target=True)
def endpoints(
    common: Common,
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="A model of guardian.yaml. [default: all]")
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Score a picture by each deployment; 4 when one fails."),
    ] = False,
    write_env: Annotated[
        Path | None,
        typer.Option(
            "--write-env", metavar="[FILE]", help="Write URIs and keys there. [default: .env]"
        ),
    ] = None,
    write_configmap: Annotated[
        Path | None,
        typer.Option("--write-configmap", metavar="FILE", help="Write them for Kubernetes."),
    ] = None,
    rotate_key: Annotated[
        str | None,
        typer.Option("--rotate-key", metavar="MODEL", help="Replace a model's key at once."),
    ] = None,
    stop: Annotated[bool, typer.Option("--stop", help="End the local server.")] = False,
    start: Annotated[
        bool, typer.Option("--start", help="Bring back what was stopped, as it was.")
    ] = False,
    cost: Annotated[
        bool, typer.Option("--cost", help="Show what each deployment costs a month.")
    ] = False,
    show_keys: Annotated[bool, typer.Option("--show-keys", help="Print the keys.")] = False,
    dry_run: DRY_RUN = False,
) -> None:
    """Show the endpoints; check them, hand their addresses and keys out, rotate, stop, start."""
    from guardian_cli.lifecycle.endpoints import EndpointTasks, run_tasks
    from guardian_cli.reports.lifecycle import show_endpoints

    context = open_context(common)
    tasks = EndpointTasks(
        check=check,
        write_env=write_env,
        write_configmap=write_configmap,
        rotate_key=rotate_key,
        stop=stop,
        start=start,
        show_keys=show_keys,
        dry_run=dry_run,
        cost=cost,
    )
    settings, platform, console = context.settings, context.platform, context.console
    result = run_tasks(platform, console, settings.config.models, model, tasks, settings.endpoints)
    show_endpoints(console, platform.target, result, as_json=common.as_json)
    result.raise_for_failed_checks()


def fill_file(args: list[str]) -> list[str]:
    """Give `--write-env` its default file where none follows: Typer knows no optional values."""
    filled = []
    for place, arg in enumerate(args):
        following = args[place + 1] if place + 1 < len(args) else "-"
        alone = arg == "--write-env" and following.startswith("-") and "endpoints" in args
        filled.append(f"{arg}={DEFAULT_ENV}" if alone else arg)
    return filled
